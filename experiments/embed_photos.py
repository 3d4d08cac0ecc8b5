"""Rebuild the photographs that come with srlib: squares of 256x256 pixels with credits.

    python -m experiments.embed_photos [--wallpapers DIR ...] [--sklearn-images DIR]

Writes srlib/data/embedded/{train,test}/PHOTOGRAPH/N_256.jpg and srlib/data/embedded/ATTRIBUTION.md.
They come from two Debian packages (fetched with apt-get unless --wallpapers is given),
scikit-image and scikit-learn. The same inputs and Pillow give the same bytes.
"""
# ruff: noqa: E501 (one row of the table of photographs is one line)

import argparse
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

from srlib.book import tables
from srlib.data.photoset import EMBEDDED, read_photo
from srlib.pixels import LUMA
from srlib.resize import resize

SIDE = 256
#: A photograph gives at most this many squares, so that none dominates training
#: or decides the mean over the test set.
CAP = {"train": 30, "test": 18}
#: Sharpness is judged in tiles of this many pixels a side: an animal before a blurred
#: background is a good square, although most of it is out of focus.
TILE = 32
#: A tile shows detail when the Laplacian of its 8-bit luma, after a 2x2 mean, has at
#: least this standard deviation. The mean halves sensor noise, which would else pass for
#: detail in skies and blurred backgrounds; edges and textures lose much less.
DETAIL = 5.0
#: At least this share of a square's tiles must show detail ...
SHARP_TILES = 0.24
#: ... and its luma must vary by this many levels: flat squares teach nothing.
CONTRAST = 12.0
#: The squares are the truth of chapter 1: high quality and no chroma subsampling.
JPEG = {"format": "JPEG", "quality": 95, "subsampling": 0, "optimize": True}

LICENCES = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "public domain": "https://creativecommons.org/publicdomain/mark/1.0/",
}
UT16, UT20 = "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04"
SKIMAGE, SKLEARN = "scikit-image", "scikit-learn"


class BuildError(RuntimeError):
    """The set cannot be built; the message says why and what to do."""


@dataclass(frozen=True)
class Photo:
    """One photograph: where it goes, where it comes from, who made it.

    ``long_side`` is the size it is shrunk to before it is cut, chosen by eye so that
    the part in focus is sharp at pixel level; None keeps the pixels as they are.
    """

    slug: str
    split: str
    long_side: int | None
    package: str
    file: str
    title: str
    author: str
    licence: str


AITZOL, NERLICH, TREVOR = "Aitzol Berasategi", "Peter Nerlich", 'Trevor "Freespace"'
#: Split by photograph: squares of one photo share light, lens and subject, so a photo
#: on both sides would flatter every result.
# fmt: off
PHOTOS = [
    Photo("bird-toy", "train", 1600, UT16, "free_by_Peter_Nerlich.jpg", "free", NERLICH, "CC-BY-SA-4.0"),
    Photo("bridge", "train", 2000, UT16, "Bridge_by_Sander_Klootwijk.jpg", "Bridge", "Sander Klootwijk", "CC-BY-SA-4.0"),
    Photo("brook", "train", 2400, UT16, "life_by_Aitzol_Berasategi.jpg", "life", AITZOL, "CC-BY-4.0"),
    Photo("brushes", "test", 1300, UT16, "Picture_1A_by_freespace.jpg", "Picture 1A", TREVOR, "CC-BY-4.0"),
    Photo("clock", "train", 1400, UT16, "greentock_by_Peter_Nerlich.jpg", "greentock", NERLICH, "CC-BY-SA-4.0"),
    Photo("dandelion", "train", 2600, UT16, "seeding_by_Clements_Engelhardt.jpg", "seeding", "Clemens Engelhardt", "CC0-1.0"),
    Photo("dogs", "test", 1300, UT16, "friends_by_Aitzol_Berasategi.jpg", "friends", AITZOL, "CC-BY-4.0"),
    Photo("dragonfly", "train", 2600, UT16, "Dragonfly_by_Bolly.jpg", "Dragonfly", "Bolly", "CC-BY-SA-4.0"),
    Photo("drum", "train", 1600, UT16, "Wine_by_Jakkub_Mede.jpg", "Wine", "Jakub Mede", "CC-BY-4.0"),
    Photo("fig", "train", 2400, UT16, "Picture_0B_by_freespace.jpg", "Picture 0B", TREVOR, "CC-BY-4.0"),
    Photo("meadow", "train", 2400, UT16, "aitzgorri_by_Aitzol_Berasategi.jpg", "aitzgorri", AITZOL, "CC-BY-4.0"),
    Photo("mountains", "test", 2600, UT16, "picosdeeuropa_by_Aitzol_Berasategi.jpg", "picosdeeuropa", AITZOL, "CC-BY-4.0"),
    Photo("nuthatch", "test", 2000, UT20, "Kleiber_by_Lukas_Baubkus.jpg", "Kleiber", "Lukas Baubkus", "CC-BY-SA-3.0"),
    Photo("sunset", "train", 2300, UT16, "sunset_by_Aitzol_Berasategi.jpg", "sunset", AITZOL, "CC-BY-4.0"),
    Photo("astronaut", "train", None, SKIMAGE, "astronaut.png", "Eileen Collins", "NASA", "public domain"),
    Photo("galaxies", "train", None, SKIMAGE, "hubble_deep_field.jpg", "Hubble eXtreme Deep Field", "NASA", "public domain"),
    Photo("cat", "test", None, SKIMAGE, "chelsea.png", "Chelsea the cat", "Stefan van der Walt", "CC0-1.0"),
    Photo("coffee", "train", None, SKIMAGE, "coffee.png", "Coffee cup", "Rachel Michetti, courtesy of Pikolo Espresso Bar", "CC0-1.0"),
    Photo("rocket", "train", None, SKIMAGE, "rocket.jpg", "Launch of DSCOVR on Falcon 9", "SpaceX", "public domain"),
    Photo("pagoda", "test", None, SKLEARN, "china.jpg", "china", "danielbuechele", "CC-BY-2.0"),
    Photo("dahlia", "train", None, SKLEARN, "flower.jpg", "flower", "vultilion", "CC-BY-2.0"),
]
# fmt: on


def luma(square: np.ndarray) -> np.ndarray:
    """BT.601 luma of uint8 RGB ``(H, W, 3)``: float ``(H, W)`` in [0, 255]."""
    return square.astype(np.float64) @ LUMA[:, 0]


def sharp_share(square: np.ndarray) -> float:
    """Share of a square's tiles that show detail, 0 to 1 (see ``DETAIL``)."""
    y = np.pad(luma(square), ((1, 2), (1, 2)), mode="reflect")
    y = (y[:-1, :-1] + y[1:, :-1] + y[:-1, 1:] + y[1:, 1:]) / 4
    laplacian = y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:] - 4 * y[1:-1, 1:-1]
    tiles = laplacian.reshape(SIDE // TILE, TILE, SIDE // TILE, TILE)
    return float((tiles.std(axis=(1, 3)) >= DETAIL).mean())


def is_good(square: np.ndarray) -> bool:
    """Whether a square is in focus somewhere and not nearly empty."""
    return luma(square).std() >= CONTRAST and sharp_share(square) >= SHARP_TILES


def grid(height: int, width: int) -> list[tuple[int, int]]:
    """Top-left corners of the squares that fit side by side, centred, row by row."""
    rows, columns = height // SIDE, width // SIDE
    top, left = (height - rows * SIDE) // 2, (width - columns * SIDE) // 2
    return [(top + r * SIDE, left + c * SIDE) for r in range(rows) for c in range(columns)]


def spread(items: list, cap: int) -> list:
    """At most ``cap`` of the items at even steps, so that all parts are represented."""
    if len(items) <= cap:
        return list(items)
    return [items[int((i + 0.5) * len(items) / cap)] for i in range(cap)]


def shrink(pixels: np.ndarray, long_side: int | None) -> np.ndarray:
    """Antialiased bicubic shrinking to ``long_side``; also removes JPEG blocks and noise."""
    if long_side is None:
        return pixels
    ratio = long_side / max(pixels.shape[:2])
    if ratio > 1:
        raise BuildError(f"a photo of {pixels.shape[:2]} pixels would be enlarged to {long_side}")
    return resize(pixels, tuple(round(n * ratio) for n in pixels.shape[:2]))


def squares(pixels: np.ndarray, cap: int) -> list[np.ndarray]:
    """The good squares of one photo, uint8 ``(256, 256, 3)``, at most ``cap``."""
    cut = [pixels[t : t + SIDE, le : le + SIDE] for t, le in grid(*pixels.shape[:2])]
    return spread([square for square in cut if is_good(square)], cap)


def encode(square: np.ndarray) -> bytes:
    """JPEG bytes without EXIF or colour profile."""
    buffer = io.BytesIO()
    Image.fromarray(square).save(buffer, **JPEG)
    return buffer.getvalue()


def attribution(counts: dict[str, int]) -> str:
    """The text of ATTRIBUTION.md for the number of squares of each photograph."""
    head = (
        "# The embedded photographs\n\n"
        "Written by `experiments/embed_photos.py`; do not edit by hand. Each square stays "
        "under the licence of its photograph.\n\n"
    )
    columns = ["slug", "split", "title", "author", "licence", "source", "squares", "changes made"]
    rows = [_row(photo, counts[photo.slug]) for photo in PHOTOS]
    return head + tables.markdown(columns, rows) + NOTES


def _row(photo: Photo, count: int) -> list[str]:
    licence = f"[{photo.licence}]({LICENCES[photo.licence]})"
    shrunk = f"downscaled to {photo.long_side} pixels, " if photo.long_side else ""
    changes = f"{shrunk}cropped to squares, saved as JPEG"
    source = f"`{photo.file}` in {photo.package}"
    about = [photo.slug, photo.split, photo.title, photo.author, licence]
    return [*about, source, str(count), changes]


NOTES = f"""
Authors and licences are those stated by the source: the file `copyright` of the Debian
packages, the docstrings of `skimage.data`, the `README.txt` beside scikit-learn's images.

- `astronaut`: a NASA photograph without known copyright restrictions, from
  [NASA's Great Images](https://flic.kr/p/r9qvLn). NASA endorses nothing here.
- `galaxies`: from [HubbleSite](https://hubblesite.org/), release 2012-37.
- `rocket`: released into the public domain by SpaceX, from
  [its photo stream](https://www.flickr.com/photos/spacexphotos/16511594820/).
- `pagoda`: [the original](https://www.flickr.com/photos/danielbuechele/6061409035/).
- `dahlia`: [the original](https://www.flickr.com/photos/vultilion/6056698931/).
  scikit-learn's README prints the name danielbuechele but links to vultilion's
  photograph; the link is taken to be right.

A photograph gives at most {CAP["train"]} squares to the training split or {CAP["test"]} to the test
split. Squares out of focus or nearly empty are left out: at least {SHARP_TILES:.0%} of a square's
{TILE}x{TILE} tiles must have a Laplacian of the luma (after a 2x2 mean) with a standard deviation
of {DETAIL:g} or more, and the luma of the whole square one of {CONTRAST:g} or more.
"""


def fetch_wallpapers(folder: Path) -> list[Path]:
    """Download and unpack the Debian packages below ``folder``."""
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise BuildError(f"no {tool} here: unpack {UT16} and {UT20}, pass --wallpapers DIR")
    try:
        subprocess.run(["apt-get", "download", UT16, UT20], cwd=folder, check=True)
        for package in sorted(folder.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, folder / "files"], check=True)
    except subprocess.CalledProcessError as error:
        raise BuildError(f"cannot fetch the wallpapers ({error}): pass --wallpapers DIR") from error
    return [folder / "files"]


def inside(module: str, path: str, package: str) -> Path:
    """A folder inside an installed package, found without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise BuildError(f"{module} is not installed: pip install {package}")
    return Path(spec.submodule_search_locations[0]) / path


def find(name: str, folders: list[Path]) -> Path:
    """The file called ``name`` anywhere below the folders."""
    for path in sorted(path for folder in folders for path in folder.rglob(name)):
        return path
    raise BuildError(f"{name}: not found below {', '.join(map(str, folders))}")


def write_set(out: Path, folders: dict[str, list[Path]]) -> dict[str, int]:
    """Write the whole set into the empty folder ``out``; squares per photograph."""
    counts = {}
    for photo in PHOTOS:
        pixels = shrink(read_photo(find(photo.file, folders[photo.package])), photo.long_side)
        kept = squares(pixels, CAP[photo.split])
        if not kept:
            raise BuildError(f"{photo.slug}: no square passes; change its long_side or drop it")
        counts[photo.slug] = len(kept)
        target = out / photo.split / photo.slug
        target.mkdir(parents=True)
        for number, square in enumerate(kept, 1):
            (target / f"{number}_{SIDE}.jpg").write_bytes(encode(square))
        print(f"{photo.split:5}  {photo.slug:10}  {len(kept):3} squares")
    (out / "ATTRIBUTION.md").write_text(attribution(counts), encoding="utf-8")
    return counts


def replace_folder(new: Path, old: Path) -> None:
    """Put ``new`` in the place of ``old``, which survives a failure."""
    aside = old.with_name(old.name + ".old")
    shutil.rmtree(aside, ignore_errors=True)
    if old.exists():
        old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        if aside.exists():
            aside.rename(old)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """Build the set aside, then put it in the place of the old one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wallpapers", type=Path, nargs="+", metavar="DIR", help="unpacked jpgs")
    parser.add_argument("--sklearn-images", type=Path, metavar="DIR", help="china.jpg, flower.jpg")
    parser.add_argument("--out", type=Path, default=EMBEDDED, help="default: srlib/data/embedded")
    options = parser.parse_args(arguments)
    new = options.out.with_name(options.out.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            sklearn = options.sklearn_images or inside("sklearn", "datasets/images", SKLEARN)
            skimage = inside("skimage", "data", SKIMAGE)
            wallpapers = options.wallpapers or fetch_wallpapers(Path(folder))
            folders = {UT16: wallpapers, UT20: wallpapers, SKLEARN: [sklearn], SKIMAGE: [skimage]}
            counts = write_set(new, folders)
        replace_folder(new, options.out)
    except (BuildError, ValueError, OSError) as error:
        shutil.rmtree(new, ignore_errors=True)
        print(f"embed_photos: {error}", file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in options.out.rglob("*.jpg"))
    print(f"{sum(counts.values())} squares of {len(counts)} photographs, {size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
