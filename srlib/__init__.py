"""srlib: single-image super-resolution, measured.

    >>> import srlib
    >>> srlib.upscale("photo.jpg")               # writes photo-x2.jpg
    >>> large = srlib.upscale(photo)             # (H, W, 3) -> (2H, 2W, 3)
    >>> srlib.psnr(truth, large)                 # dB

The package under the book *Super-Resolution, Measured*. Names are loaded when
first used, so that ``import srlib`` and ``srlib --help`` do not wait for
TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srlib.data import photos
    from srlib.ensemble import self_ensemble
    from srlib.evaluation import evaluate
    from srlib.inference import predict
    from srlib.metrics import psnr, ssim
    from srlib.upscaling import upscale
    from srlib.weights import available, card, load

__version__ = "0.1.0"

_HOME = {
    "available": "weights",
    "card": "weights",
    "load": "weights",
    "photos": "data",
    "evaluate": "evaluation",
    "psnr": "metrics",
    "ssim": "metrics",
    "predict": "inference",
    "upscale": "upscaling",
    "self_ensemble": "ensemble",
}
__all__ = [
    "available",
    "card",
    "charts",
    "checkerboard",
    "checkpoint",
    "data",
    "degrade",
    "distribute",
    "ensemble",
    "evaluate",
    "evaluation",
    "export",
    "folder",
    "hardware",
    "imagefile",
    "inference",
    "interpolation",
    "load",
    "losses",
    "lpips",
    "metrics",
    "models",
    "photos",
    "pitfalls",
    "plots",
    "predict",
    "presets",
    "psnr",
    "recovery",
    "resize",
    "results",
    "runtimes",
    "scaling",
    "self_ensemble",
    "sources",
    "ssim",
    "standings",
    "tiles",
    "timing",
    "training",
    "upsampling",
    "upscale",
    "upscaling",
    "vgg",
    "weights",
]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"srlib.{_HOME[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"srlib.{name}")
    raise AttributeError(f"module 'srlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
