"""How far each step of a layer sees, as :mod:`srlib.models.anatomy` asks every layer of srlib.

Such a layer has ``reach()``, its steps in order, and, where it convolves,
``flops(height, width)``, its operations for an input of that size.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple


class Step(NamedTuple):
    """An enlargement, and how many pixels a result sees before and after its own place."""

    enlargement: Fraction
    before: Fraction
    after: Fraction


def convolution(kernel: int, stride: int = 1) -> Step:
    """A convolution with as much padding as TensorFlow's "same" gives it."""
    left = max(kernel - stride, 0) // 2
    return Step(Fraction(1, stride), Fraction(left), Fraction(kernel - 1 - left))


def transposed_convolution(kernel: int, stride: int) -> Step:
    """What undoes the strides of :func:`convolution`."""
    left = max(kernel - stride, 0) // 2
    before = Fraction(max(kernel - 1 - left, 0), stride)
    return Step(Fraction(stride), before, Fraction(left, stride))


def repetition(scale: int) -> Step:
    """Each pixel becomes ``scale`` pixels a side, the last of which lies beyond it."""
    return Step(Fraction(scale), Fraction(scale - 1, scale), Fraction(0))
