"""Appendix A's experiment: how fast is it, and what stands between?

    python -m experiments.speed [--quick]

Run it on an otherwise idle machine. Everything is measured in one run, the
contenders in turns: each shipped network in training and at work, in float32
and bfloat16, eager, as a graph and with XLA, beside bare convolutions,
onnxruntime and OpenCV. Megapixels are those of the enlarged picture.
Writes srlib/book/recorded/speed.json; ``--quick`` only shows that all of it works.
"""

from __future__ import annotations

import importlib.util
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict

import numpy as np

import srlib
from experiments import common, speed_profile
from experiments.speed_networks import QUICK, Row, Settings, inference, networks, rates, train
from srlib import data, models, training
from srlib._backend import tf
from srlib.book import timing
from srlib.models import anatomy, zoo
from srlib.pixels import to_float, to_uint8
from srlib.upscaling import network

#: Not needed by srlib itself: module -> what to install.
NEEDED = {
    "cv2": "opencv-python-headless",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "tf2onnx": "tf2onnx",
}
#: Name -> flag of ``cv2.resize``.
OPENCV = {"bicubic": "INTER_CUBIC", "Lanczos": "INTER_LANCZOS4"}


def peaks(widths: set[int], settings: Settings) -> dict[int, Row]:
    """Bare convolutions of every width, forward and with gradients."""
    found = {}
    sides = (64, 128, 256) if settings.side >= 256 else (settings.side,)
    batch = (settings.batch_size, settings.crop)
    for width in sorted(widths):
        shapes = (*((1, side) for side in sides), batch)
        forward = timing.convolution_speed(width, shapes, rounds=settings.rounds)
        both = timing.convolution_speed(width, (batch,), training=True, rounds=settings.rounds)
        found[width] = {
            "channels": width,
            "inference": max(forward.values()),
            "inference_shapes": {f"{n}x{s}x{s}": value for (n, s), value in forward.items()},
            "training": both[batch],
        }
    return found


def product(settings: Settings, side: int = 2048) -> float:
    """GFLOP/s of one large matrix product: what the processor can do at its best."""
    side = side if settings.side >= 256 else 256
    a, b = tf.random.normal((side, side)), tf.random.normal((side, side))
    seconds = settings.fastest({"product": lambda: tf.matmul(a, b)})
    return 2 * side**3 / seconds["product"] / 1e9


def interpolation(settings: Settings) -> list[Row]:
    """OpenCV's enlargements, and this package's bicubic, on the networks' input."""
    import cv2

    image = np.random.default_rng(3).random((settings.side, settings.side, 3), np.float32)
    size = (2 * settings.side, 2 * settings.side)
    calls: dict[str, Callable[[], object]] = {}
    for name, method in OPENCV.items():
        for array in (to_uint8(image), image):
            calls[f"OpenCV {name}, {array.dtype}"] = lambda array=array, method=method: cv2.resize(
                array, size, interpolation=getattr(cv2, method)
            )
    bicubic, tensor = network.compiled(models.bicubic()), tf.constant(image[None])
    calls["srlib bicubic, float32"] = lambda: bicubic(tensor)
    seconds = settings.fastest(calls)
    return [
        {"method": name, "seconds": value} | rates(value, settings.side)
        for name, value in seconds.items()
    ]


def quality(limit: int | None = None) -> Row:
    """RGB PSNR on the embedded test squares, the same pixels for every method."""
    import cv2

    pairs = data.pairs(srlib.photos("embedded", "test").take(limit))
    size = pairs.high.shape[2], pairs.high.shape[1]
    found = {}
    for name, method in OPENCV.items():
        large = [cv2.resize(i, size, interpolation=getattr(cv2, method)) for i in pairs.low]
        found[f"OpenCV {name}"] = float(srlib.psnr(pairs.high, np.stack(large)).mean())
    for name in srlib.available():
        large = srlib.predict(zoo.load(name), to_float(pairs.low))
        found[name] = float(srlib.psnr(pairs.high, large).mean())
    return {"photos": len(pairs.low), "psnr": found}


def _memory() -> float:
    """The most this process has ever held, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def area(settings: Settings) -> list[Row]:
    """Seconds and memory of the 64-channel network against the input's size.

    Must come first and grow: memory is read from the process's high-water mark.
    """
    call = network.compiled(models.residual())
    call(tf.zeros((1, 16, 16, 3)))
    before, rows = _memory(), []
    for side in sorted(settings.sides):
        image = tf.random.uniform((1, side, side, 3), seed=6)
        seconds = settings.fastest({"network": lambda image=image: call(image)})["network"]
        gflops = models.flops(models.residual(), side, side) / 1e9 / seconds
        row = {"side": side, "seconds": seconds, "gflops": gflops, "megabytes": _memory() - before}
        rows.append(row | rates(seconds, side))
    return rows


def size(roof: dict[int, Row], settings: Settings) -> list[Row]:
    """Seconds of the residual network against its depth and its width."""
    shapes = [(blocks, 64) for blocks in settings.blocks]
    shapes += [(6, filters) for filters in settings.filters if filters != 64]
    side = settings.sweep_side
    image = tf.random.uniform((1, side, side, 3), seed=7)
    found = {shape: models.residual(*shape) for shape in shapes}
    calls = {shape: network.compiled(model) for shape, model in found.items()}
    seconds = settings.fastest(
        {str(shape): lambda call=call: call(image) for shape, call in calls.items()}
    )
    rows = []
    for (blocks, filters), model in found.items():
        taken = seconds[str((blocks, filters))]
        gflops = models.flops(model, side, side) / 1e9 / taken
        row = {"blocks": blocks, "filters": filters, "parameters": model.count_params()}
        row |= {"seconds": taken, "gflops": gflops, "share": gflops / roof[filters]["inference"]}
        rows.append(row | rates(taken, side))
    return rows


def _rounded(value):
    """Four digits are more than a timing has."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def measure(settings: Settings) -> Row:
    """Everything, in the order in which it must be measured."""
    content: Row = {"settings": asdict(settings), "fast_precision": training.fast_precision()}
    content["area"] = area(settings)
    print("area measured", flush=True)
    shipped = networks()
    widths = {anatomy.main_width(network.build()) for network in shipped}
    roof = peaks(widths | {64, *settings.channels, *settings.filters}, settings)
    content["peaks"], content["matrix_product"] = list(roof.values()), product(settings)
    print("bare convolutions measured", flush=True)
    content["size"] = size(roof, settings)
    content["interpolation"] = interpolation(settings)
    content["quality"] = quality(None if settings.side >= 256 else 4)
    content["inference"], content["training"] = [], []
    for entrant in shipped:
        content["inference"] += inference(entrant, roof, settings)
        content["training"] += train(entrant, roof, settings)
        print(f"{entrant.name} measured", flush=True)
    content["profile"] = speed_profile.profile(settings)
    return content


def main(arguments: list[str] | None = None) -> int:
    """Measure and record."""
    options = common.parser(__doc__, optional=["quick"]).parse_args(arguments)
    missing = [pip for name, pip in NEEDED.items() if importlib.util.find_spec(name) is None]
    if missing:
        print(f"first install: python -m pip install {' '.join(missing)}", file=sys.stderr)
        return 1
    tf.get_logger().setLevel("ERROR")  # many graphs are made here, and that is meant
    began = time.monotonic()
    content = {"quick": options.quick} | measure(QUICK if options.quick else Settings())
    common.record("speed", _rounded(content), quick=options.quick, began=began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
