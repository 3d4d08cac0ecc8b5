"""Score every shipped model on test photos, on the field's test sets and on any folder.

    python -m experiments.benchmark --photos DIR [--benchmarks DIR] [--folder DIR ...]

DIR holds Set5/ and Set14/ for the second. Needs LPIPS weights (srlib.metrics.lpips). Writes
srlib/book/recorded/benchmark.json after each model, and leaves out what that file already
holds of the same weights, photos and protocol: run it again after training one network.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments import common
from experiments.protocols import VARIANTS, bicubic_psnr
from srlib import data, evaluation, models
from srlib._backend import keras
from srlib.book import results
from srlib.book.standings import ENSEMBLE
from srlib.data import photoset
from srlib.data.photoset import PhotoSet
from srlib.evaluation import Protocol, Row, Scores
from srlib.metrics import lpips
from srlib.models import cards, zoo
from srlib.models.ensemble import self_ensemble
from srlib.pixels import to_float

#: Networks that are scored a second time, with eight-fold self-ensemble.
ENSEMBLES = ("espcn", "residual-large")
#: Sets of more photos than this keep of each photo only the RGB PSNR, and the LPIPS
#: of the networks that chapter 4 compares photo by photo: the file is shipped.
ALL_VALUES = 100
COMPARED = ("-mse", "-perceptual", "-miswired")


@dataclass(frozen=True)
class Entrant:
    """A model to score, built when its turn comes; equal marks give equal scores."""

    mark: str
    build: Callable[[], keras.Model]


@dataclass(frozen=True)
class Test:
    """Photos, and the protocols by which one enlargement of each is scored."""

    photos: PhotoSet
    protocols: dict[str, Protocol]  # section of the result file -> protocol


def entrants() -> dict[str, Entrant]:
    """Baselines, the linear filter (chapter 2's bar) and the zoo, in the tables' order."""
    found = {name: Entrant(f"{name} 1", lambda name=name: models.build(name)) for name in
             ("bicubic", "nearest", "lanczos")}  # fmt: skip
    fitted_to = data.photos("embedded", "train")
    found["linear"] = Entrant(
        f"fitted to {fitted_to.fingerprint()}",
        lambda: models.fit_linear(models.linear(), *data.pairs(fitted_to)[:2]),
    )
    for name in cards.available():
        mark = cards.card(name)["sha256"][:16]
        found[name] = Entrant(mark, lambda name=name: zoo.load(name))
        if name in ENSEMBLES:
            twice = Entrant(f"{mark} x8", lambda name=name: self_ensemble(zoo.load(name)))
            found[name + ENSEMBLE] = twice
    return found


def tests(photos: PhotoSet, folders: dict[str, PhotoSet]) -> list[Test]:
    """What is measured: the test photos, reduced as in training, and each folder as it is."""
    reduced = {"photos": common.PROTOCOL, "photos y": Protocol("y", shave=2, size=128)}
    return [Test(photos, reduced)] + [
        Test(found, {f"{name} {key}": evaluation.PROTOCOLS[key] for key in ("y", "rgb")})
        for name, found in folders.items()
    ]


def score(name: str, model: keras.Model, test: Test) -> list[Row]:
    """Every photo of a test by each of its protocols."""
    protocols = list(test.protocols.values())
    return list(evaluation.scored({name: model}, test.photos, protocols, with_lpips=True))


def summary(name: str, scores: Scores) -> dict[str, Any]:
    """The row of one model: as `Scores.summary` has it, with intervals of the means too."""
    (row,) = [row for row in scores.summary() if row["model"] == name]
    for key in ("psnr", "ssim", "lpips"):
        if name in (values := getattr(scores, key)):
            row[f"{key}_interval"] = evaluation.bootstrap_interval(values[name])
    return {key: _rounded(value) for key, value in row.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [round(x, 5) for x in value]
    return round(value, 5) if isinstance(value, float) else value


def images(test: Test, rows: list[Row], protocol: Protocol) -> list[dict[str, Any]]:
    """A row for each photo; of reduced ones with how much there is to recover."""
    found = []
    mine = [row for row in rows if row.protocol == protocol and row.model == "bicubic"]
    for place in [row.place for row in mine]:
        found.append({"name": test.photos.paths[place].name, "label": test.photos.labels[place]})
        if protocol.size and protocol.channel == "rgb":
            square = data.square(test.photos[place], protocol.size)
            found[-1]["detail"] = round(detail(square), 3)
    return found


def detail(image: np.ndarray) -> float:
    """RMS difference of neighbours' luma, in grey levels."""
    luma = to_float(image).mean(axis=-1) * 255
    steps = [np.diff(luma, axis=axis) for axis in (0, 1)]
    return float(np.sqrt(np.mean([np.mean(step**2) for step in steps])))


def missing(content: dict, test: Test, field: dict[str, Entrant]) -> list[str]:
    """Who lacks a score in this test; out of date scores go, and sections that do not fit."""
    fingerprint, lacking = test.photos.fingerprint(), set()
    field = {name: entrant for name, entrant in field.items() if asked(name, test)}
    for section, protocol in test.protocols.items():
        head = {"protocol": asdict(protocol), "fingerprint": fingerprint, "lpips": content["lpips"]}
        known = content.get(section, {})
        if any(known.get(key) != value for key, value in head.items()):
            known = content[section] = head | {"scored": {}, "summary": [], "images": []}
        marks = {name: entrant.mark for name, entrant in field.items()}
        forget(known, {name for name, mark in known["scored"].items() if marks.get(name) != mark})
        lacking |= field.keys() - known["scored"].keys()
    return [name for name in field if name in lacking]


def asked(name: str, test: Test) -> bool:
    """Self-ensembles, eight times the work, are asked about photos in their own size alone."""
    reduced = any(protocol.size for protocol in test.protocols.values())
    return not (reduced and name.endswith(ENSEMBLE))


def forget(section: dict[str, Any], names: set[str]) -> None:
    """Take the models of these names out of a section."""
    section["summary"] = [row for row in section["summary"] if row["model"] not in names]
    for name in names:
        section["scored"].pop(name)
        for row in section["images"]:
            for key in ("psnr", "ssim", "lpips"):
                row.pop(f"{key} {name}", None)


def add(content: dict, test: Test, name: str, mark: str, rows: list[Row], order: list[str]) -> None:
    """Enter one model's scores into all sections of one test; the rows hold bicubic's too."""
    found = evaluation.collected(rows, test.photos)
    for section, protocol in test.protocols.items():
        known, scores = content[section], found[protocol]
        if protocol.channel != "rgb":
            scores = replace(scores, lpips={})
        forget(known, {name} & known["scored"].keys())
        row = summary(name, scores)
        known["summary"] = sorted([*known["summary"], row], key=lambda r: order.index(r["model"]))
        known["scored"][name] = mark
        kept = ["psnr"] if protocol.channel == "rgb" else []
        kept += ["lpips"] if kept and name.endswith(COMPARED) else []
        kept = ["psnr", "ssim", "lpips"] if len(scores.names) <= ALL_VALUES else kept
        if kept:
            known["images"] = known["images"] or images(test, rows, protocol)
        for key in kept:
            values = getattr(scores, key).get(name, [])
            for image, value in zip(known["images"], values, strict=False):
                image[f"{key} {name}"] = round(float(value), 3 if key == "psnr" else 5)


def protocols(set5: PhotoSet) -> dict[str, float]:
    """Bicubic on Set5 by each protocol of chapter 6."""
    photos = [evaluation.truth_of(photo, Protocol()) for photo in set5]
    return {variant: bicubic_psnr(photos, variant) for variant in VARIANTS}


def run(
    content: dict, todo: list[Test], field: dict[str, Entrant], only: list[str], save: Callable
) -> None:
    """Score who is missing, one model after the other, and save after each."""
    lacking = [[m for m in missing(content, test, field) if m in only] for test in todo]
    bicubic = field["bicubic"].build()
    reference = [
        score("bicubic", bicubic, test) if names else []
        for test, names in zip(todo, lacking, strict=True)
    ]
    for name, entrant in field.items():
        places = [i for i, names in enumerate(lacking) if name in names]
        if not places:
            continue
        model, start = entrant.build(), time.monotonic()
        for i in places:
            rows = reference[i]
            if name != "bicubic":
                rows = [*rows, *score(name, model, todo[i])]
            add(content, todo[i], name, entrant.mark, rows, list(field))
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
        save(content)


def tables(content: dict[str, Any]) -> str:
    """All summaries as text."""
    lines = []
    for section, known in content.items():
        if isinstance(known, dict) and "summary" in known:
            lines.append(f"{section}: {Protocol(**known['protocol'])}")
            for row in known["summary"]:
                low, high = row["psnr_interval"]
                line = f"  {row['model']:<30} {row['psnr']:6.2f} [{low:5.2f}, {high:5.2f}] dB"
                line += f"  {row['gain']:+6.2f}  SSIM {row['ssim']:.4f}"
                lines.append(line + (f"  LPIPS {row['lpips']:.4f}" if "lpips" in row else ""))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Score and record."""
    parser = common.parser(__doc__, ["photos"], ["benchmarks"])
    parser.add_argument("--folder", type=Path, action="append", default=[], help="repeatable")
    parser.add_argument("--models", nargs="+", help="only these; bicubic always")
    parser.add_argument("--first", type=int, help="at most so many photos of each set, to try out")
    parser.add_argument("--output", type=Path, default=results.FOLDER, help="folder to write to")
    parser.add_argument("--fresh", action="store_true", help="score everything anew")
    options = parser.parse_args(arguments)

    if options.first and options.output == results.FOLDER:
        parser.error("--first is for trying out: give an --output of its own")
    photos = common.test_photos(options.photos).take(options.first)
    sets = [options.benchmarks / name for name in ("Set5", "Set14")] if options.benchmarks else []
    folders = {
        path.name: photoset.folder(path, "all", path.name).take(options.first)
        for path in (*sets, *options.folder)
    }
    if len(folders) < len(sets) + len(options.folder):
        parser.error("two folders have the same name")
    field = entrants()
    only = ["bicubic", *(options.models or field)]
    known = "benchmark" in results.names(options.output) and not options.fresh
    content = results.read("benchmark", options.output) if known else {}
    content.pop("made_by", None)
    content["lpips"] = lpips.origin()
    if "Set5" in folders:
        content["protocols"] = protocols(folders["Set5"])

    def save(content: dict[str, Any]) -> None:
        common.record("benchmark", content, photos, options.photos, folder=options.output)

    run(content, tests(photos, folders), field, only, save)
    print(tables(content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
