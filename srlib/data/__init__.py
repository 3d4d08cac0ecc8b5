"""From photos to training pairs: one line from a source to ``tf.data``. Taught in chapter 1."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from srlib._lazy import lazily
from srlib.data import download, photoset
from srlib.data.pairing import Pairs, as_float, centre, even, pair, pairs, square
from srlib.data.photoset import PhotoSet
from srlib.errors import PhotoError, SrlibError

if TYPE_CHECKING:
    from srlib.data.stream import dataset, evaluation_dataset

__all__ = [
    "Pairs",
    "PhotoError",
    "PhotoSet",
    "as_float",
    "centre",
    "dataset",
    "evaluation_dataset",
    "even",
    "pair",
    "pairs",
    "photos",
    "square",
]

# TensorFlow is loaded with the first batch, not with the first photo.
__getattr__ = lazily(__name__, {"stream": ("dataset", "evaluation_dataset")})


def photos(source: str | os.PathLike = "embedded", split: str = "train", **options) -> PhotoSet:
    """Open a source of photos.

    Args:
        source: ``"embedded"`` (comes with srlib), ``"flower_photos"`` or
            ``"linnaeus5"`` (downloaded once), or a folder: either shaped like
            Linnaeus 5, ``{train,test}/{class}/*.jpg``, or any folder of photos.
        split: ``"train"``, ``"test"`` or, for a plain folder, ``"all"``.
        options: passed on to the source; for example ``root=`` for downloads.

    Returns:
        The photos' files; pixels are read when asked for.

    Raises:
        PhotoError: when there is nothing usable, saying what to do.
    """
    if split not in (*photoset.SPLITS, "all"):
        raise SrlibError(f"split must be 'train', 'test' or 'all', not {split!r}")
    if source == "embedded":
        return photoset.embedded(split, **options)
    if source in download.DATASETS:
        return download.photos(source, split, **options)
    path = Path(source)
    if photoset.has_splits(path):
        return photoset.tree(path, split, **options)
    if not path.is_dir():
        known = ", ".join(("embedded", *download.DATASETS))
        raise PhotoError(f"{source}: neither a known source ({known}) nor a folder of photos")
    return photoset.folder(path, split, **options)
