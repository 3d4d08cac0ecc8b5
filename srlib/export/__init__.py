"""A network for programs without TensorFlow. Taught in chapter 11."""

from srlib.export.write import (
    TOLERANCE,
    Exported,
    ExportError,
    difference,
    export,
    metadata,
    runner,
)

__all__ = ["TOLERANCE", "ExportError", "Exported", "difference", "export", "metadata", "runner"]
