"""A network for programs without TensorFlow. Taught in chapter 11."""

from srlib.export.formats import ExportError
from srlib.export.read import difference, metadata, runner
from srlib.export.write import TOLERANCE, Exported, export

__all__ = ["TOLERANCE", "ExportError", "Exported", "difference", "export", "metadata", "runner"]
