"""srlib.data.photoset and srlib.data: any file in, the same batches out."""

import os
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import smooth_photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srlib import data
from srlib.data import photoset, stream
from srlib.data.degrade import degrade
from srlib.data.photoset import PhotoSet, read_photo
from srlib.errors import PhotoError
from srlib.resize import downscale, resize


def photo_set(folder: Path) -> PhotoSet:
    paths = tuple(sorted(folder.iterdir()))
    return PhotoSet("test", "all", paths, ("",) * len(paths))


def save(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


def truncate(path: Path, share: float = 0.8) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


# --- reading files


INK, WHITE = [[10, 20, 30], [200, 100, 0], [0, 0, 255]], [255, 255, 255]


def palette() -> Image.Image:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    image.putpalette([level for ink in INK for level in ink])
    return image


def image(rows, mode=None) -> Image.Image:
    kind = np.uint16 if mode == "I;16" else bool if mode == "1" else np.uint8
    return Image.fromarray(np.array(rows, kind), mode if mode == "LA" else None)


def greys(*levels) -> list[list[int]]:
    return [[level] * 3 for level in levels]


RGB = np.random.default_rng(20240607).integers(0, 256, (5, 7, 3), np.uint8)
DEEP = [[0, 128, 129, 257, 2570, 32768, 65406, 65407, 65535]]
RGBA = [[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 255, 51]]]
KEYED = [[[1, 2, 3], [9, 9, 9]]]
#: An image, how it is saved as PNG, its rows of RGB when read, and whether it counts as grey.
STORED = {
    "rgb": (Image.fromarray(RGB), {}, RGB, False),
    "grey": (Image.fromarray(RGB[..., 0]), {}, np.stack([RGB[..., 0]] * 3, -1), True),
    # 65535 is white: the scale is 257, not a shift, and nothing wraps or clips.
    "sixteen bit": (image(DEEP, "I;16"), {}, [greys(0, 0, 1, 1, 10, 128, 254, 255, 255)], True),
    "dark sixteen bit": (image([[200, 200]], "I;16"), {}, [greys(1, 1)], True),
    "one bit": (image([[1, 0, 1]], "1"), {}, [greys(255, 0, 255)], True),
    "palette": (palette(), {}, [INK], False),
    "see-through palette": (palette(), {"transparency": 1}, [[INK[0], WHITE, INK[2]]], False),
    # Transparency lies on white: one fifth of the colour and four fifths of white.
    "rgba": (image(RGBA), {}, [[INK[0], WHITE, [204, 224, 255]]], False),
    "la": (image([[[90, 255], [90, 0], [0, 51]]], "LA"), {}, [greys(90, 255, 204)], False),
    "transparent colour": (image(KEYED), {"transparency": (1, 2, 3)}, [greys(255, 9)], False),
}


@pytest.mark.parametrize("name", STORED)
def test_any_kind_of_pixels_is_read_as_rgb(tmp_path, name):
    stored, options, expected, grey = STORED[name]
    path = save(stored, tmp_path / "stored.png", **options)
    read = read_photo(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, expected)
    assert photoset.is_grey(path) == grey


def test_of_an_animation_the_first_picture_is_read(tmp_path):
    path = tmp_path / "animation.gif"
    save(palette(), path, save_all=True, append_images=[Image.new("RGB", (3, 1), "white")])
    np.testing.assert_array_equal(read_photo(path), [INK])


def test_cmyk_jpeg(tmp_path):
    """Ink: none is white, all is black, cyan swallows red."""
    inks = [(0, 0, 0, 0), (0, 0, 0, 255), (255, 0, 0, 0), (0, 128, 255, 0)]
    rgb = [(255, 255, 255), (0, 0, 0), (0, 255, 255), (255, 127, 0)]
    image = Image.new("CMYK", (64, 16))
    for i, ink in enumerate(inks):
        image.paste(ink, (16 * i, 0, 16 * i + 16, 16))
    read = read_photo(save(image, tmp_path / "cmyk.jpg", quality=100, subsampling=0))
    assert read.shape == (16, 64, 3)
    centres = read[8, 8::16].astype(int)
    np.testing.assert_allclose(centres, rgb, atol=3)


# What undoes each EXIF orientation, written down from the standard: the tag
# says where the stored first row and first column belong.
UNDO = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


@pytest.mark.parametrize("orientation", UNDO)
def test_exif_orientation_is_applied(tmp_path, orientation):
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :8] = (255, 0, 0)  # an L of three colours has no symmetry
    stored[:8, 24:] = (0, 0, 255)
    stored[8:, :8] = (0, 255, 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif, "quality": 100, "subsampling": 0}
    read = read_photo(save(Image.fromarray(stored), tmp_path / "turned.jpg", **options))
    expected = UNDO[orientation](stored)
    assert read.shape == expected.shape
    np.testing.assert_allclose(read.astype(int), expected, atol=8)


@pytest.mark.parametrize("broken", ["missing", "empty", "text", "truncated"])
def test_unreadable_files_are_named(tmp_path, broken):
    path = tmp_path / "holiday.jpg"
    if broken == "empty":
        path.touch()
    elif broken == "text":
        path.write_text("not a photo at all")
    elif broken == "truncated":
        truncate(save(Image.fromarray(smooth_photo(40, 40, 0)), path))
    reason = "no such file" if broken == "missing" else "cannot be read"
    with pytest.raises(PhotoError, match=rf"holiday\.jpg: {reason}"):
        read_photo(path)


# --- folders


@pytest.fixture
def mixed_folder(photo_folder):
    """Twelve good photos, one that turns out truncated, and four that are none."""
    truncate(save(Image.fromarray(smooth_photo(36, 40, 50)), photo_folder / "cut.jpg"))
    (photo_folder / "empty.png").touch()
    (photo_folder / "words.jpg").write_text("words")
    (photo_folder / "notes.txt").write_text("ignored by its ending")
    save(Image.new("RGB", (40, 9)), photo_folder / "thin.png")
    (photo_folder / ".hidden.png").write_text("ignored by its name")
    return photo_folder


def test_unusable_files_are_counted_and_named(mixed_folder):
    with pytest.warns(UserWarning, match="skipped 3 files") as caught:
        photos = data.photos(mixed_folder, "all", smallest=32)
    (message,) = {str(w.message) for w in caught}
    for name in ("empty.png", "words.jpg", "thin.png: 40x9"):
        assert name in message
    assert "notes" not in message and "hidden" not in message
    assert {Path(p).name for p in photos.skipped} == {"empty.png", "words.jpg", "thin.png"}
    assert len(photos) == 13
    with pytest.warns(UserWarning, match=r"skipped cut\.jpg \(4 so far\)"):
        shapes = [photo.shape for photo in photos]
    assert shapes == [(36, 40, 3)] * 12
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the second time round it is known
        assert len(list(photos)) == 12


def test_an_empty_folder_is_an_error_that_helps(tmp_path):
    with pytest.raises(PhotoError, match=r"no usable photos.*\.jpg"):
        data.photos(tmp_path, "all")
    (tmp_path / "words.jpg").write_text("words")
    with pytest.raises(PhotoError, match=r"first of 1 left out.*words\.jpg.*not an image"):
        data.photos(tmp_path, "all")
    with pytest.raises(PhotoError, match="neither a known source"):
        data.photos(tmp_path / "absent", "all")
    with pytest.raises(PhotoError, match="no such folder"):
        photoset.folder(tmp_path / "absent")
    with pytest.raises(ValueError, match="split must be"):
        data.photos(tmp_path, "validation")


def test_a_huge_image_is_skipped_quietly_named(tmp_path, monkeypatch):
    save(Image.new("RGB", (50, 50)), tmp_path / "huge.png")
    save(Image.new("RGB", (12, 10)), tmp_path / "large.png")
    save(Image.new("RGB", (10, 10)), tmp_path / "small.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow: above warns, above twice fails
    with pytest.warns(UserWarning, match=r"skipped 1 files \(huge\.png") as caught:
        photos = data.photos(tmp_path, "all")
    assert [path.name for path in photos.paths] == ["large.png", "small.png"]
    assert not [w for w in caught if issubclass(w.category, Image.DecompressionBombWarning)]
    with pytest.raises(PhotoError, match=r"huge\.png: too many pixels"):
        read_photo(tmp_path / "huge.png")


def test_a_tree_with_splits(tmp_path):
    for i, name in enumerate(["train/cat/a", "train/dog/b", "test/cat/c"]):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(Image.fromarray(smooth_photo(8, 8, i)), path)
    train, test = (data.photos(tmp_path, split) for split in ("train", "test"))
    assert [(p.name, label) for p, label in zip(train.paths, train.labels, strict=True)] == [
        ("a.png", "cat"),
        ("b.png", "dog"),
    ]
    assert [(p.name, label) for p, label in zip(test.paths, test.labels, strict=True)] == [
        ("c.png", "cat")
    ]
    assert (train.split, test.split) == ("train", "test")
    np.testing.assert_array_equal(train[1], smooth_photo(8, 8, 1))
    with pytest.raises(PhotoError, match="has no folder 'val'"):
        photoset.tree(tmp_path, "val")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Sixty names of one photo, in two subfolders."""
    folder = tmp_path_factory.mktemp("many")
    first = save(Image.new("RGB", (8, 8)), folder / "original.png")
    for i in range(60):
        link = folder / f"class{i % 2}" / f"{i}.png"
        link.parent.mkdir(exist_ok=True)
        os.link(first, link)
    first.unlink()
    return folder


def test_a_folder_splits_itself(many, tmp_path):
    everything, train, test = (data.photos(many, split) for split in ("all", "train", "test"))
    assert len(everything) == 60
    assert not set(train.paths) & set(test.paths)
    assert sorted((*train.paths, *test.paths)) == sorted(everything.paths)
    assert 4 <= len(test) <= 18
    assert set(test.labels) == {"class0", "class1"}
    assert train == data.photos(many, "train")
    moved = tmp_path / "elsewhere"
    moved.symlink_to(many)  # the photo's name decides, not the folder's
    assert [p.name for p in data.photos(moved, "test").paths] == [p.name for p in test.paths]


def test_take(many):
    photos = data.photos(many, "all")
    some = photos.take(20)
    assert len(some) == len(some.labels) == 20 and len(set(some.paths)) == 20
    order = [photos.paths.index(path) for path in some.paths]
    assert order == sorted(order)
    assert [photos.labels[i] for i in order] == list(some.labels)
    assert photos.take(20) == some != photos.take(20, seed=1)
    assert photos.take(None) is photos and photos.take(1000) is photos


@given(count=st.integers(1, 59), seed=st.integers(0, 5))
def test_hold_out(many, count, seed):
    photos = data.photos(many, "all")
    rest, held = photos.hold_out(count, seed)
    assert len(held) == count and len(rest) == 60 - count
    assert set(rest.paths) | set(held.paths) == set(photos.paths)
    assert photos.hold_out(count, seed) == (rest, held)


def test_hold_out_is_random_and_refuses_all(many):
    photos = data.photos(many, "all")
    assert photos.hold_out(10, 0)[1] != photos.hold_out(10, 1)[1]
    for count in (0, 60, 61):
        with pytest.raises(ValueError, match=f"hold out {count} of 60"):
            photos.hold_out(count)


def test_fingerprint_changes_with_names_and_bytes(photo_folder):
    photos = photo_set(photo_folder)
    first = photos.fingerprint()
    assert len(first) == 12 and int(first, 16) >= 0
    assert photo_set(photo_folder).fingerprint() == first != photos.take(11).fingerprint()
    with photos.paths[3].open("ab") as file:
        file.write(b"\0")
    assert photos.fingerprint() != first


# --- pairs


def test_square_is_central_and_reduced():
    photo = smooth_photo(40, 61, 3)
    np.testing.assert_array_equal(data.square(photo, 40), photo[:, 10:50])
    np.testing.assert_array_equal(data.square(photo, 20), resize(photo[:, 10:50], (20, 20)))
    with pytest.raises(PhotoError, match="61x40 pixels, smaller than 41"):
        data.square(photo, 41)


@pytest.mark.parametrize("kernel", ["bicubic", "box"])
def test_pairs(photo_folder, kernel):
    pairs = data.pairs(photo_set(photo_folder), size=32, kernel=kernel)
    assert pairs.low.shape == (12, 16, 16, 3) and pairs.high.shape == (12, 32, 32, 3)
    assert pairs.low.dtype == pairs.high.dtype == np.uint8
    assert pairs.names == [f"photo{i:02}.png" for i in range(12)] and pairs.labels == [""] * 12
    np.testing.assert_array_equal(pairs.low, downscale(pairs.high, 2, kernel))
    # The truth does not depend on the kernel of the input.
    np.testing.assert_array_equal(
        pairs.high[4], resize(smooth_photo(36, 40, 4)[:, 2:38], (32, 32), "bicubic")
    )
    if kernel == "box":
        means = pairs.high.reshape(12, 16, 2, 16, 2, 3).mean(axis=(2, 4))
        assert np.abs(pairs.low - means).max() <= 0.5


def test_pairs_skip_what_cannot_be_used(photo_folder):
    truncate(save(Image.fromarray(smooth_photo(36, 40, 50)), photo_folder / "cut.jpg"))
    save(Image.new("RGB", (30, 30)), photo_folder / "tiny.png")
    with pytest.warns(UserWarning) as caught:
        pairs = data.pairs(photo_set(photo_folder), size=32)
    messages = " ".join(str(w.message) for w in caught)
    assert "cut.jpg (1 so far)" in messages and "tiny.png (2 so far): 30x30" in messages
    assert len(pairs.low) == len(pairs.high) == len(pairs.names) == 12
    with pytest.raises(PhotoError, match="none of its 14"), pytest.warns(UserWarning):
        data.pairs(photo_set(photo_folder), size=64)


def test_pairs_with_a_limit(photo_folder):
    photos = photo_set(photo_folder)
    assert data.pairs(photos, size=16, limit=5).names == [p.name for p in photos.take(5).paths]


# --- the training stream


def batches(photos, count, **options):
    options = {"size": 16, "batch_size": 4} | options
    stream = data.dataset(photos, **options).take(count)
    return [(low.numpy(), high.numpy()) for low, high in stream]


def assert_same(ours, theirs):
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


def eight_bit(images):
    return np.rint(images * 255).astype(np.uint8)


def test_stream_shapes(photo_folder):
    ((low, high),) = batches(photo_set(photo_folder), 1, crop=5)
    assert low.shape == (4, 5, 5, 3) and high.shape == (4, 10, 10, 3)
    assert low.dtype == high.dtype == np.float32
    assert low.min() >= 0 and low.max() <= 1 and high.max() > 0.5
    for crop in (0, 9):
        with pytest.raises(ValueError, match=f"between 1 and 8.*not {crop}"):
            data.dataset(photo_set(photo_folder), 4, size=16, crop=crop)
    with pytest.raises(ValueError, match="1 or more low-resolution pixels, not 0"):
        data.dataset(photo_set(photo_folder), 4, size=None, crop=0)
    with pytest.raises(ValueError, match="part 2 of 2 equal parts of 4: there is none"):
        data.dataset(photo_set(photo_folder), 4, size=16, part=(2, 2))


def test_stream_is_a_function_of_its_seed(photo_folder):
    photos = photo_set(photo_folder)
    first = batches(photos, 5, crop=6, seed=3)
    assert_same(first, batches(photos, 5, crop=6, seed=3))
    other = batches(photos, 5, crop=6, seed=4)
    assert all(np.abs(a[1] - b[1]).max() > 0.01 for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("start", [1, 2, 7])
def test_stream_resumes_where_it_stopped(photo_folder, start):
    photos = photo_set(photo_folder)
    options = {"crop": 6, "batch_size": 5, "seed": 1}  # 5 does not divide 12
    whole = batches(photos, start + 3, **options)
    assert_same(batches(photos, 3, start=start, **options), whole[start:])


def test_cache_changes_nothing(photo_folder):
    photos = photo_set(photo_folder)
    assert_same(*(batches(photos, 7, crop=6, cache=cache) for cache in (True, False)))


def seen_photos(photos, stream):
    known = data.pairs(photos, size=16).high
    high = eight_bit(np.concatenate([high for _, high in stream]))
    return [int(np.abs(known.astype(int) - h).sum(axis=(1, 2, 3)).argmin()) for h in high]


def test_each_epoch_shows_every_photo_once(photo_folder):
    photos = photo_set(photo_folder)
    stream = batches(photos, 9, augment=False)
    known = data.pairs(photos, size=16)
    seen = seen_photos(photos, stream)
    epochs = [seen[0:12], seen[12:24], seen[24:36]]
    for epoch in epochs:
        assert sorted(epoch) == list(range(12))
    assert epochs[0] != epochs[1] != epochs[2] and epochs[0] != list(range(12))
    np.testing.assert_array_equal(eight_bit(stream[0][0]), known.low[seen[:4]])
    np.testing.assert_array_equal(eight_bit(stream[0][1]), known.high[seen[:4]])


def test_one_photo_is_enough(photo_folder):
    photos = photo_set(photo_folder).take(1)
    ((_, high),) = batches(photos, 1, augment=False)
    np.testing.assert_array_equal(eight_bit(high[3]), data.pairs(photos, size=16).high[0])


@pytest.mark.parametrize("crop", [None, 5])
def test_low_and_high_show_the_same(photo_folder, crop):
    """The box mean has no reach: cropped or turned, low stays the mean of its four."""
    for low, high in batches(photo_set(photo_folder), 6, crop=crop, kernel="box"):
        assert np.abs(eight_bit(low) - means_of_four(eight_bit(high))).max() <= 0.5


def means_of_four(images):
    n, height, width, c = images.shape
    return images.reshape(n, height // 2, 2, width // 2, 2, c).mean(axis=(2, 4))


def test_augmentation_makes_all_eight_views(photo_folder):
    photos = photo_set(photo_folder).take(1)
    original = data.pairs(photos, size=16).high[0]
    turns = [np.rot90(original, k) for k in range(4)]
    views = [view.tobytes() for turn in turns for view in (turn, turn[:, ::-1])]
    assert len(set(views)) == 8
    high = np.concatenate([high for _, high in batches(photos, 25)])
    counts = [sum(eight_bit(h).tobytes() == view for h in high) for view in views]
    assert sum(counts) == 100 and min(counts) >= 3


def test_crops_are_everywhere(photo_folder):
    photos = photo_set(photo_folder).take(1)
    original = data.pairs(photos, size=16).high[0]
    corners = set()
    for _, high in batches(photos, 30, crop=6, augment=False):
        for h in eight_bit(high):
            (corner,) = (
                (y, x)
                for y in range(0, 5, 2)
                for x in range(0, 5, 2)
                if (original[y : y + 12, x : x + 12] == h).all()
            )
            corners.add(corner)
    assert corners == {(y, x) for y in (0, 2, 4) for x in (0, 2, 4)}


def test_a_damaged_photo_is_stood_in_for(photo_folder):
    photos = photo_set(photo_folder)
    truncate(photos.paths[5])
    with pytest.warns(UserWarning, match=r"photo05\.png \(1 so far\)") as caught:
        seen = seen_photos_without(photos, 5, batches(photos, 6, augment=False))
    assert len(caught) == 1
    assert sorted(seen[:12]) == sorted(seen[12:]) == sorted([0, 1, 2, 3, 4, 6, 6, *range(7, 12)])


def seen_photos_without(photos, damaged, stream):
    """Indices into ``photos``, of which one cannot be read."""
    rest = [i for i in range(len(photos)) if i != damaged]
    readable = PhotoSet("rest", "all", tuple(photos.paths[i] for i in rest), ("",) * len(rest))
    return [rest[i] for i in seen_photos(readable, stream)]


def test_a_folder_of_damaged_photos_ends_and_says_so(photo_folder):
    photos = photo_set(photo_folder).take(2)
    for path in photos.paths:
        truncate(path)
    with pytest.raises(Exception, match="not one photo could be read"), pytest.warns(UserWarning):
        batches(photos, 1)


def test_a_hundred_thousand_photos_cost_their_names(tmp_path):
    """Resident memory, not tracemalloc: that crashes when TensorFlow's threads free arrays."""
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)).save(path)
    photos = PhotoSet("large", "all", (path,) * 100_000, ("",) * 100_000)
    stores = []

    class Remembered(stream._PairStore):
        def __init__(self, *args):
            super().__init__(*args)
            stores.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "_PairStore", Remembered)
        batches = iter(data.dataset(photos, 10, size=400, crop=8, cache=False))
    for _ in range(5):
        next(batches)
    before = psutil.Process().memory_info().rss
    for _ in range(30):
        next(batches)
    growth = psutil.Process().memory_info().rss - before
    (store,) = stores
    assert not store.cached and store.known == {}
    assert growth < 300 * 400 * 400 * 3 / 3  # a third of the pixels that went by


def test_cache_is_chosen_by_size(photo_folder, monkeypatch):
    photos = photo_set(photo_folder)
    needed = 12 * (16 * 16 + 8 * 8) * 3
    monkeypatch.setattr(stream, "CACHE_LIMIT", needed)
    store = stream._PairStore(photos, (16,), "bicubic", None)
    assert store.cached
    kept = store.pair(3, 16, smallest=8)
    assert list(store.known) == [(photos.paths[3], 16)] and store.pair(3, 16, 8) is kept
    monkeypatch.setattr(stream, "CACHE_LIMIT", needed - 1)
    assert not stream._PairStore(photos, (16,), "bicubic", None).cached
    whole = 12 * (36 * 40 + 18 * 20) * 3
    for limit, cached in ((whole, True), (whole - 1, False)):
        monkeypatch.setattr(stream, "CACHE_LIMIT", limit)
        assert stream._PairStore(photos, (None,), "bicubic", None).cached is cached


# --- photos in their own size


@pytest.fixture
def mixed_photos(photo_folder) -> PhotoSet:
    """Three photos of 36x40 pixels and three of 61x31, odd on purpose."""
    paths = sorted(photo_folder.iterdir())[:6]
    for i, path in enumerate(paths[3:]):
        Image.fromarray(smooth_photo(61, 31, 50 + i)).save(path)
    return PhotoSet("mixed", "all", tuple(paths), ("",) * 6)


def whole_pairs(photos):
    return [data.pair(photo, None) for photo in photos]


def places(high, pairs, side):
    """Where in which photo a crop of the truth lies: (photo, top, left)."""
    for i, (_, whole) in enumerate(pairs):
        windows = np.lib.stride_tricks.sliding_window_view(whole, (2 * side, 2 * side), (0, 1))
        found = np.argwhere((windows == high.transpose(2, 0, 1)).all(axis=(2, 3, 4)))
        yield from ((i, *map(int, corner)) for corner in found)


def test_a_whole_pair_has_even_sides(mixed_photos):
    for photo, (low, high) in zip(mixed_photos, whole_pairs(mixed_photos), strict=True):
        height, width = (side // 2 * 2 for side in photo.shape[:2])
        np.testing.assert_array_equal(high, photo[:height, :width])
        np.testing.assert_array_equal(low, downscale(high))


def test_crops_of_whole_photos_come_from_one_place_of_the_pair(mixed_photos):
    pairs, seen = whole_pairs(mixed_photos), set()
    for low, high in batches(mixed_photos, 12, size=None, crop=7, augment=False):
        for small, large in zip(eight_bit(low), eight_bit(high), strict=True):
            (photo, top, left) = next(places(large, pairs, 7))
            assert top % 2 == left % 2 == 0
            expected = pairs[photo][0][top // 2 : top // 2 + 7, left // 2 : left // 2 + 7]
            np.testing.assert_array_equal(small, expected)
            seen.add(photo)
    assert seen == set(range(6))


def test_several_sizes_are_all_drawn(mixed_photos):
    own, reduced = whole_pairs(mixed_photos), [data.pair(photo, 24) for photo in mixed_photos]
    counts = {"own": 0, "reduced": 0}
    for _, high in batches(mixed_photos, 12, size=(None, 24), crop=6, augment=False):
        for large in eight_bit(high):
            counts["own"] += any(True for _ in places(large, own, 6))
            counts["reduced"] += any(True for _ in places(large, reduced, 6))
    assert min(counts.values()) > 10 and sum(counts.values()) == 48


def test_of_several_candidates_the_most_detailed_is_taken(tmp_path):
    """A photo that is flat but for one corner: one crop in a few touches it."""
    photo = np.full((64, 64, 3), 128, np.uint8)
    photo[:24, :24] = np.random.default_rng(0).integers(0, 256, (24, 24, 3))
    Image.fromarray(photo).save(tmp_path / "photo.png")
    photos = PhotoSet("corner", "all", (tmp_path / "photo.png",), ("",))

    def share(candidates):
        stream = batches(photos, 20, size=None, crop=8, candidates=candidates)
        return np.mean([crop.std() > 0.01 for low, _ in stream for crop in low])

    # Each corner of a crop is drawn evenly from 25 x 25 places; low-resolution
    # detail reaches 13 pixels or so.
    assert 0.1 < share(1) < 0.45 and share(8) > 0.8


def test_whole_photos_need_a_crop_and_must_hold_it(mixed_photos):
    with pytest.raises(ValueError, match="crop must be given"):
        data.dataset(mixed_photos, 4, size=None)
    with pytest.raises(ValueError, match="crop must be given"):
        data.dataset(mixed_photos, 4, size=(16, 24))
    with pytest.warns(UserWarning, match="smaller than the crops of 32 pixels") as caught:
        ((low, _),) = batches(mixed_photos, 1, batch_size=12, size=None, crop=16)
    assert low.shape == (12, 16, 16, 3) and len(caught) == 3


def test_joined_photos_are_drawn_as_often_as_they_are_listed(photo_folder):
    photos = photo_set(photo_folder)
    joined = photos.take(2).joined_with(photos.choose([5]), 4)
    assert joined.source.endswith(" x 4") and len(joined) == 6
    assert joined.paths[2:] == (photos.paths[5],) * 4
    assert photos.joined_with(photos).paths == photos.paths * 2


def test_mean_pixels(mixed_photos):
    assert mixed_photos.mean_pixels() == (36 * 40 + 61 * 31) // 2


def test_evaluation_stream_keeps_order(photo_folder):
    pairs = data.pairs(photo_set(photo_folder), size=16)
    stream = list(data.evaluation_dataset(pairs, batch_size=5))
    assert [len(low) for low, _ in stream] == [5, 5, 2]
    low, high = (np.concatenate([batch[k] for batch in stream]) for k in (0, 1))
    for ours, theirs in zip(data.as_float(pairs), (low, high), strict=True):
        assert ours.dtype == theirs.dtype == np.float32
        np.testing.assert_allclose(theirs, ours, atol=1e-7)
    np.testing.assert_array_equal(eight_bit(high), pairs.high)


@pytest.mark.parametrize("side", [64, 128, 256])
def test_the_centre_covers_the_same_area_at_any_size(side):
    image = np.arange(side * side * 3).reshape(side, side, 3)
    part = data.centre(image, 9 / 16)
    assert part.shape == (side * 9 // 16, side * 9 // 16, 3)
    top = side * 7 // 32
    np.testing.assert_array_equal(part, image[top:-top, top:-top])


@pytest.mark.parametrize("kernel", ["jpeg 50", "box, noise 5", "aliased bicubic"])
def test_inputs_to_train_on_may_be_damaged(photo_folder, kernel):
    photos = photo_set(photo_folder)
    low, high = data.pair(photos[3], 32, kernel)
    np.testing.assert_array_equal(low, degrade(high, kernel))
    assert (low != downscale(high)).any()
    batch = batches(photos.take(1), 1, size=32, kernel=kernel, augment=False)[0][0]
    np.testing.assert_array_equal(
        eight_bit(batch[0]), data.pairs(photos.take(1), 32, kernel).low[0]
    )
