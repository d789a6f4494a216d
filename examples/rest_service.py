"""A REST service that inspects images: post the content of a file to /inspect, get the decision as JSON.

    SEGAD_BANK=screws.safetensors hypercorn examples/rest_service:app --bind 127.0.0.1:8000
    curl --data-binary @part.png http://127.0.0.1:8000/inspect

Starlette and hypercorn come with FiftyOne; any other server of ASGI applications does as well, as uvicorn.
"""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import fiftyone_segad as segad

inspector = segad.load_bank(os.environ["SEGAD_BANK"])


async def inspect(request: Request) -> JSONResponse:
    """Answer with score, decision and regions of the image that was posted."""
    try:
        result = await run_in_threadpool(inspector, await request.body())
    except segad.ImageError as error:
        return JSONResponse({"error": str(error)}, status_code=422)
    regions = [{"box": region.box, "score": region.score, "area": region.area} for region in result.regions]
    decision = "anomalous" if result.anomalous else "normal"
    return JSONResponse({"score": result.score, "p_value": result.p_value, "decision": decision, "regions": regions})


app = Starlette(routes=[Route("/inspect", inspect, methods=["POST"])])
