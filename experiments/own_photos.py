"""Chapter 10's experiment: how much memory and time do large photos take?

    python -m experiments.own_photos [--quick]

Run it on an otherwise idle machine. Every photo is enlarged by a process of
its own, whose peak of resident memory is what the system says it was. The
photos are mosaics of the embedded squares, as JPEG files, and become JPEG
files. Writes srlib/book/recorded/own_photos.json; ``--quick`` only shows that it works.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import srlib
from srlib import models
from srlib._backend import tf
from srlib.book import results, timing
from srlib.models import anatomy
from srlib.upscaling import photo, tiles

#: Width and height of the photos, in pixels: 1, 6 and 24 megapixels.
SIZES = ((1200, 800), (3000, 2000), (6000, 4000))
QUICK_SIZES = ((96, 64), (120, 80))
NETWORKS = ("residual-mse", "espcn")
#: The largest photo that the first is also given at once, in pixels: beyond, memory ends.
WHOLE = 6_000_000
TILES = (32, 64, 128, 256, 512)


def mosaic(width: int, height: int) -> Image.Image:
    """A photo of any size, of the embedded squares side by side."""
    squares = [*srlib.photos("embedded", "test"), *srlib.photos("embedded", "train")]
    side = len(squares[0])
    image = Image.new("RGB", (width, height))
    for index in range(-(-width // side) * -(-height // side)):
        row, column = divmod(index, -(-width // side))
        square = Image.fromarray(squares[index % len(squares)])
        image.paste(square, (column * side, row * side))
    return image


def one(model: str, source: str, target: str, tile: str) -> None:
    """In a process of its own: enlarge, and say what took how long."""
    network = photo.named(model)
    spent = 0.0

    def timed(pixels: np.ndarray) -> np.ndarray:
        nonlocal spent
        began = time.perf_counter()
        result = tiles.enlarge(network, pixels, tile=None if tile == "None" else "auto")
        spent += time.perf_counter() - began
        return result

    began = time.perf_counter()
    photo.enlarge_file(source, target, timed)
    total = time.perf_counter() - began
    row = {"network_seconds": spent, "file_seconds": total - spent, "megabytes": peak_memory()}
    print(json.dumps(row))


def peak_memory() -> float:
    """The most that this process has ever held, in MB; Linux only.

    ``getrusage`` would count what the parent held when it started us.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 2**10


def measure_one(model: str, photo: Path, tile: str | None) -> dict[str, float]:
    """Seconds and peak memory in MB of a process that enlarges one photo."""
    target = photo.with_name(f"{model}.jpg")
    command = [sys.executable, "-m", "experiments.own_photos", "--one"]
    command += [model, str(photo), str(target), str(tile)]
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    target.unlink()
    return {"seconds": time.perf_counter() - began} | json.loads(done.stdout)


def roofs(names: Sequence[str], quick: bool) -> dict[str, float]:
    """GFLOP/s of bare convolutions as wide as each network, at the sizes of tiles."""
    found = {}
    for name in names:
        width = anatomy.main_width(srlib.load(name))
        shapes = ((1, 32),) if quick else ((1, 128), (1, 256), (1, 288))
        found[name] = max(timing.convolution_speed(width, shapes).values())
    return found


def sweep(quick: bool) -> list[dict[str, float]]:
    """Seconds against the size of a tile, for a photo that is also done at once."""
    network = srlib.load("residual-mse")
    side = 64 if quick else 768
    image = np.asarray(mosaic(side, side))
    sizes = (16, 32) if quick else TILES
    calls = {
        str(tile): lambda tile=tile: tiles.enlarge(network, image, tile=tile)
        for tile in (*sizes, None)
    }
    seconds = timing.fastest(calls, rounds=1 if quick else 3, patience=60)
    radius = anatomy.receptive_field(network)
    rows = []
    for tile in sizes:
        looked_at = sum(
            (min(s + tile + radius, side) - max(0, s - radius)) for s in range(0, side, tile)
        )
        rows.append(
            {
                "tile": tile,
                "seconds": seconds[str(tile)],
                "to_whole": seconds[str(tile)] / seconds["None"],
                "pixels_to_whole": (looked_at / side) ** 2,
            }
        )
    return rows


def measure(quick: bool) -> dict[str, object]:
    """Everything, in one run."""
    content: dict[str, object] = {"roofs": roofs(NETWORKS, quick), "photos": []}
    with tempfile.TemporaryDirectory() as folder:
        for width, height in QUICK_SIZES if quick else SIZES:
            photo = Path(folder) / "photo.jpg"
            mosaic(width, height).save(photo, quality=95)
            runs: list[tuple[str, str | None]] = [(name, "auto") for name in NETWORKS]
            runs += [(NETWORKS[0], None)] if width * height <= WHOLE else []
            for name, tile in runs:
                row = {"model": name, "width": width, "height": height, "tiled": tile is not None}
                row |= measure_one(name, photo, tile)
                gflop = models.flops(srlib.load(name), height, width) / 1e9
                row["share"] = gflop / row["network_seconds"] / content["roofs"][name]
                content["photos"].append(row)
                print(json.dumps(row), flush=True)
    content["sweep"] = sweep(quick)
    return content


def main(arguments: list[str] | None = None) -> int:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny: shows only that it works")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        one(*options.one)
        return 0
    tf.get_logger().setLevel("ERROR")
    began = time.monotonic()
    content = {"quick": options.quick} | measure(options.quick)
    results.write(
        "own_photos",
        content,
        command="python -m experiments.own_photos" + " --quick" * options.quick,
        seconds=round(time.monotonic() - began),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
