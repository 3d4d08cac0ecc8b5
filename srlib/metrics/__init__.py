"""How good a picture is: PSNR and SSIM, LPIPS, the checkerboard, recovered detail."""

from srlib.metrics.psnr_ssim import PSNR, SSIM, psnr, ssim

__all__ = ["PSNR", "SSIM", "psnr", "ssim"]
