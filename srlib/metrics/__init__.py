"""How good a picture is: PSNR and SSIM, LPIPS, the checkerboard, recovered detail."""

from typing import TYPE_CHECKING

from srlib._lazy import lazily

if TYPE_CHECKING:
    from srlib.metrics.keras_metrics import PSNR, SSIM
    from srlib.metrics.psnr_ssim import psnr, ssim

__all__ = ["PSNR", "SSIM", "psnr", "ssim"]

__getattr__ = lazily(__name__, {"keras_metrics": ("PSNR", "SSIM"), "psnr_ssim": ("psnr", "ssim")})
