"""Photos for an accelerator without much else: small, decoded fast, split as everywhere.

    python -m experiments.twin.pack --photos DIR --textures DIR OUT

Writes OUT/photos (reduced to 128 pixels, lossless), OUT/clean (t91 and sunhays80, the latter
reduced to three quarters, lossless) and OUT/saved (BSDS500's JPEGs as they are), each with
train/ and held_out/. Nothing of a test split is among them.
"""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from experiments import common
from srlib import data
from srlib.data import photoset

#: Of sunhays80, every tenth is held out: buildings and streets among them.
EVERY = 10
SHRINK = 0.75


def _write(image: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, lossless=True, quality=60, method=4)


def photos(source: str, out: Path) -> None:
    """The training photos at 128 pixels, and those that are held out of them."""
    train, held_out = common.training_photos(source)
    for part, name in ((train, "train"), (held_out, "held_out")):
        whole = data.pairs(part).high
        paths = [out / name / f"{number:04}.webp" for number in range(len(whole))]
        with ThreadPoolExecutor() as pool:
            list(pool.map(_write, whole, paths))


def textures(folder: Path, clean: Path, saved: Path) -> None:
    """Lossless photos, reduced where they are large enough, and JPEG files untouched."""
    for path in photoset.folder(folder / "t91", "all", "t91").paths:
        with Image.open(path) as image:
            _write(np.asarray(image.convert("RGB")), clean / "train" / f"{path.stem}.webp")
    for number, path in enumerate(photoset.folder(folder / "sunhays80", "all", "sunhays80").paths):
        part = "train" if number % EVERY else "held_out"
        with Image.open(path) as image:
            size = [2 * round(side * SHRINK / 2) for side in image.size]
            small = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        _write(np.asarray(small), clean / part / f"{path.stem}.webp")
    for name in ("bsds_train", "bsds_test"):
        for path in photoset.folder(folder / name, "all", name).paths:
            (saved / "train").mkdir(parents=True, exist_ok=True)
            shutil.copy(path, saved / "train" / f"{name}-{path.name}")


def main(arguments: list[str] | None = None) -> int:
    """Write the photos, the textures, or both."""
    made = common.parser(__doc__, (), ("photos", "textures"))
    made.add_argument("out", type=Path)
    options = made.parse_args(arguments)
    if options.photos:
        photos(options.photos, options.out / "photos")
    if options.textures:
        textures(options.textures, options.out / "clean", options.out / "saved")
    return 0


if __name__ == "__main__":
    sys.exit(main())
