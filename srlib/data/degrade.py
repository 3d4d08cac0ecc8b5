"""Low-resolution images as they are found: reduced by another kernel, blurred, noisy, JPEG.

A network is trained on inputs that were made in one way, by antialiased bicubic. What it does
with any other input is a question of its own. Here an input is made in named steps, in the order
in which they are written:

    "jpeg 75"            reduced by antialiased bicubic, then saved as JPEG of quality 75
    "box, noise 5"       reduced by the 2x2 box, then noise of 5 grey levels
    "noise 5, bicubic"   noise in the large photo, reduced afterwards
    "noise 10, bilateral 30"   noise, and a cure for it

Every step hands on 8 bits, as saving a file would. Taught in chapter 9.
"""

from __future__ import annotations

import functools
import io
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from srlib.errors import SrlibError
from srlib.resize import KERNELS, downscale, resize

#: Of the noise. Together with the image's own pixels it decides every value.
SEED = 0


def _reduce(image: np.ndarray, kernel: str) -> np.ndarray:
    return downscale(image, 2, kernel)


def _reduce_aliased(image: np.ndarray) -> np.ndarray:
    return resize(image, (image.shape[0] // 2, image.shape[1] // 2), antialias=False)


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian out to three standard deviations, on mirrored borders."""
    radius = math.ceil(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    out = np.pad(
        image.astype(np.float64), ((radius, radius), (radius, radius), (0, 0)), "symmetric"
    )
    for axis, length in enumerate(image.shape[:2]):
        out = sum(
            weight * np.take(out, range(start, start + length), axis)
            for start, weight in enumerate(weights)
        )
    return _eight_bit(out)


def _noise(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian, independent in each pixel and channel, different for different images."""
    rng = np.random.default_rng([SEED, zlib.crc32(image.tobytes())])
    return _eight_bit(image + sigma * rng.standard_normal(image.shape))


def _jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """Written and read again in memory, chroma halved in both directions (4:2:0)."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(quality), subsampling="4:2:0")
    with Image.open(file) as opened:
        return np.asarray(opened)


def _bilateral(image: np.ndarray, levels: float) -> np.ndarray:
    """Each pixel becomes a mean of its neighbours, of which unlike ones count little."""
    reach, height, width = 2, *image.shape[:2]
    padded = np.pad(image.astype(np.float64), ((reach, reach), (reach, reach), (0, 0)), "symmetric")
    total, weights = np.zeros(image.shape), np.zeros((height, width, 1))
    for y, x in np.ndindex(2 * reach + 1, 2 * reach + 1):
        neighbour = padded[y : y + height, x : x + width]
        far = ((y - reach) ** 2 + (x - reach) ** 2) / 1.5**2
        unlike = ((neighbour - image) ** 2).sum(axis=-1, keepdims=True) / levels**2
        weight = np.exp(-0.5 * (far + unlike))
        total += weight * neighbour
        weights += weight
    return _eight_bit(total / weights)


def _eight_bit(image: np.ndarray) -> np.ndarray:
    return np.rint(image.clip(0, 255)).astype(np.uint8)


@dataclass(frozen=True)
class Change:
    """A step that keeps the size and has an amount, such as the noise of ``"noise 5"``.

    Attributes:
        about: what it does, with ``{:g}`` where the amount stands.
        apply: uint8 ``(H, W, 3)`` and the amount to uint8 of the same shape.
        lowest: smallest amount.
        highest: largest amount.
        whole: whether only whole numbers make sense.
    """

    about: str
    apply: Callable[[np.ndarray, float], np.ndarray]
    lowest: float
    highest: float
    whole: bool = False


#: The steps that halve the image, by name. Each is a kernel of ``srlib.resize``, or aliased
#: bicubic.
#:
#: :meta hide-value:
REDUCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    kernel: functools.partial(_reduce, kernel=kernel) for kernel in KERNELS
} | {"aliased bicubic": _reduce_aliased}


#: The other steps, by their first word.
CHANGES: dict[str, Change] = {
    "blur": Change("Gaussian blur of {:g} pixels", _blur, 0.1, 10),
    "noise": Change("Gaussian noise of {:g} grey levels", _noise, 0.1, 100),
    "jpeg": Change("JPEG of quality {:g} (4:2:0)", _jpeg, 1, 95, whole=True),
    # C. Tomasi and R. Manduchi, "Bilateral filtering for gray and color images", 1998.
    "bilateral": Change("bilateral filter of {:g} grey levels", _bilateral, 1, 500),
}


def degrade(truths: np.ndarray, name: str = "bicubic") -> np.ndarray:
    """Make a low-resolution image from a truth, and damage it, in the named steps.

    The same image always gives the same result, noise included, alone or in a batch.
    Taught in chapter 9.

    Args:
        truths: uint8 ``(H, W, 3)`` or ``(N, H, W, 3)``, height and width even.
        name: steps with commas between. One of them may be a key of :data:`REDUCTIONS`, which
            halves the image; without one, ``bicubic`` (antialiased) comes first. The
            others, with an amount each, are the keys of :data:`CHANGES`: ``blur`` (standard
            deviation in pixels), ``noise`` (in grey levels), ``jpeg`` (quality), and, as a cure
            for noise, ``bilateral`` (the difference in grey levels that it takes for an edge).

    Returns:
        uint8, half as high and wide.

    Raises:
        ValueError: for unknown steps, amounts out of range, or an unfit array.
    """
    steps = [step for _, step in _parsed(name)]
    truths = np.asarray(truths)
    if truths.dtype != np.uint8 or truths.ndim not in (3, 4) or truths.shape[-1] != 3:
        raise SrlibError(
            f"expected uint8 (H, W, 3) or (N, H, W, 3), not {truths.dtype} {truths.shape}"
        )
    if any(length % 2 for length in truths.shape[-3:-1]):
        raise SrlibError(f"height and width must be even, not {truths.shape[-3:-1]}; crop first")
    lows = []
    for image in truths.reshape(-1, *truths.shape[-3:]):
        for step in steps:
            image = step(image)
        lows.append(image)
    return np.stack(lows) if truths.ndim == 4 else lows[0]


def describe(name: str) -> str:
    """The steps in words, for captions: ``"antialiased bicubic, then JPEG of quality 75 (4:2:0)"``.

    Raises:
        ValueError: as :func:`degrade`.
    """
    return ", then ".join(about for about, _ in _parsed(name))


def _parsed(name: str) -> list[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    """What each step is, in words and as a function."""
    steps, reductions = [], 0
    for part in name.split(","):
        step = part.strip()
        if step in REDUCTIONS:
            steps.append((_in_words(step), REDUCTIONS[step]))
            reductions += 1
        else:
            steps.append(_change(step, name))
    if reductions > 1:
        raise SrlibError(f"{name!r}: reduces twice; the truth is twice the input's size, not more")
    return steps if reductions else [(_in_words("bicubic"), REDUCTIONS["bicubic"]), *steps]


def _in_words(reduction: str) -> str:
    return {"bicubic": "antialiased bicubic"}.get(reduction, reduction)


def _change(step: str, name: str) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    word, _, number = step.rpartition(" ")
    kind = CHANGES.get(word)
    if kind is None:
        known = [*REDUCTIONS, *(f"{word} AMOUNT" for word in CHANGES)]
        raise SrlibError(f"{name!r}: unknown step {step!r}; choose from {', '.join(known)}")
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    fits = kind.lowest <= amount <= kind.highest and not (kind.whole and amount % 1)
    if not fits:
        number_kind = "a whole number" if kind.whole else "a number"
        limits = f"{kind.lowest:g} to {kind.highest:g}"
        raise SrlibError(f"{name!r}: {word} takes {number_kind} from {limits}, not {number!r}")
    return kind.about.format(amount), lambda image: kind.apply(image, amount)
