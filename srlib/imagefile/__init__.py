"""Image files as people have them: read whole, written whole, or refused in one line.

What is kept: colour profile, EXIF, XMP, captions, comments, resolution,
transparency, 16 bits, CMYK, and every frame of an animation. What changes:
the picture stands upright, as its EXIF orientation says, its size in the
metadata is the new one, and its small preview is gone. JPEG and WebP hold 8
bits, so deeper pictures are rounded to that, and PNG and WebP have no CMYK, so
it becomes sRGB. Taught in chapter 10.
"""

from srlib.imagefile.picture import Animation, Picture
from srlib.imagefile.reading import from_pil, pixel_count, read
from srlib.imagefile.targets import ENDINGS, FORMATS, target_format
from srlib.imagefile.writing import to_pil, write

__all__ = [
    "ENDINGS",
    "FORMATS",
    "Animation",
    "Picture",
    "from_pil",
    "pixel_count",
    "read",
    "target_format",
    "to_pil",
    "write",
]
