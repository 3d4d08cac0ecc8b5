"""Ship what the twin trained: the zoo's weights and cards, scored with Keras like all others.

    python -m experiments.twin.publish --photos DIR [--textures DIR] [--runs DIR] [STAGE ...]

Reads RUNS/STAGE.safetensors and RUNS/STAGE.json, which experiments.twin.train wrote.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.numpy

from experiments import common, jobs
from experiments.twin.jobs import REDUCED, recipe
from experiments.twin.pack import EVERY, SHRINK
from srlib import data
from srlib._backend import keras
from srlib.data import photoset
from srlib.errors import SrlibError
from srlib.models import cards, registry, zoo

SUMMARIES = {
    "hourglass-mse": "the classic hourglass network, pixel loss: for the lesson",
    "hourglass-perceptual": "the classic hourglass, pixel and perceptual loss: for the lesson",
    "hourglass-miswired": "the classic hourglass network, its loss as it was committed: a warning",
    "residual-mse": "residual network with a bicubic skip, pixel loss: the one to use",
    "residual-perceptual": "residual network, pixel + perceptual loss: crisper, less exact",
    "residual-photos": "for photos as they are: trained on JPEG, noise and several kernels",
    "residual-large": "the strongest: sixteen blocks, trained at native resolution",
}
LICENCE = (
    "textures: BSDS500 (Berkeley) and T91 (Yang et al. 2010), for non-commercial research and "
    "education, and Sun-Hays 80 (Sun and Hays 2012), for research, no licence stated; whoever "
    "uses these weights commercially should train without them"
)


def of_photos(options: argparse.Namespace) -> dict[str, Any]:
    """What the card says of the photos."""
    photos, held_out = common.training_photos(options.photos)
    return {
        "source": photos.source,
        "photos": len(photos),
        "held_out": len(held_out),
        "fingerprint": photos.fingerprint(),
    }


def of_everything(options: argparse.Namespace) -> dict[str, Any]:
    """What the card says of photos and textures together."""
    if not options.textures:
        raise SrlibError("a network that was trained on textures: give --textures")
    joined, _ = common.training_photos(options.photos)
    names = ("t91", "sunhays80", "bsds_train", "bsds_test")
    for name in names:
        joined = joined.joined_with(photoset.folder(options.textures / name, "all", name), 1)
    held_out = len(photoset.folder(options.textures / "sunhays80").paths[::EVERY])
    source = f"photos256 + t91 + sunhays80 at {SHRINK} of its size + bsds_train and bsds_test "
    return {
        "source": source + f"as they are and at {REDUCED}",
        "photos": len(set(joined.paths)) - held_out,
        "held_out": held_out,
        "fingerprint": joined.fingerprint(),
    }


def history(about: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of a run's history, numbered as epochs.

    Where the pixel loss is MSE, ``psnr`` is that of its mean, a little below the mean PSNR.
    """
    entries = about["history"]
    seconds = about["seconds"] / len(entries)
    found = [{"epoch": n, "seconds": seconds} | entry for n, entry in enumerate(entries, 1)]
    if about["stage"]["loss"] == "mse":
        for entry in found:
            entry["psnr"] = 10 * math.log10(255**2 / entry["pixels"])
    return found


def phase(about: dict[str, Any]) -> dict[str, Any]:
    """An earlier phase as a card tells it, with those before it."""
    told = {"job": about["job"]} if "job" in about else {}
    if "stage" in about:
        told |= {"recipe": recipe(about), "history": history(about)}
    else:
        told |= {"recipe": about["recipe"], "history": about["history"]}
    told["seconds"] = about["seconds"]
    return told | ({"before": phase(about["before"])} if "before" in about else {})


def trained(file: Path) -> tuple[keras.Model, dict[str, Any]]:
    """The network that a stage trained, in Keras, and what its JSON says."""
    try:
        run = json.loads(file.with_suffix(".json").read_text())
        weights = safetensors.numpy.load_file(file)
    except OSError as error:
        raise SrlibError(f"{file}: no trained network ({error})") from error
    model = registry.build(run["stage"]["architecture"], **run["stage"]["options"])
    zoo.assign(model, weights, file)
    return model, run


def publish(name: str, options: argparse.Namespace) -> None:
    """Write one network's weights and card."""
    model, run = trained(options.runs / f"{name}{cards.SUFFIX}")
    stage = run["stage"]
    told = phase(run)
    on_textures = stage["material"] == "everything"
    lineage = json.dumps(told)  # of networks that learnt from textures, research alone is free
    about = {
        "summary": SUMMARIES[name],
        "data": (of_everything if on_textures else of_photos)(options),
        "precision": "mixed_bfloat16",
        "machine": {"device": run["machine"]["device"], "torch": run["machine"]["torch"]},
        "low_resolution_pixels": run["low_resolution_pixels"],
        **told,
    }
    if stage["perceptual"]:
        about["vgg"] = "ImageNet weights (vgg16_keras_block1_block2.npz)"
    if on_textures or "residual-large" in lineage:
        about["licence"] = LICENCE
    if not on_textures:
        _, held_out = common.training_photos(options.photos)
        about["validation_bicubic"] = jobs.bicubic_psnr(data.pairs(held_out, kernel=_kernel(stage)))
    target = cards.FOLDER / f"{name}{cards.SUFFIX}"
    protocol = replace(common.PROTOCOL, kernel=_kernel(stage))
    jobs.ship(
        model, target, stage["architecture"], stage["options"], about, options.photos, protocol
    )


def _kernel(stage: dict[str, Any]) -> str:
    """How a clean input is made for the network."""
    return "bicubic" if stage["inputs"] == "found" else stage["inputs"]


def main(arguments: list[str] | None = None) -> int:
    """Ship the named networks, or all."""
    made = common.parser(__doc__, ("photos",), ("textures", "runs"))
    made.set_defaults(runs=common.ROOT / "runs" / "twin")
    common.named(made, "stage", SUMMARIES)
    options = made.parse_args(arguments)
    for name in options.stages or SUMMARIES:
        publish(name, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
