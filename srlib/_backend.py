"""TensorFlow and Keras, imported once and without their start-up chatter.

TensorFlow's C++ side prints several lines to the process's stderr while it is
imported, before any log level applies. In a notebook they would stand above
the first figure of every chapter.
"""

from __future__ import annotations

import contextlib
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextlib.contextmanager
def _stderr_to_nowhere():
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


# Only the C++ lines are lost: a failing import still raises its Python error.
with _stderr_to_nowhere():
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()  # looks for a GPU, which is what it talks about


__all__ = ["keras", "tf"]
