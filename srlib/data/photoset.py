"""Where photos come from, and how any image file becomes one RGB array.

A :class:`PhotoSet` is a list of files, not of pixels: a folder of 100,000
photos costs their names. Taught in chapter 1.
"""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from srlib.errors import PhotoError, SrlibError, one_line

#: Endings that are looked at; whether a file *is* an image is found by opening it.
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
SPLITS = ("train", "test")
EMBEDDED = Path(__file__).parent / "embedded"


def read_photo(path: str | os.PathLike) -> np.ndarray:
    """Read any image file as RGB.

    EXIF orientation is applied; greyscale, palette and CMYK are converted;
    16-bit greyscale is scaled to 8 bits; transparency is laid on white.

    Returns:
        uint8 ``(H, W, 3)``.

    Raises:
        PhotoError: naming the file, when it is missing, truncated or no image.
    """
    try:
        # No warnings.catch_warnings here: tf.data calls this from several threads,
        # and swapping the interpreter's filters under another thread crashes it.
        with Image.open(path) as image:
            return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
    except Image.DecompressionBombError as error:
        why = f"too many pixels to be a photo ({error}); cut it into parts first"
        raise PhotoError(f"{path}: {why}") from error
    except FileNotFoundError as error:
        raise PhotoError(f"{path}: no such file; check the name") from error
    except Exception as error:  # Pillow's decoders raise almost anything
        why = f"cannot be read as an image ({one_line(error)}); get it anew, or leave it out"
        raise PhotoError(f"{path}: {why}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        deep = image.mode.startswith("I;16") or values.max(initial=0) > 255
        values = values / 257.0 if deep else values
        image = Image.fromarray(np.rint(values.clip(0, 255)).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def is_grey(path: str | os.PathLike) -> bool:
    """Whether a file stores grey values, which *are* its luminance (chapter 6)."""
    with Image.open(path) as image:
        return image.mode in ("L", "1", "I", "I;16")


@dataclass(frozen=True)
class PhotoSet:
    """Photos of one split of one source.

    Attributes:
        source: what it is, for titles and cards.
        split: ``"train"``, ``"test"`` or ``"all"``.
        paths: the files, in a fixed order.
        labels: the class of each photo (its folder), or ``""``.
        skipped: file name -> why it was left out.
    """

    source: str
    split: str
    paths: tuple[Path, ...]
    labels: tuple[str, ...]
    skipped: dict[str, str] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        """Photo ``index`` as uint8 ``(H, W, 3)``."""
        return read_photo(self.paths[index])

    def __iter__(self) -> Iterator[np.ndarray]:
        """Every readable photo, one at a time; the others are skipped with a warning."""
        for index in range(len(self)):
            try:
                yield self[index]
            except PhotoError as error:
                self.skip(index, str(error))

    def skip(self, index: int, reason: str) -> None:
        """Count a file that turned out unusable, and warn once, by name."""
        path = self.paths[index]
        if str(path) not in self.skipped:
            self.skipped[str(path)] = reason
            warnings.warn(
                f"skipped {path.name} ({len(self.skipped)} so far): {reason}", stacklevel=3
            )

    def take(self, count: int | None, seed: int | None = 0) -> PhotoSet:
        """At most ``count`` photos: a seeded random choice in their old order."""
        if count is None or count >= len(self):
            return self
        chosen = np.sort(np.random.default_rng(seed).permutation(len(self))[:count])
        return self.choose(chosen)

    def hold_out(self, count: int, seed: int = 0) -> tuple[PhotoSet, PhotoSet]:
        """Split off ``count`` random photos for validation: ``(rest, held_out)``.

        Of the embedded photos, at least that many: they are squares cut from
        photographs, and those of one photograph (one label) stay together.
        """
        if not 0 < count < len(self):
            raise SrlibError(f"cannot hold out {count} of {len(self)} photos")
        order = np.random.default_rng(seed).permutation(len(self))
        if self.source == "embedded":
            labels = np.array(self.labels)
            whole = dict.fromkeys(labels[order])  # in random order
            order = np.concatenate([np.flatnonzero(labels == label) for label in whole])
            ends = np.cumsum([np.sum(labels == label) for label in whole])
            count = int(ends[np.searchsorted(ends, count)])
            if count == len(self):
                raise SrlibError("cannot hold out whole photographs: there is only one label left")
        return self.choose(np.sort(order[count:])), self.choose(np.sort(order[:count]))

    def choose(self, indices: Iterable[int]) -> PhotoSet:
        """The photos with these indices."""
        indices = list(indices)
        return replace(
            self,
            paths=tuple(self.paths[i] for i in indices),
            labels=tuple(self.labels[i] for i in indices),
        )

    def joined_with(self, other: PhotoSet, times: int = 1) -> PhotoSet:
        """These photos and others, the others ``times`` over, for a mixed training stream."""
        return replace(
            self,
            source=f"{self.source} + {other.source}" + (f" x {times}" if times > 1 else ""),
            paths=self.paths + other.paths * times,
            labels=self.labels + other.labels * times,
        )

    def mean_pixels(self, sample: int = 64) -> int:
        """Pixels of a photo on average, from the headers of a seeded sample."""
        chosen = self.take(sample).paths
        return sum(math.prod(_size(path)) for path in chosen) // len(chosen)

    def names_digest(self) -> str:
        """Twelve hex digits of the files' names: enough to tell two sets apart quickly."""
        pairs = zip(self.paths, self.labels, strict=True)
        names = "\0".join(f"{label}/{path.name}" for path, label in pairs)
        return hashlib.sha256(names.encode()).hexdigest()[:12]

    def fingerprint(self) -> str:
        """Twelve hex digits of the names and bytes of all files, for result files."""
        digest = hashlib.sha256()
        for path, label in zip(self.paths, self.labels, strict=True):
            digest.update(f"{label}/{path.name}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:12]


def scan(files: Iterable[tuple[Path, str]], source: str, split: str, smallest: int = 1) -> PhotoSet:
    """Make a :class:`PhotoSet` of the files that open as images of a useful size.

    Only headers are read here, so a large folder is quick; a file whose pixels
    turn out to be damaged is skipped, with a warning, when they are read.

    Args:
        files: ``(path, label)``.
        source: a name for messages and cards.
        split: ``"train"``, ``"test"`` or ``"all"``.
        smallest: photos with a shorter side in pixels are left out.

    Raises:
        PhotoError: when nothing is left.
    """
    kept, skipped = [], {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about very large images
        for path, label in files:
            try:
                width, height = _size(path)
            except Exception as error:
                skipped[str(path)] = f"not an image that can be opened ({type(error).__name__})"
                continue
            if min(width, height) < smallest:
                skipped[str(path)] = f"{width}x{height} pixels, smaller than {smallest}"
            else:
                kept.append((path, label))
    reasons = [f"{Path(path).name}: {why}" for path, why in skipped.items()]
    if not kept:
        why = f"; the first of {len(reasons)} left out, {reasons[0]}" if reasons else ""
        raise PhotoError(
            f"{source}: no usable photos{why}. Expected image files "
            f"({', '.join(sorted(SUFFIXES))}) of at least {smallest} pixels a side"
        )
    if skipped:
        shown = "; ".join(reasons[:5])
        more = f"; and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        warnings.warn(f"{source}: skipped {len(skipped)} files ({shown}{more})", stacklevel=2)
    paths, labels = zip(*kept, strict=True)
    return PhotoSet(source, split, paths, labels, skipped)


def _size(path: Path) -> tuple[int, int]:
    """Width and height by the file's header."""
    with Image.open(path) as image:
        return image.size


def images_below(folder: Path) -> Iterator[Path]:
    """Image files by their endings, in order, at any depth; hidden ones are left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and path.is_file() and not hidden:
            yield path


def has_splits(folder: Path) -> bool:
    """Whether a folder is a Linnaeus-5-shaped tree, ``{train,test}/{class}/*.jpg``."""
    return all((folder / split).is_dir() for split in SPLITS)


def tree(folder: Path, split: str, source: str | None = None, smallest: int = 1) -> PhotoSet:
    """A tree shaped like Linnaeus 5, ``{train,test}/{class}/*.jpg``: one split, or ``"all"``."""
    files = []
    for part in SPLITS if split == "all" else (split,):
        root = folder / part
        if not root.is_dir():
            raise PhotoError(f"{folder}: has no folder {part!r}")
        files += [(path, _label(path.relative_to(root))) for path in images_below(root)]
    return scan(files, source or str(folder), split, smallest)


def _label(inner: Path) -> str:
    return inner.parts[0] if len(inner.parts) > 1 else ""


def folder(
    root: Path, split: str = "all", source: str | None = None, smallest: int = 1
) -> PhotoSet:
    """Any folder of photos, subfolders included; the subfolder's name is the label.

    Without split folders, a photo's own name decides: about one in six goes to
    ``"test"``, always the same ones, on any machine.
    """
    if not root.is_dir():
        raise PhotoError(f"{root}: no such folder")
    files = []
    for path in images_below(root):
        inner = path.relative_to(root)
        if split == "all" or split == _split_of(inner.as_posix()):
            files.append((path, _label(inner)))
    return scan(files, source or str(root), split, smallest)


def _split_of(name: str) -> str:
    return "test" if hashlib.sha256(name.encode()).digest()[0] % 6 == 0 else "train"


def embedded(split: str, smallest: int = 1) -> PhotoSet:
    """The photographs that come with ``srlib``; credits in ``embedded/ATTRIBUTION.md``."""
    return tree(EMBEDDED, split, "embedded", smallest)
