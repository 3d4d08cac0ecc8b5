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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srlib.data import photos
    from srlib.evaluation import evaluate
    from srlib.metrics.psnr_ssim import psnr, ssim
    from srlib.models.cards import available, card
    from srlib.models.ensemble import self_ensemble
    from srlib.models.zoo import load
    from srlib.upscaling.network import predict
    from srlib.upscaling.photo import upscale

__version__ = "0.3.0"

_HOMES = {
    "available": "models.cards",
    "card": "models.cards",
    "evaluate": "evaluation",
    "load": "models.zoo",
    "photos": "data",
    "predict": "upscaling.network",
    "psnr": "metrics.psnr_ssim",
    "self_ensemble": "models.ensemble",
    "ssim": "metrics.psnr_ssim",
    "upscale": "upscaling.photo",
}
_ROOMS = (
    "book",
    "data",
    "errors",
    "evaluation",
    "export",
    "imagefile",
    "layers",
    "losses",
    "metrics",
    "models",
    "pixels",
    "resize",
    "training",
    "upscaling",
)
__all__ = [
    "available",
    "card",
    "evaluate",
    "load",
    "photos",
    "predict",
    "psnr",
    "self_ensemble",
    "ssim",
    "upscale",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"srlib.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"srlib.{name}")
    raise AttributeError(f"module 'srlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_ROOMS]
