"""The photographs that come with srlib, and the rule that chose their squares."""

import re

import numpy as np
import pytest
from PIL import Image

from experiments import embed_photos
from srlib.data.photoset import EMBEDDED, SPLITS, embedded, read_photo

ALLOWED = {"CC0-1.0", "CC-BY-2.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "public domain"}
SETS = {split: embedded(split) for split in SPLITS}
FILES = [path for photos in SETS.values() for path in photos.paths]


@pytest.fixture(scope="module")
def squares():
    return {path: read_photo(path) for path in FILES}


@pytest.fixture(scope="module")
def credited():
    """The rows of ATTRIBUTION.md: slug -> its other cells."""
    rows = {}
    for line in (EMBEDDED / "ATTRIBUTION.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "slug":
            names = ("split", "title", "author", "licence", "source", "squares", "changes")
            rows[cells[0]] = dict(zip(names, cells[1:], strict=True))
    return rows


def texture(seed=0, side=256):
    """Smooth enough to survive the 2x2 mean, sharp enough to be detail."""
    noise = np.random.default_rng(seed).integers(0, 256, (side // 2, side // 2, 3), np.uint8)
    return noise.repeat(2, axis=0).repeat(2, axis=1)


def blurred(image, radius=32):
    small = Image.fromarray(image).resize((256 // radius,) * 2, Image.Resampling.BOX)
    return np.asarray(small.resize((256, 256), Image.Resampling.BICUBIC))


# The set


def test_size_of_the_set():
    assert 200 <= len(FILES) <= 300
    assert 40 <= len(SETS["test"]) <= 60
    assert sum(path.stat().st_size for path in FILES) < 12e6


def test_every_file_is_a_plain_square_jpeg():
    for path in FILES:
        assert re.fullmatch(r"[1-9]\d*_256\.jpg", path.name), path
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (256, 256)), path
            assert not image.getexif() and "icc_profile" not in image.info, path


def test_nothing_else_lies_in_the_folder():
    found = {path for path in EMBEDDED.rglob("*") if path.is_file()}
    assert found == set(FILES) | {EMBEDDED / "ATTRIBUTION.md"}


def test_a_photograph_is_in_one_split_only():
    assert not set(SETS["train"].labels) & set(SETS["test"].labels)
    assert len(set(SETS["train"].labels)) >= 10 and len(set(SETS["test"].labels)) >= 4


def test_no_photograph_dominates():
    for split, photos in SETS.items():
        counts = [photos.labels.count(slug) for slug in set(photos.labels)]
        assert max(counts) <= embed_photos.CAP[split]


def test_no_two_squares_are_identical(squares):
    assert len({square.tobytes() for square in squares.values()}) == len(squares)


def test_every_square_has_detail_and_contrast(squares):
    # JPEG moves a tile or two across the threshold, so the floor is a little lower here.
    for path, square in squares.items():
        assert embed_photos.sharp_share(square) >= embed_photos.SHARP_TILES - 0.04, path
        assert embed_photos.luma(square).std() >= embed_photos.CONTRAST - 1, path


# The credits


def test_every_photograph_is_credited_with_what_is_there(credited):
    present = {}
    for split, photos in SETS.items():
        for slug in photos.labels:
            present[slug] = (split, present.get(slug, (split, 0))[1] + 1)
    rows = {slug: (row["split"], int(row["squares"])) for slug, row in credited.items()}
    assert rows == present


def test_every_credit_has_author_licence_source_and_changes(credited):
    for slug, row in credited.items():
        assert row["author"] and row["title"] and row["source"], slug
        assert "cropped" in row["changes"], slug
        licence = re.fullmatch(r"\[(.+)\]\((https://creativecommons\.org/\S+)\)", row["licence"])
        assert licence and licence[1] in ALLOWED, slug


def test_the_credits_are_what_the_script_writes(credited):
    counts = {slug: int(row["squares"]) for slug, row in credited.items()}
    written = (EMBEDDED / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert written == embed_photos.attribution(counts)


# The rule


def noisy_gradient():
    """A blurred gradient, and the noise of a camera's sensor."""
    ramp = np.linspace(0, 200, 256)[None, :, None].repeat(256, axis=0).repeat(3, axis=2)
    noisy = ramp + np.random.default_rng(0).normal(0, 2, ramp.shape)
    return noisy.round().clip(0, 255).astype(np.uint8)


def sharp_third():
    """An animal before a blurred background."""
    square = blurred(texture(1)).copy()
    square[:, :96] = texture()[:, :96]
    return square


@pytest.mark.parametrize(
    ("square", "good"),
    [
        (texture(), True),
        (sharp_third(), True),
        (blurred(texture()), False),
        (noisy_gradient(), False),
        (np.full((256, 256, 3), 128, np.uint8), False),
    ],
    ids=["texture", "sharp third", "blurred texture", "noisy gradient", "flat"],
)
def test_squares_with_something_in_focus_are_kept(square, good):
    assert embed_photos.is_good(square) == good


def test_shares_of_sharp_tiles():
    assert embed_photos.sharp_share(texture()) == 1
    assert embed_photos.sharp_share(blurred(texture())) < embed_photos.SHARP_TILES
    assert embed_photos.luma(blurred(texture())).std() > 1


@pytest.mark.parametrize(
    ("height", "width", "count"), [(256, 256, 1), (255, 900, 0), (300, 451, 1), (800, 1100, 12)]
)
def test_grid_covers_no_pixel_twice(height, width, count):
    seen = np.zeros((height, width), int)
    corners = embed_photos.grid(height, width)
    for top, left in corners:
        assert top >= 0 and left >= 0 and top + 256 <= height and left + 256 <= width
        seen[top : top + 256, left : left + 256] += 1
    assert len(corners) == count and seen.max(initial=0) <= 1


def test_spread_respects_the_cap_and_covers_the_photo():
    assert embed_photos.spread([1, 2, 3], 5) == [1, 2, 3]
    chosen = embed_photos.spread(list(range(100)), 8)
    assert len(chosen) == len(set(chosen)) == 8 and chosen == sorted(chosen)
    assert chosen[0] < 13 and chosen[-1] > 86


def test_squares_keep_the_good_ones_up_to_the_cap():
    photo = np.concatenate([texture(0, 768), np.full((768, 256, 3), 128, np.uint8)], axis=1)
    assert len(embed_photos.squares(photo, 100)) == 9
    assert len(embed_photos.squares(photo, 4)) == 4


def test_shrinking_never_enlarges():
    with pytest.raises(embed_photos.BuildError, match="enlarged"):
        embed_photos.shrink(texture(), 300)


def test_a_failed_build_leaves_the_old_set(tmp_path, capsys):
    old = tmp_path / "photos"
    old.mkdir()
    (old / "kept.txt").write_text("old")
    arguments = ["--wallpapers", str(tmp_path), "--sklearn-images", str(tmp_path)]
    assert embed_photos.main([*arguments, "--out", str(old)]) == 1
    assert "not found" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    assert (old / "kept.txt").read_text() == "old"
