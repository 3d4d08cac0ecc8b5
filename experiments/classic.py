"""Train the classic system to its end, by its published recipe.

    python -m experiments.classic --photos DIR [--publish | --keep] [JOB ...]

The published recipe wherever it is stated: low-resolution photos are 2x2 box means of the
128 px photo; Adam 8e-4, epsilon 1e-8, MSE on whole photos. Ours besides: flips and quarter
turns, a cosine rate, and a start from the weights that ship, in stages that are each of use
when the next one is cut off. State is kept in runs/JOB: kill it and run it again. Where that
folder will be lost, ``--keep`` writes the best weights so far to experiments/stages, from which
the first stage starts anew on the next machine.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from experiments import common, jobs
from experiments.jobs import Job
from experiments.train_zoo import HOURGLASS
from experiments.train_zoo import JOBS as SHIPPED
from srlib import data, training

MODEL = "hourglass-mse"
BOX = replace(HOURGLASS, kernel="box")
STAGE = Job("hourglass", BOX, SHIPPED[MODEL].summary)
KEPT = Path(__file__).parent / "stages" / "classic.safetensors"
START = str(KEPT) if KEPT.exists() else MODEL

#: 16 photos in a batch at first: four times the steps for the same work; then the published 64.
JOBS = {
    "classic-1": replace(STAGE, recipe=replace(BOX, epochs=40, seed=11), grows_from=START),
    "classic-2": replace(STAGE, recipe=replace(BOX, epochs=70, seed=12), starts_from="classic-1"),
    "classic-3": replace(STAGE, recipe=replace(BOX, epochs=70, seed=13), starts_from="classic-2"),
    MODEL: replace(
        STAGE,
        recipe=replace(BOX, batch_size=64, steps_per_epoch=42, epochs=60, seed=14),
        starts_from="classic-3",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the named stages, or all."""
    parser = jobs.parser(__doc__, JOBS, "photos")
    last = parser.add_mutually_exclusive_group()
    last.add_argument("--publish", action="store_true", help=f"ship the last one as {MODEL}")
    last.add_argument("--keep", action="store_true", help="train nothing, write its best so far")
    options = parser.parse_args(arguments)
    photos, held_out = common.training_photos(options.photos)
    material = photos, data.pairs(held_out, kernel=BOX.kernel)
    if options.keep:
        name = (options.jobs or list(JOBS))[-1]
        model = training.build_for(JOBS[name].architecture, JOBS[name].recipe, **JOBS[name].options)
        training.Checkpoint(options.runs / name).load_best(model)
        jobs.publish(name, JOBS, model, material, options, KEPT.stem, KEPT.parent)
        return 0
    for name in options.jobs or JOBS:
        model, _ = jobs.run(name, JOBS[name], *material, options.runs)
    if options.publish:
        jobs.publish(name, JOBS, model, material, options, shipped_as=MODEL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
