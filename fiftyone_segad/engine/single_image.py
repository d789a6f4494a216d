"""The original method on one picture, from file to outlier segments, without a database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..embedders.factory import get_embedder
from ..scoring.fastdup_rule import Outliers, find_outliers, nearest_segments, segment_scores
from ..segments.boxes import Segments, get_proposer
from ..utils.drawing import outline_boxes
from ..utils.images import find_scale, read_image

_RED = "#ff0000"


@dataclass(frozen=True)
class ImageOutliers:
    """The outlier segments of one picture.

    Attributes:
        image: uint8 RGB array ``[height, width, 3]``
        segments: its segments
        scores: anomaly score ``[n]`` of each segment, 1 minus the similarity by which fastdup ranks it
        outliers: fastdup's outlier segments, most outlying first
        nearest: int array ``[k, m]``, the numbers of the ``m`` (two at most) other segments that each outlier is most
            like, most similar first
        nearest_similarities: float array ``[k, m]``, their cosine similarities; the last one is fastdup's ``distance``
    """

    image: NDArray[np.uint8]
    segments: Segments
    scores: NDArray[np.float32]
    outliers: Outliers
    nearest: NDArray[np.int64]
    nearest_similarities: NDArray[np.float32]

    def draw(self) -> Image.Image:
        """Return the picture with the outlier segments in red boxes."""
        boxes = self.segments.boxes[self.outliers.indices].tolist()
        line_width = max(2, min(self.segments.size) // 150)
        return outline_boxes(Image.fromarray(self.image), boxes, _RED, line_width)


def find_outlier_segments(image: str | Path, segments: str = "grid:7", embedder: str = "auto") -> ImageOutliers:
    """Find the segments of one picture that fastdup calls outliers among its segments.

    Grey values of more than 8 bits are scaled by those of the picture itself.

    Args:
        image: image file
        segments ("grid:7"): ``"grid:N"`` as in the original method, or ``"tiles:SIZE:STRIDE"``
        embedder ("auto"): as in ``compute_segment_anomalies``

    Raises:
        ImageError: if the picture cannot be read
        ValueError: if the grid does not fit it, or a parameter is wrong
        MissingDependencyError: if the embedder is not installed

    Examples:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "dot.png"
        >>> dot = Image.new("RGB", (140, 140), "grey")
        >>> dot.paste("red", (60, 60, 80, 80))  # in the middle one of 7 x 7 segments
        >>> dot.save(file)
        >>> result = find_outlier_segments(file, embedder="efficientnet")
        >>> int(result.scores.argmax())
        24
    """
    propose = get_proposer(segments)
    pixels = read_image(str(image), find_scale([str(image)]))
    cut = propose((pixels.shape[1], pixels.shape[0]))
    with get_embedder(embedder, method="within_image") as model:
        features = model.embed(pixels, cut)  # [n, d]
    outliers = find_outliers(features)
    nearest, similarities = nearest_segments(features)  # [n, 2] each
    numbers = outliers.indices  # [k]
    return ImageOutliers(pixels, cut, segment_scores(features), outliers, nearest[numbers], similarities[numbers])
