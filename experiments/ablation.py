"""Chapter 2's experiment: what holds the hourglass back?

    python -m experiments.ablation --photos DIR

Four networks, one change each, same photos, recipe and budget. Writes
srlib/book/recorded/ablation.json; resumable.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, replace

from experiments import common, jobs
from experiments.jobs import Job
from experiments.train_zoo import HOURGLASS
from srlib import data, evaluation, models, training

RECIPE = replace(HOURGLASS, epochs=3)
#: run -> (label in the figure, job)
RUNS = {
    "ablation-classic": ("classic: 8x8, no skip", Job("hourglass", RECIPE)),
    "ablation-depth2": ("bottleneck 16x16", Job("hourglass", RECIPE, options={"depth": 2})),
    "ablation-depth1": ("bottleneck 32x32", Job("hourglass", RECIPE, options={"depth": 1})),
    "ablation-skip": ("8x8 with bicubic skip", Job("hourglass", RECIPE, options={"skip": True})),
}


def main(arguments: list[str] | None = None) -> int:
    """Train the four networks and record them."""
    options = common.parser(__doc__, ["photos"], ["runs"]).parse_args(arguments)
    photos, held_out = common.training_photos(options.photos)
    validation, tested = data.pairs(held_out), common.test_photos(options.photos)
    trained, rows = {}, {}
    for name, (label, job) in RUNS.items():
        model, history = jobs.run(name, job, photos, validation, options.runs)
        trained[label] = model
        rows[label] = {
            "options": job.options,
            "parameters": model.count_params(),
            "flops": models.flops(model),
            "seconds": round(training.Checkpoint(options.runs / name).state["seconds"]),
            "history": history,
        }
    scores = evaluation.evaluate(trained, tested, common.PROTOCOL)
    print(scores.table())
    common.record(
        "ablation",
        {
            "recipe": asdict(RECIPE),
            "protocol": str(common.PROTOCOL),
            "test_photos": len(scores.names),
            "validation_bicubic": jobs.bicubic_psnr(validation),
            "runs": rows,
            "summary": scores.summary(),
        },
        photos,
        options.photos,
        seed=RECIPE.seed,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
