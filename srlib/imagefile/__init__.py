"""Image files as people have them. Taught in chapter 10."""

from srlib.imagefile.enlarge import (
    FORMATS,
    Enlarge,
    enlarge_file,
    enlarge_image,
    pixel_count,
    target_format,
)

__all__ = ["FORMATS", "Enlarge", "enlarge_file", "enlarge_image", "pixel_count", "target_format"]
