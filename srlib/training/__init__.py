"""Training that can be stopped at any moment and goes on where it stopped. Taught in chapter 3."""

from srlib.training.checkpoint import Checkpoint, CheckpointError, History
from srlib.training.hardware import fast_precision
from srlib.training.loop import train
from srlib.training.recipe import Recipe, build_for, compile_model

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "History",
    "Recipe",
    "build_for",
    "compile_model",
    "fast_precision",
    "train",
]
