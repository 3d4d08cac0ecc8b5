"""Photos in the accelerator's memory, and training pairs made there.

All photos are decoded once and kept as uint8. Crops, flips and turns, the low-resolution image
and its damage (other kernels, blur, noise, JPEG) are made on the device, a batch at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from experiments.twin.networks import mirrored
from srlib.errors import SrlibError
from srlib.resize import taps

#: Mirrored pixels around every photo: all that a kernel reaches beyond a crop.
MARGIN = 8
SUFFIXES = {".jpg", ".png", ".webp", ".bmp"}
#: How an input may be reduced, as ``srlib.data.degrade`` names it: kernel, antialiased.
REDUCTIONS = {
    "bicubic": ("bicubic", True),
    "lanczos": ("lanczos", True),
    "box": ("box", True),
    "bilinear": ("bilinear", True),
    "aliased bicubic": ("bicubic", False),
}


def decode(folder: Path, shrink: float = 1.0) -> list[np.ndarray]:
    """The photos of a folder as uint8 ``(H, W, 3)``, reduced where ``shrink`` is below 1."""

    def one(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            image = image.convert("RGB")
            if shrink < 1:
                size = (round(image.width * shrink), round(image.height * shrink))
                image = image.resize(size, Image.Resampling.BICUBIC)
            return np.asarray(image)

    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise SrlibError(f"{folder}: holds no photo ({', '.join(sorted(SUFFIXES))})")
    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, paths))


def with_margin(photo: np.ndarray) -> np.ndarray:
    """A photo with mirrored pixels around it."""
    return np.pad(photo, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), "symmetric")


class Pool:
    """Photos in one flat tensor, from which crops are cut.

    Args:
        photos: uint8 ``(H, W, 3)``, of any sizes.
        weights: how often each is drawn; by default as often as it has pixels.
        device: of PyTorch.
        seed: of everything drawn.
    """

    def __init__(
        self,
        photos: Sequence[np.ndarray],
        device: str = "cpu",
        weights: Sequence[float] | None = None,
        seed: int = 0,
    ):
        wide = [with_margin(photo) for photo in photos]
        flat = np.concatenate([photo.reshape(-1, 3) for photo in wide])
        self.pixels = torch.from_numpy(flat).to(device)
        sizes = np.array([photo.shape[:2] for photo in wide])
        areas = sizes.prod(axis=1)
        self.sizes = torch.from_numpy(sizes).to(device)
        self.starts = torch.from_numpy(np.cumsum(areas) - areas).to(device)
        chance = np.asarray(areas if weights is None else weights, np.float64)
        self.chance = torch.from_numpy(np.cumsum(chance / chance.sum())).float().to(device)
        self.smallest = int(sizes.min()) - 2 * MARGIN
        self.random = torch.Generator(device).manual_seed(seed)
        self.device = device

    def uniform(self, *shape: int) -> torch.Tensor:
        """Numbers in [0, 1)."""
        return torch.rand(shape, generator=self.random, device=self.device)

    def crops(self, count: int, side: int, candidates: int = 1) -> torch.Tensor:
        """Random crops with their margin, flipped and turned: ``(N, 3, side + 16, side + 16)``.

        Args:
            count: N.
            side: in pixels of the truth.
            candidates: of so many for each the one with the most detail is taken.

        Returns:
            Float32 in 0..255.
        """
        if side > self.smallest:
            raise SrlibError(f"crops of {side} pixels do not fit into photos of {self.smallest}")
        side += 2 * MARGIN
        many = count * candidates
        which = torch.searchsorted(self.chance, self.uniform(many)).clamp(max=len(self.sizes) - 1)
        free = self.sizes[which] - side + 1
        top, left = (self.uniform(many, 2) * free).long().unbind(1)
        steps = torch.arange(side, device=self.device)
        flips = self.uniform(3, many, 1) < 0.5
        rows, columns = (torch.where(flip, side - 1 - steps, steps) for flip in flips[:2])
        y, x = rows[:, :, None], columns[:, None, :]
        turned = flips[2][:, :, None]
        y, x = (torch.where(turned, a, b) for a, b in ((x, y), (y, x)))
        width = self.sizes[which, 1][:, None, None]
        index = self.starts[which][:, None, None] + (top[:, None, None] + y) * width
        crops = self.pixels[index + left[:, None, None] + x].permute(0, 3, 1, 2).float()
        if candidates == 1:
            return crops
        grey = crops.mean(1)
        detail = sum(torch.diff(grey, dim=d).square().mean((1, 2)) for d in (1, 2))
        best = detail.reshape(candidates, count).argmax(0)
        return crops.reshape(candidates, count, *crops.shape[1:])[
            best, torch.arange(count, device=self.device)
        ]


def rounded(image: torch.Tensor) -> torch.Tensor:
    """To 8 bits, as saving a file would."""
    return image.round().clamp(0, 255)


def filters(names: Sequence[str], device: str = "cpu") -> torch.Tensor:
    """Reductions by half as 16 weights each, of the pixels from 7 before to 8 after."""
    found = np.zeros((len(names), 2 * MARGIN), np.float32)
    for row, name in zip(found, names, strict=True):
        kernel, antialias = REDUCTIONS[name]
        indices, weights = taps(64, 32, kernel, antialias)
        np.add.at(row, indices[16] - 32 + MARGIN - 1, weights[16])
    return torch.from_numpy(found).to(device)


def reduce(crops: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Crops with their margin to half their side without it, each by its own 16 weights."""
    for axis in (2, 3):
        length = crops.shape[axis] // 2 - MARGIN
        shape = (-1, 1, 1, 1)
        crops = sum(
            weights[:, t].reshape(shape)
            * crops.narrow(axis, t + 1, 2 * length - 1).index_select(
                axis, torch.arange(0, 2 * length - 1, 2, device=crops.device)
            )
            for t in range(2 * MARGIN)
        )
    return rounded(crops)


def truth(crops: torch.Tensor) -> torch.Tensor:
    """Crops without their margin."""
    return crops[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]


def blur(images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """A Gaussian of three pixels' radius, each image by its own sigma."""
    steps = torch.arange(-3.0, 4.0, device=images.device)
    weights = torch.exp(-0.5 * (steps / sigma.clamp(min=1e-3)[:, None]).square())
    weights = weights / weights.sum(1, keepdim=True)
    for axis in (2, 3):
        length, padded = images.shape[axis], mirrored(images, 3, axis)
        images = sum(
            weights[:, t].reshape(-1, 1, 1, 1) * padded.narrow(axis, t, length) for t in range(7)
        )
    return rounded(images)


# ITU-T T.81, annex K: the tables that every encoder scales by its quality.
_LUMINANCE = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 "
    "62 18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 "
    "98 112 100 103 99"
)
_CHROMINANCE = (
    "17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 "
    "99 " + "99 " * 32
)
_TO_YCC = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)


def _cosines(device: torch.device) -> torch.Tensor:
    """The 8-point discrete cosine transform as a matrix."""
    n = torch.arange(8.0, device=device)
    matrix = torch.cos((2 * n + 1) * n[:, None] * math.pi / 16) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def _through_blocks(plane: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """A plane ``(N, H, W)`` transformed in blocks of 8x8, quantised, and transformed back."""
    n, height, width = plane.shape
    cosines = _cosines(plane.device)
    blocks = plane.reshape(n, height // 8, 8, width // 8, 8).transpose(2, 3) - 128
    steps = table[:, None, None]
    found = torch.round(cosines @ blocks @ cosines.T / steps) * steps
    return rounded((cosines.T @ found @ cosines + 128).transpose(2, 3).reshape(n, height, width))


def _smooth(half: torch.Tensor) -> torch.Tensor:
    """Chroma enlarged as libjpeg does: three parts of the nearest, one of the next."""
    for axis in (1, 2):
        length = half.shape[axis]
        index = torch.arange(-1, length + 1, device=half.device).clamp(0, length - 1)
        wide = half.index_select(axis, index)
        before, after = wide.narrow(axis, 0, length), wide.narrow(axis, 2, length)
        pair = torch.stack([3 * half + before, 3 * half + after], axis + 1) / 4
        half = pair.flatten(axis, axis + 1)
    return rounded(half)


def jpeg(images: torch.Tensor, quality: torch.Tensor, halved: torch.Tensor) -> torch.Tensor:
    """What JPEG makes of images.

    Args:
        images: ``(N, 3, H, W)`` in 0..255, sides multiples of 16.
        quality: ``(N,)``, 1 to 100.
        halved: ``(N,)`` bool: chroma at half resolution (4:2:0).

    Returns:
        The same shape, 8-bit values; a few differ by a level or two from libjpeg's.
    """
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None, None]
    tables = [
        torch.tensor([float(x) for x in text.split()], device=images.device).reshape(8, 8)
        for text in (_LUMINANCE, _CHROMINANCE)
    ]
    bright, colour = (((t * scale + 50) / 100).floor().clamp(1, 255) for t in tables)
    matrix = torch.tensor(_TO_YCC, device=images.device)
    shift = torch.tensor([0.0, 128.0, 128.0], device=images.device).reshape(3, 1, 1)
    planes = rounded(torch.einsum("nchw,dc->ndhw", images, matrix) + shift)
    chroma = []
    for plane in (planes[:, 1], planes[:, 2]):
        small = rounded(F.avg_pool2d(plane[:, None], 2)[:, 0])
        whole = _through_blocks(plane, colour)
        part = _smooth(_through_blocks(small, colour))
        chroma.append(torch.where(halved[:, None, None], part, whole))
    decoded = torch.stack([_through_blocks(planes[:, 0], bright), *chroma], 1) - shift
    return rounded(torch.einsum("nchw,dc->ndhw", decoded, torch.linalg.inv(matrix)))
