"""Train the shipped networks and write them, with their cards, to srlib/models/weights.

    python -m experiments.train_zoo --photos DIR [JOB ...]

DIR is a Linnaeus-5-shaped tree, or any source `srlib.data.photos` opens. State
is kept in runs/JOB: kill it at any moment and run it again.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from experiments import common, jobs
from experiments.jobs import Job
from srlib import data
from srlib.training import Recipe

# The classic recipe (Adam 8e-4, epsilon 1e-8, MSE on whole photos), but with 16
# photos in a batch instead of 64: four times as many steps for the same work.
# One epoch shows each of 2,718 training photos once.
HOURGLASS = Recipe(
    loss="mse",
    batch_size=16,
    crop=None,
    learning_rate=8e-4,
    epsilon=1e-8,
    steps_per_epoch=170,
    epochs=28,
)
RESIDUAL = Recipe(
    loss="l1", batch_size=16, crop=48, learning_rate=1e-3, steps_per_epoch=500, epochs=30
)
FINE_TUNED = replace(
    RESIDUAL,
    loss="mse",
    perceptual_weight=0.02,
    learning_rate=2e-4,
    batch_size=8,
    epochs=4,
    seed=2,
)

#: A fixed 2x2 mean after the sub-pixel step: no checkerboard (chapter 5).
BOXED = {"box": True}

JOBS = {
    # L1 first, which trains more steadily; then MSE, whose minimum PSNR rewards.
    "residual-l1": Job("residual", RESIDUAL, options=BOXED),
    "residual-mse": Job(
        "residual",
        replace(RESIDUAL, loss="mse", learning_rate=2e-4, epochs=6, seed=1),
        "residual network with a bicubic skip, pixel loss: the one to use",
        BOXED,
        starts_from="residual-l1",
    ),
    "hourglass-mse": Job(
        "hourglass", HOURGLASS, "the classic hourglass network, pixel loss: for the lesson"
    ),
    # The classic sum, 1 : 1, as it was meant: Adam 1e-3, gradients clipped at 0.5,
    # 8 photos in a batch.
    "hourglass-perceptual": Job(
        "hourglass",
        replace(
            HOURGLASS,
            perceptual_weight=1.0,
            learning_rate=1e-3,
            clip_value=0.5,
            batch_size=8,
            steps_per_epoch=340,
            epochs=4,
            seed=2,
        ),
        "the classic hourglass network, pixel + perceptual loss: for the lesson",
        starts_from="hourglass-mse",
    ),
    # Five times the weight at which features and pixels pull equally.
    "residual-perceptual": Job(
        "residual",
        FINE_TUNED,
        "residual network, pixel + perceptual loss: crisper, less exact",
        BOXED,
        starts_from="residual-mse",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the named jobs, or all."""
    options = jobs.parser(__doc__, JOBS, "photos").parse_args(arguments)
    photos, held_out = common.training_photos(options.photos)
    validation = data.pairs(held_out)
    jobs.run_and_publish(JOBS, options, lambda job: (photos, validation))
    return 0


if __name__ == "__main__":
    sys.exit(main())
