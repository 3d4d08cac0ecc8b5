"""How fast something runs here, and how fast this machine can convolve at all.

Times mean little alone: the same code takes half or twice as long on another
laptop, or beside another program. So contenders are timed in turns, in one run,
and a network is judged by its share of a bare convolution's speed. Taught in
appendix A.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from srlib._backend import tf

#: How many convolutions the training stack of :func:`convolution_speed` has.
STACK = 4


def fastest(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int = 5,
    least: float = 0.05,
    patience: float = 3.0,
) -> dict[str, float]:
    """Seconds for one call of each contender: the best of several rounds.

    They take turns, so that a slow moment of the machine hits all of them. The
    best is taken, not the mean: whatever else runs can only add time. Each is
    called twice before, since a first call traces, compiles and allocates.

    Args:
        contenders: name -> what to call. Tensors they return are waited for.
        rounds: how many turns each gets.
        least: seconds; a shorter contender is called several times a turn.
        patience: seconds; a contender that has used more gets no further turn.

    Returns:
        Name -> seconds for one call.
    """
    count, best, spent = {}, {}, {}
    for name, call in contenders.items():
        _elapsed(call, 1)
        best[name] = spent[name] = _elapsed(call, 1)
        count[name] = max(1, math.ceil(least / best[name]))
    for _ in range(rounds):
        for name, call in contenders.items():
            if spent[name] < patience:
                seconds = _elapsed(call, count[name])
                spent[name] += seconds
                best[name] = min(best[name], seconds / count[name])
    return best


def _elapsed(call: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        result = call()
        if hasattr(result, "numpy"):
            result.numpy()  # on a GPU the work is only queued until someone looks
    return time.perf_counter() - began


def convolution_speed(
    channels: int,
    shapes: Sequence[tuple[int, int]] = ((1, 64), (1, 128), (1, 256), (16, 48)),
    training: bool = False,
    rounds: int = 5,
) -> dict[tuple[int, int], float]:
    """GFLOP/s of bare 3x3 convolutions: the yardstick of a network's speed.

    A floating point operation is a multiplication or an addition. The largest of
    these numbers is what a network's own is told beside. It is no limit: a graph
    saves writing and reading between layers, and other engines have convolutions
    of their own, so that some networks pass it.

    Args:
        channels: of input and output.
        shapes: ``(images, side)``; caches make one size faster than another.
        training: time a stack of four with the gradients of kernels and input,
            which costs three times the operations, instead of one forward.
        rounds: as in :func:`fastest`.

    Returns:
        ``(images, side)`` -> GFLOP/s in float32.
    """
    depth = STACK if training else 1
    kernels = [tf.random.normal((3, 3, channels, channels), stddev=0.05) for _ in range(depth)]

    def forward(x):
        for kernel in kernels:
            x = tf.nn.conv2d(x, kernel, 1, "SAME")
        return x

    def with_gradients(x):
        with tf.GradientTape() as tape:
            tape.watch([x, *kernels])
            loss = tf.reduce_sum(forward(x))
        # All of them are used: TensorFlow leaves out of a graph what nobody asks for.
        return tf.add_n([loss, *map(tf.reduce_sum, tape.gradient(loss, [x, *kernels]))])

    any_size = [tf.TensorSpec((None, None, None, channels), "float32")]
    run = tf.function(with_gradients if training else forward, any_size, autograph=False)
    inputs = {(n, side): tf.random.normal((n, side, side, channels)) for n, side in shapes}
    calls = {f"{n} {side}": partial(run, x) for (n, side), x in inputs.items()}
    seconds = fastest(calls, rounds)
    operations = 2 * 9 * channels**2 * depth * (3 if training else 1)
    return {(n, s): operations * n * s * s / seconds[f"{n} {s}"] / 1e9 for n, s in shapes}
