"""Networks and baselines by name."""

from __future__ import annotations

from collections.abc import Callable

from srlib._backend import keras
from srlib.errors import SrlibError
from srlib.models.baselines import bicubic, lanczos, linear, nearest
from srlib.models.classic import hourglass
from srlib.models.edsr import residual, with_upsampler

#: Everything :func:`build` can make. The first three need no training.
ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {
    "nearest": nearest,
    "bicubic": bicubic,
    "lanczos": lanczos,
    "linear": linear,
    "hourglass": hourglass,
    "residual": residual,
    "with_upsampler": with_upsampler,
}


def build(name: str, **options) -> keras.Model:
    """Make an untrained model by name.

    Raises:
        ValueError: for a name that is not in :data:`ARCHITECTURES`.
    """
    if name not in ARCHITECTURES:
        raise SrlibError(f"unknown architecture {name!r}: choose one of {list(ARCHITECTURES)}")
    return ARCHITECTURES[name](**options)
