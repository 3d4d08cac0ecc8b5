"""Losses of pixels and of VGG16 features. Taught in chapters 3 and 4."""

from srlib.losses.perceptual import PerceptualLoss, PixelAndPerceptualLoss
from srlib.losses.pixel import PIXEL_LOSSES, PixelLoss
from srlib.losses.vgg import VGG16

__all__ = ["PIXEL_LOSSES", "VGG16", "PerceptualLoss", "PixelAndPerceptualLoss", "PixelLoss"]
