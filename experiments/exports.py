"""Chapter 11: every shipped network and baseline in every format, compared with Keras.

    python -m experiments.exports

On the embedded test photos. Writes srlib/book/recorded/exports.json.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import srlib
from experiments import common
from srlib import data, export
from srlib.data.photoset import PhotoSet
from srlib.export.formats import FORMATS
from srlib.models import cards
from srlib.pixels import to_uint8

#: Of the range: each value of the input is moved by it, up or down, to see what becomes of it.
GRAIN = 1e-4
#: What executes the files, and what wrote them.
LIBRARIES = ("onnxruntime", "ai-edge-litert", "tf2onnx", "onnx")


def measure(names: Iterable[str], photos: PhotoSet) -> list[dict[str, Any]]:
    """One row for each network and format: size, and how far from Keras on noise and on photos."""
    low = data.as_float(data.pairs(photos))[0]
    grain = np.random.default_rng(0).choice([-GRAIN, GRAIN], low.shape).astype(np.float32)
    rows = []
    for name in names:
        network = srlib.load(name)
        expected = srlib.predict(network, low)
        moved = np.abs(srlib.predict(network, (low + grain).clip(0, 1)) - expected).max()
        for format in FORMATS:
            with tempfile.TemporaryDirectory() as folder:
                exported = export.export(name, Path(folder) / "network", format)
                run = export.runner(exported, format)
            high = np.concatenate([run(image[None]) for image in low])
            levels = np.abs(to_uint8(high).astype(int) - to_uint8(expected))
            rows.append({
                "model": name,
                "format": format,
                "bytes": exported.bytes,
                "noise": exported.difference,
                "photos": float(np.abs(high - expected).max()),
                "values": levels.size,
                "changed": int(np.count_nonzero(levels)),
                "levels": int(levels.max()),
                "amplified": float(moved / GRAIN),
            })  # fmt: skip
            print(f"{name:<24}{format:<12}{rows[-1]['photos']:.1e}  {rows[-1]['changed']} changed")
    return rows


def main() -> int:
    """Measure everything and record it."""
    began = time.monotonic()
    photos = srlib.photos("embedded", "test")
    rows = measure((*cards.BASELINES, *srlib.available()), photos)
    common.record(
        "exports",
        {
            "rows": rows,
            "photos": len(photos),
            "libraries": {name: version(name) for name in LIBRARIES},
        },
        photos,
        "embedded photos, test",
        began=began,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
