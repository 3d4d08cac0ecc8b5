"""The networks, the baselines, and the weights that ship. Taught in chapter 2."""

from typing import TYPE_CHECKING

from srlib._lazy import lazily

if TYPE_CHECKING:
    from srlib.models.anatomy import TilingError, flops, main_width, receptive_field, size_multiple
    from srlib.models.baselines import bicubic, fit_linear, lanczos, linear, nearest
    from srlib.models.classic import hourglass
    from srlib.models.edsr import deepen, residual, with_upsampler
    from srlib.models.ensemble import self_ensemble
    from srlib.models.interface import SCALE
    from srlib.models.registry import ARCHITECTURES, build

_HOMES = {
    "anatomy": ("TilingError", "flops", "main_width", "receptive_field", "size_multiple"),
    "baselines": ("bicubic", "fit_linear", "lanczos", "linear", "nearest"),
    "classic": ("hourglass",),
    "edsr": ("deepen", "residual", "with_upsampler"),
    "ensemble": ("self_ensemble",),
    "interface": ("SCALE",),
    "registry": ("ARCHITECTURES", "build"),
}
__all__ = [
    "ARCHITECTURES",
    "SCALE",
    "TilingError",
    "bicubic",
    "build",
    "deepen",
    "fit_linear",
    "flops",
    "hourglass",
    "lanczos",
    "linear",
    "main_width",
    "nearest",
    "receptive_field",
    "residual",
    "self_ensemble",
    "size_multiple",
    "with_upsampler",
]

__getattr__ = lazily(__name__, _HOMES)
