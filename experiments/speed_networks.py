"""The shipped networks at work and in training, timed for appendix A; see experiments.speed."""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import srlib
from srlib import export, models, training
from srlib._backend import keras, tf
from srlib.book import timing
from srlib.layers.normalization import FusedBatchNormalization
from srlib.models import anatomy, cards, zoo
from srlib.upscaling.network import compiled

ENGINES = ("eager", "tf.function", "XLA")
#: The engine without srlib's fused batch normalisation.
KERAS_NORMALIZATION = "tf.function, Keras' normalisation"
Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        side: of the input at work, in pixels.
        emulated_side: the same for a precision that the machine emulates.
        batch_size: of training.
        emulated_batch_size: the same for an emulated precision.
        crop: side of training inputs; see `training_crop`.
        channels: widths whose bare convolutions are measured in any case.
        sides: inputs for the cost of area.
        blocks: for the cost of depth, at 64 channels.
        filters: for the cost of width, at 6 blocks.
        sweep_side: input for the cost of depth and width.
        rounds: turns of each contender.
        patience: seconds after which it gets no further turn.
    """

    side: int = 256
    emulated_side: int = 64
    batch_size: int = 16
    emulated_batch_size: int = 1
    crop: int = 48
    channels: tuple[int, ...] = (16, 32, 48, 64, 80, 96)
    sides: tuple[int, ...] = (64, 96, 128, 192, 256, 384, 512)
    blocks: tuple[int, ...] = (2, 4, 6, 8, 10)
    filters: tuple[int, ...] = (16, 32, 48, 64, 80, 96)
    sweep_side: int = 128
    rounds: int = 3
    patience: float = 1.0

    def fastest(
        self, contenders: dict[str, Callable[[], object]], once: bool = False
    ) -> dict[str, float]:
        """Seconds a call, measured in turns; by a single call each if ``once``."""
        return timing.fastest(contenders, 0 if once else self.rounds, patience=self.patience)


QUICK = Settings(
    32, 16, 2, 1, 16, (16, 64), (16, 32, 48), (2, 6), (16, 64), 32, rounds=1, patience=0.1
)


@dataclass(frozen=True)
class Network:
    """An architecture with its options: what speed depends on.

    Attributes:
        name: the first shipped model that has it.
        architecture: a key of ``srlib.models.registry.ARCHITECTURES``.
        options: without ``dtype``.
    """

    name: str
    architecture: str
    options: dict[str, Any]

    def precisions(self) -> tuple[str, ...]:
        """float32, and bfloat16 where the architecture has a choice."""
        choice = inspect.signature(models.ARCHITECTURES[self.architecture]).parameters
        return ("float32", "mixed_bfloat16") if "dtype" in choice else ("float32",)

    def build(self, precision: str = "float32") -> keras.Model:
        """A fresh network, with random weights."""
        chosen = {"dtype": precision} if len(self.precisions()) > 1 else {}
        return models.build(self.architecture, **self.options, **chosen)


def networks() -> list[Network]:
    """The shipped networks, perceptual twins left out: only their weights differ."""
    found: dict[str, Network] = {}
    for name in sorted(srlib.available(), key=lambda name: (not name.endswith("-mse"), name)):
        card = cards.card(name)
        key = json.dumps([card["architecture"], card["options"]], sort_keys=True)
        found.setdefault(key, Network(name, card["architecture"], card["options"]))
    return list(found.values())


def emulated(precision: str) -> bool:
    """Whether this machine has no instructions for a precision."""
    return precision != "float32" and training.fast_precision() != precision


def onnx_engine(
    model: keras.Model, folder: Path
) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """The network as onnxruntime runs it, and how far its picture is from Keras'.

    Raises:
        srlib.export.write.ExportError: when that is more than rounding.
    """
    exported = export.export(model, folder / "network.onnx")
    return export.runner(exported), exported.difference


def inference(network: Network, roof: dict[int, Row], settings: Settings) -> list[Row]:
    """One network at work: every precision and engine."""
    rows = []
    for precision in network.precisions():
        model = zoo.load(network.name, precision)
        side = settings.emulated_side if emulated(precision) else settings.side
        image = tf.random.uniform((1, side, side, 3), seed=2)
        array = image.numpy()
        engines: dict[str, Callable[[], object]] = {
            "eager": lambda model=model, image=image: model(image, training=False)
        }
        for engine in ENGINES[1:]:
            call = compiled(model, engine == "XLA")
            engines[engine] = lambda call=call, image=image: call(image)
        if precision == "float32":
            with tempfile.TemporaryDirectory() as folder:
                exported, difference = onnx_engine(model, Path(folder))
            engines["onnxruntime"] = lambda array=array, exported=exported: exported(array)
        gflop = models.flops(model, side, side) / 1e9
        width = anatomy.main_width(model)
        for engine, seconds in settings.fastest(engines, emulated(precision)).items():
            row = _about(network, model, precision, engine, width)
            row |= {"side": side, "seconds": seconds} | rates(seconds, side)
            row |= {"gflops": gflop / seconds, "share": gflop / seconds / roof[width]["inference"]}
            if engine == "onnxruntime":
                row["difference"] = difference
            rows.append(row)
    return rows


def _about(network: Network, model: keras.Model, precision: str, engine: str, width: int) -> Row:
    return {
        "model": network.name,
        "architecture": network.architecture,
        "options": network.options,
        "parameters": model.count_params(),
        "channels": width,
        "precision": precision,
        "emulated": emulated(precision),
        "engine": engine,
    }


def rates(seconds: float, side: int) -> Row:
    """Speed in megapixels of the enlarged picture."""
    megapixels = (models.SCALE * side) ** 2 / 1e6
    return {
        "megapixels_per_second": megapixels / seconds,
        "seconds_per_megapixel": seconds / megapixels,
    }


def training_crop(model: keras.Model, settings: Settings) -> int:
    """The input's side: a third larger for the hourglass, which was made for 64 pixels."""
    multiple = models.size_multiple(model)
    return settings.crop if multiple == 1 else settings.crop * 4 // 3 // multiple * multiple


def step(model: keras.Model, batch_size: int, crop: int, engine: str) -> Callable[[], object]:
    """One step of training on a batch in memory: gradients, Adam and the metric."""
    training.compile_model(model, training.Recipe(loss="mse", batch_size=batch_size, crop=crop))
    model.jit_compile = engine == "XLA"
    model.run_eagerly = engine == "eager"
    low = tf.random.uniform((batch_size, crop, crop, 3), seed=4)
    high = tf.random.uniform((batch_size, 2 * crop, 2 * crop, 3), seed=5)
    return lambda: model.train_on_batch(low, high)


def train(network: Network, roof: dict[int, Row], settings: Settings) -> list[Row]:
    """One network in training, on batches in memory: every precision and engine."""
    rows = []
    for precision in network.precisions():
        batch = settings.emulated_batch_size if emulated(precision) else settings.batch_size
        steps = {}
        for engine in ENGINES:
            model = network.build(precision)
            crop = training_crop(model, settings)
            steps[engine] = step(model, batch, crop, engine)
        fused = any(isinstance(layer, FusedBatchNormalization) for layer in model.layers)
        if fused and not emulated(precision):
            twin = keras.models.clone_model(model, clone_function=_with_keras_normalization)
            steps[KERAS_NORMALIZATION] = step(twin, batch, crop, "tf.function")
        gflop = 3 * batch * models.flops(model, crop, crop) / 1e9
        width = anatomy.main_width(model)
        for engine, seconds in settings.fastest(steps, emulated(precision)).items():
            row = _about(network, model, precision, engine, width)
            row |= {"crop": crop, "batch_size": batch, "seconds": seconds}
            row |= {"images_per_second": batch / seconds, "gflops": gflop / seconds}
            row["share"] = gflop / seconds / roof[width]["inference"]
            row["share_of_stack"] = gflop / seconds / roof[width]["training"]
            rows.append(row)
    return rows


def _with_keras_normalization(layer: keras.layers.Layer) -> keras.layers.Layer:
    fused = isinstance(layer, FusedBatchNormalization)
    kind = keras.layers.BatchNormalization if fused else type(layer)
    return kind.from_config(layer.get_config())
