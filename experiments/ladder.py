"""Train the tiny network of the ladder (chapter 8); the strongest: experiments.twin.

    python -m experiments.ladder --photos DIR --textures DIR [JOB ...]

PHOTOS is a Linnaeus-5-shaped tree; TEXTURES holds t91/, bsds_train/ and bsds_test/.
State is kept in runs/JOB: kill it at any moment and run it again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from experiments import common, jobs
from experiments.jobs import Job
from srlib import data
from srlib.data import photoset
from srlib.data.photoset import PhotoSet
from srlib.training import Recipe

#: Photos of bsds_test that decide which epoch is best: none of them is trained on.
VALIDATION = 32
#: Truths of these are squares of this side.
VALIDATION_SIZE = 256
#: How often a texture photo is drawn for each time that one of the photos is.
TEXTURES_TIMES = 6
LICENCE = (
    "textures: BSDS500 (Berkeley) and T91 (Yang et al. 2010), for non-commercial research and "
    "education; whoever uses these weights commercially should train without them"
)

TINY = Recipe(
    loss="luma",
    batch_size=16,
    crop=24,
    learning_rate=2e-3,
    size=None,
    steps_per_epoch=3000,
    epochs=5,
    seed=5,
)
TINY_OPTIONS = {"blocks": 4, "filters": 16, "luma": True}


@dataclass(frozen=True)
class Mix:
    """What a network of the ladder is trained on.

    Attributes:
        photos: use the photos' training split.
        textures: these folders of the textures.
    """

    photos: bool
    textures: tuple[str, ...]


EVERYTHING = Mix(True, ("t91", "bsds_train", "bsds_test"))
#: VDSR's own images, less the one that is Set5's fifth (chapter 7).
CLASSIC = Mix(False, ("t91", "bsds_train"))


@dataclass(frozen=True)
class Rung(Job):
    """A job with photos of its own.

    Attributes:
        mix: what it is trained on.
    """

    mix: Mix = EVERYTHING


JOBS = {
    "espcn-luma": Rung("residual", TINY, options=TINY_OPTIONS, mix=CLASSIC),
    "espcn": Rung(
        "residual",
        replace(TINY, loss="psnr", learning_rate=5e-4, steps_per_epoch=2000, epochs=1, seed=8),
        "tiny and fast: a luma network of 22 thousand weights, trained on 290 images",
        options=TINY_OPTIONS,
        mix=CLASSIC,
        starts_from="espcn-luma",
    ),
}


def open_mix(photos: str, textures: Path, mix: Mix, smallest: int) -> tuple[PhotoSet, data.Pairs]:
    """The training photos of a mix, and pairs of other photos for validation."""
    rest, held_out = photoset.folder(textures / "bsds_test", "all", "bsds_test").hold_out(
        VALIDATION
    )
    parts = [
        rest if name == "bsds_test" else photoset.folder(textures / name, "all", name, smallest)
        for name in mix.textures
    ]
    if mix.photos:
        # The very photos that `residual-mse` was trained on, and none that it was judged by.
        parts.insert(0, common.training_photos(photos)[0])
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.joined_with(part, TEXTURES_TIMES if mix.photos else 1)
    return joined, data.pairs(held_out, VALIDATION_SIZE)


def main(arguments: list[str] | None = None) -> int:
    """Run the named jobs, or all."""
    options = jobs.parser(__doc__, JOBS, "photos", "textures").parse_args(arguments)

    def opened(job: Rung) -> jobs.Material:
        return open_mix(options.photos, options.textures, job.mix, 2 * job.recipe.crop)

    jobs.run_and_publish(JOBS, options, opened, licence=LICENCE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
