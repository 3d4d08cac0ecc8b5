"""Three lines to a larger photo: a file, a PIL image or an array, of any size.

Taught in chapter 10.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
from PIL import Image

from srlib import imagefile
from srlib._backend import keras, tf
from srlib.errors import PhotoError, SrlibError
from srlib.imagefile.opening import describe
from srlib.models import cards, zoo
from srlib.upscaling import channels, tiles

Model: TypeAlias = "keras.Model | str | os.PathLike"

Tile: TypeAlias = "int | str | None"
Told: TypeAlias = Callable[[int], None]


@overload
def upscale(
    image: np.ndarray,
    model: Model = ...,
    scale: int = ...,
    *,
    tile: Tile = ...,
    on_tile: Told | None = ...,
) -> np.ndarray: ...
@overload
def upscale(
    image: Image.Image,
    model: Model = ...,
    scale: int = ...,
    *,
    tile: Tile = ...,
    on_tile: Told | None = ...,
) -> Image.Image: ...
@overload
def upscale(
    image: str | os.PathLike,
    model: Model = ...,
    scale: int = ...,
    *,
    tile: Tile = ...,
    output: str | os.PathLike | None = ...,
    overwrite: bool = ...,
    strip: bool = ...,
    on_tile: Told | None = ...,
) -> Path: ...
def upscale(
    image: Any,
    model: Model = cards.DEFAULT,
    scale: int = 2,
    *,
    tile: Tile = "auto",
    output: str | os.PathLike | None = None,
    overwrite: bool = False,
    strip: bool = False,
    on_tile: Told | None = None,
) -> Any:
    """Enlarge one image of any size; what comes back is the kind that was given.

    An array is RGB. A PIL image or a file may be greyscale, transparent, 16
    bits deep, CMYK or turned by its EXIF tag: see :mod:`srlib.imagefile` for
    what becomes of each, and of its colour profile. Of an animated file each
    frame is enlarged, of an animated PIL image the frame that it stands at.

    Args:
        image: ``(H, W, 3)`` uint8, uint16 or float in [0, 1]; or a
            ``PIL.Image``; or the path of an image file.
        model: a name for :func:`srlib.models.zoo.load`, or a model from ``srlib.load``,
            ``srlib.models`` or ``srlib.self_ensemble``.
        scale: 2, or 4 for the network applied twice.
        tile: see :func:`srlib.upscaling.tiles.enlarge`.
        output: for a path alone: the file to write, by default beside the
            source, ``photo.jpg`` as ``photo-x2.jpg``; its ending decides the
            format.
        overwrite: for a path alone: replace ``output`` where it exists.
        strip: for a path alone: leave out EXIF, XMP and comments.
        on_tile: see :func:`srlib.upscaling.tiles.enlarge`.

    Returns:
        An array ``(scale*H, scale*W, 3)``, uint8 and uint16 as they came and
        float as float32; or a ``PIL.Image`` of the same mode
        (of a palette, RGB or RGBA); or the
        ``pathlib.Path`` of the file written.

    Raises:
        PhotoError: when a file cannot be read or written.
        ValueError: for an array that is no RGB image, or another scale.
        TilingError: see :func:`srlib.upscaling.tiles.enlarge`.
    """
    network = named(model)
    name = image if isinstance(image, (str, os.PathLike)) else "image"

    def enlarge(pixels: np.ndarray) -> np.ndarray:
        try:
            return tiles.enlarge(network, pixels, scale, tile, on_tile)
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            raise PhotoError(f"{name}: not enough memory; try a smaller tile") from error

    if isinstance(image, (str, os.PathLike)):
        source = Path(image)
        target = Path(output) if output is not None else default_target(source, scale)
        _refuse_existing(target, source, overwrite)
        enlarge_file(source, target, enlarge, scale, strip)
        return target
    if output is not None:
        raise TypeError("output is for files alone; this image comes back as a value")
    if isinstance(image, Image.Image):
        picture = channels.enlarge(imagefile.from_pil(image), enlarge, scale)
        return imagefile.to_pil(picture, image.info)
    image = np.asarray(image)
    if image.dtype.kind not in "uif":
        raise TypeError(
            "image must be the path of a file, a PIL image or an RGB array of numbers; "
            "for several files call this once for each"
        )
    return enlarge(image)


def _refuse_existing(target: Path, source: Path, overwrite: bool) -> None:
    there = os.path.lexists(target)
    itself = target.exists() and source.exists() and target.samefile(source)  # said elsewhere
    if there and not overwrite and not itself:
        raise PhotoError(f"{target}: exists already; name another output, or pass overwrite=True")


def enlarge_file(
    source: str | os.PathLike,
    target: str | os.PathLike,
    network: channels.Network,
    scale: int = 2,
    strip: bool = False,
) -> None:
    """Read a file, enlarge it, and write it, whole or not at all.

    Args:
        source: see :func:`srlib.imagefile.read`.
        target: see :func:`srlib.imagefile.write`.
        network: see :func:`srlib.upscaling.channels.enlarge_pixels`.
        scale: what the network multiplies the sides by.
        strip: see :func:`srlib.imagefile.write`.

    Raises:
        PhotoError: when it cannot be read or written.
    """
    try:
        picture = imagefile.read(source, target, scale)
        picture = channels.enlarge(picture, network, scale)  # and forget the small one
        imagefile.write(picture, target, strip)
    except MemoryError as error:
        raise PhotoError(
            f"{describe(source)}: does not fit in memory; cut it into parts first"
        ) from error


def named(model: Model) -> keras.Model:
    """A model itself, or the one of that name; shipped ones are loaded once."""
    if not isinstance(model, (str, os.PathLike)):
        if not callable(model):
            raise TypeError(f"model must be a name or a Keras model, not {model!r}; see scale=")
        return model
    if Path(model).suffix.lower() in imagefile.ENDINGS:
        raise SrlibError(f"{model}: is no model; name the file to write with output=")
    if str(model) in (*cards.available(), *cards.BASELINES):
        return _shipped(str(model))
    return zoo.load(model)  # a reader's file may change, so it is read again


@functools.lru_cache(maxsize=4)
def _shipped(name: str) -> keras.Model:
    return zoo.load(name)


def default_target(source: Path, scale: int) -> Path:
    """Where an enlarged file goes when nobody says where: beside its source."""
    if source.is_dir():
        raise PhotoError(f"{source}: is a folder; name an image file")
    return source.with_name(f"{source.stem}-x{scale}{target_ending(source)}")


def target_ending(source: Path, name: str | None = None) -> str:
    """The ending of the enlarged file: the source's own where it names the format."""
    endings = imagefile.FORMATS[imagefile.target_format(source, name)]
    return source.suffix if source.suffix.lower() in endings else endings[0]
