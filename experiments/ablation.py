"""Chapter 2's experiment: what holds the hourglass back?

    python -m experiments.ablation --photos DIR

Four networks, one change each, same photos, recipe and budget. Writes
srlib/book/recorded/ablation.json; resumable.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path

from experiments.train_zoo import (
    HOURGLASS,
    PROTOCOL,
    ROOT,
    Job,
    bicubic_psnr,
    open_photos,
    run_job,
)
from srlib import data, evaluation, models, training
from srlib.book import results

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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", required=True, help="source or folder of photos")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="where state is kept")
    options = parser.parse_args(arguments)
    photos, validation = open_photos(options.photos)
    tested = data.photos(options.photos, "test", smallest=128)
    trained, rows = {}, {}
    for name, (label, job) in RUNS.items():
        model, history = run_job(name, job, photos, validation, options.runs)
        trained[label] = model
        rows[label] = {
            "options": job.options,
            "parameters": model.count_params(),
            "flops": models.flops(model),
            "seconds": round(training.Checkpoint(options.runs / name).state["seconds"]),
            "history": history,
        }
    scores = evaluation.evaluate(trained, tested, PROTOCOL)
    print(scores.table())
    results.write(
        "ablation",
        {
            "recipe": asdict(RECIPE),
            "protocol": str(PROTOCOL),
            "test_photos": len(scores.names),
            "validation_bicubic": bicubic_psnr(validation),
            "runs": rows,
            "summary": scores.summary(),
        },
        command="python -m experiments.ablation",
        seed=RECIPE.seed,
        data=Path(options.photos).name,
        fingerprint=photos.fingerprint(),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
