"""What stands between the 64-channel network and bare convolutions: it is taken apart."""

from __future__ import annotations

from collections.abc import Callable

import srlib
from experiments.speed_networks import Row, Settings, step
from srlib import data, models, training
from srlib._backend import keras, tf
from srlib.upscaling import network

layers = keras.layers


def convolutions(skips: bool, blocks: int = 6, filters: int = 64) -> keras.Model:
    """The convolutions of ``srlib.models.edsr.residual``, with or without its additions."""
    low = keras.Input((None, None, 3))

    def conv(x, activation=None, width=filters):
        return layers.Conv2D(width, 3, padding="same", activation=activation)(x)

    x = first = conv(low)
    for _ in range(blocks):
        inner = conv(conv(x, "relu"))
        x = layers.Add()([x, inner]) if skips else inner
    x = conv(x)
    x = layers.Add()([first, x]) if skips else x
    return keras.Model(low, conv(x, width=3 * models.SCALE**2))


#: From the bare network to the whole one.
PARTS: dict[str, Callable[[], keras.Model]] = {
    "its convolutions alone": lambda: convolutions(skips=False),
    "+ skip connections": lambda: convolutions(skips=True),
    "+ sub-pixel, bicubic, clip": models.residual,
}


def _rows(seconds: dict[str, float], operations: float) -> list[Row]:
    return [
        {"part": part, "seconds": value, "gflops": operations / value / 1e9}
        for part, value in seconds.items()
    ]


def at_work(settings: Settings) -> list[Row]:
    """Inference, from the convolutions alone to the whole ``srlib.predict``."""
    side = settings.side
    image = tf.random.uniform((1, side, side, 3), seed=8)
    calls: dict[str, Callable[[], object]] = {}
    for part, make in PARTS.items():
        call = network.compiled(make())
        calls[part] = lambda call=call: call(image)
    whole, pixels = models.residual(), srlib.pixels.to_uint8(image.numpy())
    calls["+ checks and conversion: srlib.predict"] = lambda: network.predict(whole, pixels)
    return _rows(settings.fastest(calls), models.flops(whole, side, side))


def gradients(model: keras.Model, batch_size: int, crop: int) -> Callable[[], tf.Tensor]:
    """Forward and backward on a batch in memory, without an optimiser."""
    low = tf.random.uniform((batch_size, crop, crop, 3), seed=9)
    target = tf.random.uniform(model(low[:1]).shape[1:], seed=10)

    def run():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(low, training=True) - target) ** 2)
        found = tape.gradient(loss, model.trainable_variables)
        return tf.add_n([tf.reduce_sum(gradient) for gradient in found])

    return tf.function(run, autograph=False)


def _fit(batches: tf.data.Dataset, settings: Settings, steps: int) -> Callable[[], object]:
    model = models.residual()
    recipe = training.Recipe(loss="mse", batch_size=settings.batch_size, crop=settings.crop)
    training.compile_model(model, recipe)
    return lambda: model.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False)


def in_training(settings: Settings, steps: int = 2) -> list[Row]:
    """Training, from the convolutions' gradients to ``fit`` on photos."""
    batch, crop = settings.batch_size, settings.crop
    whole = models.residual()
    calls: dict[str, Callable[[], object]] = {
        part: gradients(make(), batch, crop) for part, make in PARTS.items()
    }
    calls["+ Adam, loss and metric: train_on_batch"] = step(whole, batch, crop, "tf.function")
    low = tf.random.uniform((batch, crop, crop, 3), seed=4)
    high = tf.random.uniform((batch, 2 * crop, 2 * crop, 3), seed=5)
    memory = tf.data.Dataset.from_tensors((low, high)).repeat()
    photos = srlib.photos("embedded")
    calls["fit, the same batch"] = _fit(memory, settings, steps)
    calls["fit, photos through srlib.data"] = _fit(
        data.dataset(photos, batch, crop=crop), settings, steps
    )
    seconds = settings.fastest(calls)
    seconds = {part: s / steps if part.startswith("fit") else s for part, s in seconds.items()}
    return _rows(seconds, 3 * batch * models.flops(whole, crop, crop))


def profile(settings: Settings) -> Row:
    """Both, each in turns of its own."""
    return {"inference": at_work(settings), "training": in_training(settings)}
