"""An endless stream of training batches as ``tf.data``. Taught in chapter 1."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from srlib._backend import tf
from srlib.data.pairing import Pairs, pair
from srlib.data.photoset import PhotoSet
from srlib.errors import PhotoError, SrlibError

#: Pixel caches above this size are not kept in memory but decoded again.
CACHE_LIMIT = 2 * 2**30


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
        photos: from :func:`srlib.data.photos`.
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
        raise SrlibError(f"part {mine} of {parts} equal parts of {batch_size}: there is none")
    share = batch_size // parts
    sizes = tuple(size) if isinstance(size, Sequence) else (size,)
    crop = _checked_crop(crop, sizes)
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


def _checked_crop(crop: int | None, sizes: tuple[int | None, ...]) -> int:
    """The side of the crops in low-resolution pixels, which every truth must hold."""
    fixed = [side // 2 for side in sizes if side]
    if crop is None:
        if len(sizes) > 1 or not fixed:
            raise SrlibError("crop must be given where photos have several sizes")
        crop = fixed[0]
    if not 0 < crop <= min(fixed, default=crop):
        limits = f"between 1 and {min(fixed)}" if fixed else "1 or more"
        raise SrlibError(f"crop must be {limits} low-resolution pixels, not {crop}")
    return crop


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
