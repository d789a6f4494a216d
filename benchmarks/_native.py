"""Give benchmarks the tests' oracle: the real fastdup in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from oracles.fastdup_native import FastdupNativeEmbedder as FastdupNativeEmbedder
from oracles.fastdup_native import write_segments as write_segments
