"""Training speed in float32 and in the machine's fast precision, in one run.

    python -m experiments.throughput

Run it on an otherwise idle machine. Writes srlib/recorded/throughput.json.
"""

from __future__ import annotations

import sys
import time

from srlib import models, results, training
from srlib.backend import keras, tf
from srlib.normalization import FusedBatchNormalization

STEPS = 8
ROUNDS = 3


def images_per_second(model: keras.Model, recipe: training.Recipe) -> float:
    """Best of a few rounds of training steps on random images already in memory."""
    training.compile_model(model, recipe)
    side = recipe.crop or recipe.size // 2
    low = tf.random.uniform((recipe.batch_size, side, side, 3))
    high = tf.random.uniform((recipe.batch_size, 2 * side, 2 * side, 3))
    model.train_on_batch(low, high)  # traces and allocates
    best = 0.0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(STEPS):
            model.train_on_batch(low, high)
        best = max(best, STEPS * recipe.batch_size / (time.perf_counter() - began))
    return best


def _with_keras_normalization(layer: keras.layers.Layer) -> keras.layers.Layer:
    fused = isinstance(layer, FusedBatchNormalization)
    kind = keras.layers.BatchNormalization if fused else type(layer)
    return kind.from_config(layer.get_config())


def main() -> int:
    """Measure and record."""
    rows = []
    fast = training.fast_precision()
    for name, crop in (("residual", 48), ("hourglass", None)):
        recipe = training.Recipe(loss="mse", batch_size=16, crop=crop)
        for precision in dict.fromkeys(("float32", fast)):
            model = models.build(name, dtype=precision)
            row = {"model": name, "input": crop or 64, "precision": precision}
            row["images_per_second"] = round(images_per_second(model, recipe), 1)
            rows.append(row)
            print(row, flush=True)
    # How much of the hourglass's time Keras' own batch normalisation would take.
    model = keras.models.clone_model(
        models.build("hourglass", dtype=fast), clone_function=_with_keras_normalization
    )
    recipe = training.Recipe(loss="mse", batch_size=16, crop=None)
    row = {"model": "hourglass, Keras' BatchNormalization", "input": 64, "precision": fast}
    row["images_per_second"] = round(images_per_second(model, recipe), 1)
    rows.append(row)
    print(row)
    results.write("throughput", {"rows": rows}, command="python -m experiments.throughput")
    return 0


if __name__ == "__main__":
    sys.exit(main())
