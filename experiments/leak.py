"""Chapter 7's leak: one training photo of the field's classic set is a test image of Set5.

    python -m experiments.leak --textures DIR --benchmarks DIR [--sample N]

DIR holds t91/, bsds_train/, bsds_test/ and leak/, the other Set5/. Every Set5 image is
searched for in every photo. Writes srlib/book/recorded/leak.json. Needs scikit-image.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.feature import match_template

from experiments import common
from srlib import data, pixels
from srlib.data import photoset
from srlib.data.photoset import PhotoSet
from srlib.metrics import psnr_ssim

FOLDERS = ("t91", "bsds_train", "bsds_test")
LEAK = "302003.jpg"
LEAKED = "img_005.png"  # Set5's `woman`
#: The quick search: long side of the reduced image that is sought, sizes of the photo
#: relative to it, how many of them, and how many photos are then looked at again.
SIDE, RANGE, SIZES, CANDIDATES = 64, (0.5, 1.25), 20, 3
#: What is slower than so many pixels is shading; what varies by fewer grey levels is flat.
SHADING, FLAT = 4.0, 2.0


def luma(photo: np.ndarray) -> np.ndarray:
    """float64 ``(H, W)`` in grey levels."""
    return pixels.y_channel(photo)[..., 0]


def scaled(image: np.ndarray, scale: float) -> np.ndarray:
    """An image reduced or enlarged by bicubic: uint8 ``(H, W, 3)``, or float ``(H, W)``.

    By Pillow, which is srlib's own bicubic, but faster where every size is another.
    """
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    image = image if image.dtype == np.uint8 else image.astype(np.float32)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def structure(image: np.ndarray) -> np.ndarray:
    """A luma without its slow shading, which many photos have in common."""
    plain = image.astype(np.float64)
    return plain - gaussian_filter(plain, SHADING)


@dataclass(frozen=True)
class Match:
    """Where one image lies in another, and how alike they are there.

    Attributes:
        correlation: normalised cross-correlation of luma less its shading, 1 for equal up to
            brightness and contrast.
        scale: factor by which the photo was resized.
        offset: ``(row, column)`` of the test image's corner in the resized photo.
    """

    correlation: float
    scale: float
    offset: tuple[int, int]


def best_match(image: np.ndarray, photo: np.ndarray, scales: np.ndarray) -> Match:
    """Slide the central half of an image over a photo at several scales: the best place."""
    sought = data.centre(structure(image))
    if sought.std() < FLAT:  # it would lie anywhere
        return Match(0.0, 1.0, (0, 0))
    top, left = ((a - b) // 2 for a, b in zip(image.shape, sought.shape, strict=True))
    found = Match(-1.0, 1.0, (0, 0))
    for scale in scales:
        large = scaled(photo, float(scale))
        if any(a < b for a, b in zip(large.shape, sought.shape, strict=True)):
            continue
        values = match_template(structure(large), sought)
        row, column = np.unravel_index(values.argmax(), values.shape)
        if values[row, column] > found.correlation:
            offset = int(row) - top, int(column) - left
            found = Match(float(values[row, column]), float(scale), offset)
    return found


def likeness(test: np.ndarray, photo: np.ndarray, finer: int = 1) -> float:
    """The best correlation of two lumas, both reduced, the smaller sought in the larger."""
    scales = np.geomspace(*RANGE, SIZES * finer)
    if max(photo.shape) > 0.75 * max(test.shape):
        factor = SIDE * finer / max(test.shape)
        return best_match(scaled(test, factor), photo, scales * factor).correlation
    factor = SIDE * finer / max(photo.shape)
    return best_match(scaled(photo, factor), test, factor / scales).correlation


def search(photos: PhotoSet, tests: PhotoSet) -> dict[str, dict[str, float]]:
    """Test image -> photo -> correlation, quickly: reduced far, in steps of 5 %."""
    lumas = [luma(test) for test in tests]
    found: dict[str, dict[str, float]] = {path.name: {} for path in tests.paths}
    for number, (path, photo) in enumerate(zip(photos.paths, photos, strict=True), 1):
        grey = luma(photo)
        for row, test in zip(found.values(), lumas, strict=True):
            row[f"{path.parent.name}/{path.name}"] = round(likeness(test, grey), 4)
        if number % 50 == 0:
            print(f"searched {number} of {len(photos)} photos", flush=True)
    return found


def looked_at_again(
    found: dict[str, dict[str, float]], photos: PhotoSet, tests: PhotoSet
) -> dict[str, dict[str, float]]:
    """Test image -> its likeliest photos -> correlation at twice the size, in half the steps."""
    known = {f"{path.parent.name}/{path.name}": i for i, path in enumerate(photos.paths)}
    closer: dict[str, dict[str, float]] = {}
    for path, test in zip(tests.paths, tests, strict=True):
        row = found[path.name]
        closer[path.name] = {
            name: round(likeness(luma(test), luma(photos[known[name]]), finer=2), 4)
            for name in sorted(row, key=row.get, reverse=True)[:CANDIDATES]
        }
    return closer


def register(test: np.ndarray, photo: np.ndarray) -> dict:
    """Where the test image lies in the photo, at full size, and how nearly they agree there."""
    first = best_match(luma(test), luma(photo), np.geomspace(0.5, 1.2, 60))
    fine = best_match(luma(test), luma(photo), first.scale * np.linspace(0.975, 1.025, 81))
    large = scaled(photo, fine.scale)
    row, column = (max(place, 0) for place in fine.offset)
    height, width = test.shape[:2]
    patch = large[row : row + height, column : column + width]
    height, width = patch.shape[:2]
    agreement = psnr_ssim.psnr(test[:height, :width], patch, channel="y", shave=2)
    return asdict(fine) | {
        "photo size": photo.shape[:2],
        "test size": test.shape[:2],
        "overlap": [height, width],
        "psnr of the resized photo": float(agreement),
    }


def findings(
    correlations: dict[str, dict[str, float]], searched: PhotoSet, tests: PhotoSet
) -> dict:
    """What the search found, with the second look at what was most alike."""
    again = looked_at_again(correlations, searched, tests)
    row = dict(correlations[LEAKED])
    return {
        "correlation": row.pop(f"leak/{LEAK}"),
        "others": sorted(row.values()),
        "looked at again": again,
        "next best": max(v for r in again.values() for name, v in r.items() if LEAK not in name),
    }


def main(arguments: list[str] | None = None) -> int:
    """Search, register and record."""
    parser = common.parser(__doc__, ["textures", "benchmarks"], ["runs"])
    parser.add_argument("--sample", type=int, help="search the leak and so many other photos")
    options = parser.parse_args(arguments)
    folder = options.runs / "leak"
    tests = common.test_set(options.benchmarks, "Set5")
    sets = [photoset.folder(options.textures / name) for name in FOLDERS]
    leak = photoset.folder(options.textures / "leak")
    others = sets[0].joined_with(sets[1]).joined_with(sets[2]).take(options.sample)
    searched = others.joined_with(leak)

    known = folder / f"search-{len(searched)}.json"
    correlations = common.once(known, search, searched, tests)
    names = [path.name for path in tests.paths]
    place = register(tests[names.index(LEAKED)], leak[0])
    print(json.dumps(place, indent=1), flush=True)
    content = {"photo": LEAK, "image": LEAKED, "images": names, "searched": len(searched)}
    content |= findings(correlations, searched, tests) | {"registration": place}
    common.record("leak", content, searched, ", ".join(FOLDERS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
