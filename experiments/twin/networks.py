"""The zoo's networks in PyTorch: the residual family and the hourglass.

    network = load("srlib/models/weights/residual-mse.safetensors")
    high = network(low)  # (N, 3, H, W) RGB in [0, 1] to (N, 3, 2H, 2W)

Layers carry the names of the weights in the zoo's files, and ``load`` and ``tensors`` turn
Keras' axes into PyTorch's and back. Needs torch and safetensors, and nothing of srlib.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
import torch.nn.functional as F
from torch import nn

#: Weights of red, green and blue in the luma of ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)


def _cubic_filters() -> torch.Tensor:
    """Keys' cubic (a = -0.5) as 5x5 filters for the four output pixels of an input pixel."""
    near, far = [-9 / 128, 111 / 128, 29 / 128, -3 / 128], [-3 / 128, 29 / 128, 111 / 128, -9 / 128]
    rows = torch.tensor([[*far, 0.0], [0.0, *near]])
    return torch.einsum("ai,bj->abij", rows, rows).reshape(4, 1, 5, 5)


def mirrored(images: torch.Tensor, radius: int, axis: int) -> torch.Tensor:
    """Images with mirrored borders along an axis: ... 1 0 | 0 1 2, NumPy's "symmetric"."""
    length = images.shape[axis]
    index = torch.arange(-radius, length + radius, device=images.device) % (2 * length)
    return images.index_select(axis, torch.minimum(index, 2 * length - 1 - index))


def bicubic(low: torch.Tensor) -> torch.Tensor:
    """Enlarge twofold by bicubic interpolation on mirrored borders."""
    n, channels, height, width = low.shape
    wide = mirrored(mirrored(low, 2, axis=2), 2, axis=3)
    phases = F.conv2d(
        wide.reshape(-1, 1, height + 4, width + 4), _cubic_filters().to(low.device, low.dtype)
    )
    return F.pixel_shuffle(phases, 2).reshape(n, channels, 2 * height, 2 * width)


class Residual(nn.Module):
    """Residual blocks at low resolution, a sub-pixel step, a bicubic skip. No weights yet."""

    def __init__(self, blocks=6, filters=64, luma=False, box=False):
        super().__init__()
        self.blocks, self.luma, self.box = blocks, luma, box
        conv = lambda c, d: nn.Conv2d(c, d, 3, padding=1)  # noqa: E731
        self.stem = conv(1 if luma else 3, filters)
        for i in range(1, blocks + 1):
            self.add_module(f"block{i}a", conv(filters, filters))
            self.add_module(f"block{i}b", conv(filters, filters))
        self.body = conv(filters, filters)
        self.upsample = conv(filters, 4 if luma else 12)

    def details(self, low: torch.Tensor) -> torch.Tensor:
        """What is added to the bicubic enlargement."""
        if self.luma:
            low = torch.einsum("nchw,c->nhw", low, low.new_tensor(LUMA))[:, None]
        first = x = self.stem(low)
        for i in range(1, self.blocks + 1):
            inner = F.relu(getattr(self, f"block{i}a")(x))
            x = x + getattr(self, f"block{i}b")(inner)
        x = F.pixel_shuffle(self.upsample(first + self.body(x)), 2)
        return F.avg_pool2d(F.pad(x, (0, 1, 0, 1), "replicate"), 2, 1) if self.box else x

    def forward(self, low: torch.Tensor) -> torch.Tensor:
        image = bicubic(low) + self.details(low)
        return image if self.training else image.clamp(0, 1)


class Hourglass(nn.Module):
    """The classic network: 64x64 squeezed to 8x8 and drawn again at 128x128."""

    def __init__(self):
        super().__init__()
        widths = [64, 64, 128, 256]
        norm = lambda width: nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)  # noqa: E731
        self.input_bn = norm(3)
        self.stem, self.stem_bn = nn.Conv2d(3, 64, 9, padding=4), norm(64)
        for i in (1, 2, 3):
            self.add_module(f"down{i}", nn.Conv2d(widths[i - 1], widths[i], 4, 2, padding=1))
            self.add_module(f"down{i}_bn", norm(widths[i]))
            for part in ("a", "b"):
                self.add_module(f"block{i}{part}", nn.Conv2d(256, 256, 3, padding=1))
                self.add_module(f"block{i}{part}_bn", norm(256))
            self.add_module(f"block{i}_bn", norm(256))
        widths = [256, 256, 128, 64, 64]
        for i in (1, 2, 3, 4):
            up = nn.ConvTranspose2d(widths[i - 1], widths[i], 4, 2, padding=1)
            self.add_module(f"up{i}", up)
            self.add_module(f"up{i}_bn", norm(widths[i]))
        self.image = nn.ConvTranspose2d(64, 3, 9, padding=4)

    def _then(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """A layer, ReLU, batch normalisation."""
        x = getattr(self, name)(x) if hasattr(self, name) else x
        return getattr(self, f"{name}_bn")(F.relu(x))

    def forward(self, low: torch.Tensor) -> torch.Tensor:
        x = self._then("stem", self.input_bn(low))
        for i in (1, 2, 3):
            x = self._then(f"down{i}", x)
        for i in (1, 2, 3):
            inner = self._then(f"block{i}b", self._then(f"block{i}a", x))
            x = self._then(f"block{i}", x + inner)
        for i in (1, 2, 3, 4):
            x = self._then(f"up{i}", x)
        image = torch.tanh(self.image(x).float())
        return image if self.training else image.clamp(0, 1)


ARCHITECTURES = {"residual": Residual, "hourglass": Hourglass}
#: Keras' names of what PyTorch calls otherwise: in batch normalisation, in convolutions.
NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
CONVOLUTION = {"kernel": "weight"}


def _regrouped(value: np.ndarray, groups: int) -> np.ndarray:
    """Channels in ``groups``, counted the other way about: before the sub-pixel step TensorFlow
    counts them (phase, colour) and PyTorch (colour, phase)."""
    return value.reshape(groups, -1, *value.shape[1:]).swapaxes(0, 1).reshape(value.shape)


def _to_torch(key: str, value: np.ndarray) -> np.ndarray:
    value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
    return _regrouped(value, 4) if key.startswith("upsample/") else value


def load(path: str | Path) -> nn.Module:
    """A network from a file of the zoo and the card beside it, ready to use."""
    card = json.loads(Path(path).with_suffix(".json").read_text())
    network = ARCHITECTURES[card["architecture"]](**card["options"])
    assign(network, safetensors.numpy.load_file(path))
    return network.eval()


def assign(network: nn.Module, weights: dict[str, np.ndarray]) -> None:
    """Give a network the zoo's weights."""
    state = {}
    for key, value in weights.items():
        layer, name = key.split("/")
        name = (NORM | CONVOLUTION).get(name, name)
        state[f"{layer}.{name}"] = torch.from_numpy(
            np.ascontiguousarray(_to_torch(key, value.astype(np.float32)))
        )
    counters = {k for k in network.state_dict() if k.endswith("num_batches_tracked")}
    missing, unexpected = network.load_state_dict(state, strict=False)
    if set(missing) - counters or unexpected:
        raise ValueError(
            f"weights of another network: {(set(missing) - counters) | set(unexpected)}"
        )


def tensors(network: nn.Module) -> dict[str, np.ndarray]:
    """The zoo's weights of a network, in float32."""
    found = {}
    for key, tensor in network.state_dict().items():
        layer, name = key.rsplit(".", 1)
        if name == "num_batches_tracked":
            continue
        names = NORM if layer.endswith("_bn") else CONVOLUTION
        told = {torchs: keras for keras, torchs in names.items()}
        value = tensor.detach().float().cpu().numpy()
        if layer == "upsample":
            value = _regrouped(value, len(value) // 4)
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)
        found[f"{layer}/{told.get(name, name)}"] = np.ascontiguousarray(value)
    return found
