"""Keras layers that enlarge, filter and normalise images. Taught in chapters 2 and 5."""

from srlib.layers.filters import ClipAtInference, FilterUpsampling, Luma, polyphase_kernel
from srlib.layers.normalization import FusedBatchNormalization
from srlib.layers.upsampling import (
    UPSAMPLERS,
    BoxedConv2DTranspose,
    ResizeConv2D,
    SubPixelConv2D,
)

__all__ = [
    "UPSAMPLERS",
    "BoxedConv2DTranspose",
    "ClipAtInference",
    "FilterUpsampling",
    "FusedBatchNormalization",
    "Luma",
    "ResizeConv2D",
    "SubPixelConv2D",
    "polyphase_kernel",
]
