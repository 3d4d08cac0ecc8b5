"""The losses of srlib in PyTorch: of pixels in grey levels, and of VGG16's features."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from experiments.twin.networks import LUMA


def _mean(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(1).mean(1)


def _squared_luma(error: torch.Tensor) -> torch.Tensor:
    return torch.einsum("nchw,c->nhw", error, error.new_tensor(LUMA)).square()


def _mse_and_luma(error: torch.Tensor) -> torch.Tensor:
    return (_mean(error.square()) + _mean(_squared_luma(error))) / 2


def _negative_psnr(error: torch.Tensor) -> torch.Tensor:
    return 10 * torch.log((_mse_and_luma(error) + 0.01) / 255**2) / math.log(10)


#: As ``srlib.losses.pixel.PIXEL_LOSSES``: errors in grey levels to one value an image.
PIXEL_LOSSES = {
    "mse": lambda error: _mean(error.square()),
    "l1": lambda error: _mean(error.abs()),
    "luma": lambda error: _mean(_squared_luma(error)),
    "psnr": _negative_psnr,
}


class VGG16(nn.Module):
    """VGG16 as far as block2_conv2 (relu2_2), from images in grey levels."""

    LAYERS = ("block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2")

    def __init__(self, weights: Path):
        super().__init__()
        with np.load(weights) as found:
            for name in self.LAYERS:
                kernel = torch.from_numpy(found[f"{name}/kernel"].transpose(3, 2, 0, 1).copy())
                layer = nn.Conv2d(*kernel.shape[1::-1], 3, padding=1)
                layer.weight.data, layer.bias.data = kernel, torch.from_numpy(found[f"{name}/bias"])
                self.add_module(name, layer)
        self.register_buffer("mean", torch.tensor([103.939, 116.779, 123.68]).reshape(3, 1, 1))
        self.requires_grad_(False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = image.flip(1) - self.mean  # blue first, as Keras' weights want it
        for name in self.LAYERS:
            x = F.max_pool2d(x, 2) if name == "block2_conv1" else x
            x = F.relu(getattr(self, name)(x))
        return x.float()


def perceptual(features: VGG16, prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of features; images in grey levels; one value an image."""
    with torch.no_grad():
        wanted = features(truth)
    return _mean((features(prediction) - wanted).square())


def mis_wired(features: VGG16, prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The published mistake: truth and prediction added, batch mates 0 and 1 compared."""
    both = features(truth + prediction)
    return (both[0] - both[1]).square().mean()
