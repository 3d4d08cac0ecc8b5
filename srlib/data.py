"""From photos to training pairs: one line from a source to ``tf.data``.

A pair is a high-resolution square, the truth, and the low-resolution image
made from it by a stated kernel. Taught in chapter 1.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srlib import sources
from srlib.backend import tf
from srlib.degrade import degrade
from srlib.resize import resize, to_float
from srlib.sources import PhotoError, PhotoSet

#: Pixel caches above this size are not kept in memory but decoded again.
CACHE_LIMIT = 2 * 2**30


class Pairs(NamedTuple):
    """Training or test pairs as arrays.

    Attributes:
        low: uint8 ``(N, size/2, size/2, 3)``, what a network sees.
        high: uint8 ``(N, size, size, 3)``, the truth.
        names: the file each pair came from.
        labels: its class, or ``""``.
    """

    low: np.ndarray
    high: np.ndarray
    names: list[str]
    labels: list[str]


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
    from srlib import download  # only those who download need its machinery

    if split not in (*sources.SPLITS, "all"):
        raise ValueError(f"split must be 'train', 'test' or 'all', not {split!r}")
    if source == "embedded":
        return sources.embedded(split, **options)
    if source in download.DATASETS:
        return download.DATASETS[source](split, **options)
    path = Path(source)
    if sources.has_splits(path):
        return sources.tree(path, split, **options)
    if not path.is_dir():
        known = ", ".join(("embedded", *download.DATASETS))
        raise PhotoError(f"{source}: neither a known source ({known}) nor a folder of photos")
    return sources.folder(path, split, **options)


def square(photo: np.ndarray, size: int, kernel: str = "bicubic") -> np.ndarray:
    """Cut the largest central square and reduce it to ``size`` pixels a side.

    Raises:
        PhotoError: when the photo is smaller than that: enlarging it would
            make a "truth" without detail.
    """
    side = min(photo.shape[:2])
    if side < size:
        raise PhotoError(f"{photo.shape[1]}x{photo.shape[0]} pixels, smaller than {size}")
    top, left = ((length - side) // 2 for length in photo.shape[:2])
    photo = photo[top : top + side, left : left + side]
    return photo if side == size else resize(photo, (size, size), kernel)


def centre(image: np.ndarray, share: float = 0.5) -> np.ndarray:
    """The central part of an image, ``share`` of each side, to look at its pixels."""
    height, width = image.shape[:2]
    top, left = (round(length * (1 - share) / 2) for length in (height, width))
    return image[top : height - top, left : width - left]


def even(photo: np.ndarray) -> np.ndarray:
    """The photo without its last row or column where a side is odd: half of it is whole."""
    height, width = (length - length % 2 for length in photo.shape[:2])
    return photo[:height, :width]


def pair(
    photo: np.ndarray, size: int | None = 128, kernel: str = "bicubic"
) -> tuple[np.ndarray, np.ndarray]:
    """Make one ``(low, high)`` pair from a photo.

    The low-resolution image is made from the *reduced* square, so that the
    truth is exactly what the network is asked to recover.

    Args:
        photo: uint8 ``(H, W, 3)``.
        size: side of the truth in pixels, even; None for the whole photo in
            its own size, cut to even sides.
        kernel: ``"bicubic"`` (antialiased), ``"box"`` as in the classic system,
            or any steps that :mod:`srlib.degrade` knows, such as ``"jpeg 75"``.

    Returns:
        uint8 ``(size/2, size/2, 3)`` and ``(size, size, 3)``.
    """
    high = square(photo, size) if size else even(photo)
    return degrade(high, kernel), high


def pairs(
    photos: PhotoSet, size: int = 128, kernel: str = "bicubic", limit: int | None = None
) -> Pairs:
    """All pairs of a photo set as arrays, for sets that fit in memory.

    Unreadable and too small photos are skipped with a named, counted warning.
    """
    photos = photos.take(limit)
    low, high, names, labels = [], [], [], []
    for index, (path, label) in enumerate(zip(photos.paths, photos.labels, strict=True)):
        try:
            small, large = pair(photos[index], size, kernel)
        except PhotoError as error:
            photos.skip(index, str(error))
            continue
        low.append(small)
        high.append(large)
        names.append(path.name)
        labels.append(label)
    if not low:
        raise PhotoError(f"{photos.source}: none of its {len(photos)} photos could be used")
    return Pairs(np.stack(low), np.stack(high), names, labels)


class _PairStore:
    """Pairs by photo and size, each decoded once if they all fit in the cache."""

    def __init__(
        self, photos: PhotoSet, sizes: tuple[int | None, ...], kernel: str, cache: bool | None
    ):
        self.photos, self.sizes, self.kernel = photos, sizes, kernel
        pixels = sum(size * size if size else photos.mean_pixels() for size in sizes)
        bytes_needed = len(set(photos.paths)) * pixels * 3 * 5 // 4
        self.cached = bytes_needed <= CACHE_LIMIT if cache is None else cache
        self.known: dict[tuple[Path, int | None], tuple[np.ndarray, np.ndarray]] = {}
        self.lock = threading.Lock()

    def pair(self, index: int, size: int | None, smallest: int) -> tuple[np.ndarray, np.ndarray]:
        """The pair of a photo; a damaged one is stood in for by its neighbour."""
        for offset in range(len(self.photos)):
            candidate = (index + offset) % len(self.photos)
            path = self.photos.paths[candidate]
            result = self.known.get((path, size))
            try:
                if result is None:
                    result = pair(self.photos[candidate], size, self.kernel)
                    if self.cached:
                        self.known[path, size] = result
                if min(result[0].shape[:2]) < smallest:
                    raise PhotoError(f"{path}: smaller than the crops of {2 * smallest} pixels")
            except PhotoError as error:
                with self.lock:
                    self.photos.skip(candidate, str(error))
                continue
            return result
        raise PhotoError(f"{self.photos.source}: not one photo could be read")

    def crop(
        self, index: np.ndarray, choice: np.ndarray, draws: np.ndarray, side: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """One crop: of those that ``draws`` (k, 2) in [0, 1) point at, the most detailed."""
        low, high = self.pair(int(index), self.sizes[int(choice)], int(side))
        free = np.array(low.shape[:2], np.float32) - side + 1
        corners = (draws * free).astype(np.int32)
        crops = [low[top : top + side, left : left + side] for top, left in corners]
        best = int(np.argmax([_detail(crop) for crop in crops])) if len(crops) > 1 else 0
        top, left = 2 * corners[best]
        return crops[best], high[top : top + 2 * side, left : left + 2 * side]


def _detail(image: np.ndarray) -> float:
    luma = image.astype(np.float32).mean(axis=-1)
    return float(sum(np.square(np.diff(luma, axis=axis)).mean() for axis in (0, 1)))


def dataset(
    photos: PhotoSet,
    batch_size: int,
    *,
    size: int | Sequence[int | None] | None = 128,
    kernel: str = "bicubic",
    crop: int | None = None,
    candidates: int = 1,
    augment: bool = True,
    seed: int = 0,
    start: int = 0,
    part: tuple[int, int] = (0, 1),
    cache: bool | None = None,
) -> tf.data.Dataset:
    """An endless stream of training batches, the same for the same seed.

    What sample ``i`` is (which photo, which crop, which flip) is a function of
    ``(seed, i)`` alone. So training can stop and go on at any step and see the
    very batches it would have seen.

    Args:
        photos: from :func:`photos`.
        batch_size: pairs in a batch.
        size: side of the truth in pixels; None for photos in their own size,
            of any shape; several of these for a draw between them.
        kernel: how the low-resolution image is made.
        crop: side in *low-resolution* pixels of a random crop; None for all of
            a truth of one fixed size.
        candidates: of so many random crops the one with the most detail is taken.
        augment: random flips and quarter turns.
        seed: of everything random.
        start: first batch, to resume at.
        part: ``(k, n)`` for the k-th of n equal parts of every batch, to share
            them out to n workers: no other sample is read.
        cache: keep decoded pairs in memory; by default if they fit in 2 GiB.

    Returns:
        Batches ``(low, high)``: float32 in [0, 1],
        ``(batch_size, c, c, 3)`` and ``(batch_size, 2c, 2c, 3)``; of a part,
        the n-th of that.
    """
    mine, parts = part
    if not 0 <= mine < parts or batch_size % parts:
        raise ValueError(f"part {mine} of {parts} equal parts of {batch_size}: there is none")
    share = batch_size // parts
    sizes = tuple(size) if isinstance(size, Sequence) else (size,)
    fixed = [side // 2 for side in sizes if side]
    if crop is None:
        if len(sizes) > 1 or not fixed:
            raise ValueError("crop must be given where photos have several sizes")
        crop = fixed[0]
    if not 0 < crop <= min(fixed, default=crop):
        raise ValueError(
            f"crop must be between 1 and {min(fixed)} low-resolution pixels, not {crop}"
        )
    count = len(photos)
    store = _PairStore(photos, sizes, kernel, cache)

    @tf.autograph.experimental.do_not_convert  # all of it is operations: saves a second
    def sample(own: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        i = own // share * batch_size + mine * share + own % share
        epoch, position = i // count, i % count
        key = tf.stack([tf.constant(seed, tf.int64), epoch])
        index = tf.random.experimental.index_shuffle(position, key, count - 1)
        draw = tf.random.stateless_uniform((3,), tf.stack([seed + 1, i]))
        more = tf.random.stateless_uniform((2 * candidates - 1,), tf.stack([seed + 2, i]))
        draws = tf.reshape(tf.concat([draw[:2], more[1:]], 0), (candidates, 2))
        choice = tf.cast(more[0] * len(sizes), tf.int32)
        low, high = tf.numpy_function(
            store.crop, [index, choice, draws, tf.constant(crop)], [tf.uint8, tf.uint8]
        )
        low = tf.ensure_shape(low, (crop, crop, 3))
        high = tf.ensure_shape(high, (2 * crop, 2 * crop, 3))
        turn = tf.cast(draw[2] * 8.0, tf.int32) if augment else tf.constant(0)
        return tuple(_turn(tf.cast(image, tf.float32) / 255.0, turn) for image in (low, high))

    samples = tf.data.Dataset.range(start * share, np.iinfo(np.int64).max // parts)
    samples = samples.map(sample, num_parallel_calls=tf.data.AUTOTUNE)
    return samples.batch(share, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def _turn(image: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """One of the square's eight symmetries, ``turn`` 0..7; 0 changes nothing."""
    shape = image.shape
    image = tf.image.rot90(image, turn % 4)
    image = tf.cond(turn >= 4, lambda: tf.image.flip_left_right(image), lambda: image)
    return tf.ensure_shape(image, shape)


def evaluation_dataset(pairs: Pairs, batch_size: int = 16) -> tf.data.Dataset:
    """Pairs once, in order, as float32 batches: what ``fit(validation_data=)`` wants."""
    stream = tf.data.Dataset.from_tensor_slices((pairs.low, pairs.high)).batch(batch_size)
    return stream.map(
        lambda low, high: (tf.cast(low, tf.float32) / 255.0, tf.cast(high, tf.float32) / 255.0)
    ).prefetch(1)


def as_float(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """``(low, high)`` as float32 arrays in [0, 1]."""
    return to_float(pairs.low), to_float(pairs.high)
