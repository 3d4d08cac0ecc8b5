"""What is trained on an accelerator, in the order of its worth, and how its time is shared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: To what share of their size JPEG textures are reduced, beside being used as they are.
REDUCED = 0.7
#: A shipped network, as a path within the repository.
ZOO = "srlib/models/weights/{}.safetensors"


@dataclass(frozen=True)
class Stage:
    """One training run.

    Attributes:
        share: of the time, relative to the other stages of the same call.
        start: weights to start from: an earlier stage's name, or a file of the zoo.
        architecture: a key of ``experiments.twin.networks.ARCHITECTURES``.
        options: of the architecture; blocks beyond the start's add nothing at first (Net2Net).
        material: ``"photos"``, or ``"everything"`` for the textures too.
        inputs: how the low-resolution image is made: ``"bicubic"``, ``"box"``, or ``"found"``
            for any kernel, blur, noise and JPEG.
        loss: a key of ``experiments.twin.losses.PIXEL_LOSSES``.
        perceptual: weight of the perceptual loss beside it.
        mis_wired: the perceptual loss as the classic system committed it.
        frozen: batch normalisation by its averages, as in use, not by each batch's own.
        batch: crops in a step.
        crop: side of the input in pixels.
        candidates: of so many crops the most detailed is taken.
        learning_rate: Adam's, which falls to zero along a cosine of the time.
        epsilon: Adam's.
        clip: largest absolute value of a gradient's entry.
        seed: of the weights and of everything drawn.
    """

    share: float
    start: str = ""
    architecture: str = "residual"
    options: dict = field(default_factory=dict)
    material: str = "photos"
    inputs: str = "bicubic"
    loss: str = "l1"
    perceptual: float = 0.0
    mis_wired: bool = False
    frozen: bool = False
    batch: int = 32
    crop: int = 48
    candidates: int = 1
    learning_rate: float = 5e-4
    epsilon: float = 1e-8
    clip: float = 0.0
    seed: int = 0


def recipe(about: dict[str, Any]) -> dict[str, Any]:
    """What a run's JSON says of its stage, in the terms of ``srlib.training.Recipe``.

    An epoch is an entry of the history.
    """
    stage, epochs = about["stage"], len(about["history"])
    return {
        "loss": stage["loss"],
        "perceptual_weight": stage["perceptual"],
        "perceptual_layer": "block2_conv2",
        "mis_wired": stage["mis_wired"],
        "frozen": stage["frozen"],
        "epochs": epochs,
        "steps_per_epoch": round(about["history"][-1]["steps"] / epochs),
        "batch_size": stage["batch"],
        "crop": stage["crop"],
        "learning_rate": stage["learning_rate"],
        "schedule": "cosine",
        "epsilon": stage["epsilon"],
        "clip_value": stage["clip"] or None,
        "kernel": stage["inputs"],
        "size": 128 if stage["material"] == "photos" else None,
        "candidates": stage["candidates"],
        "ema": 0.0,
        "seed": stage["seed"],
        "precision": "mixed_bfloat16",
    }


_CLASSIC = {"architecture": "hourglass", "inputs": "box", "crop": 64, "loss": "mse"}
_PUBLISHED = _CLASSIC | {"learning_rate": 1e-3, "clip": 0.5, "batch": 8, "perceptual": 1.0}
_LARGE = {"options": {"blocks": 16}, "material": "everything", "crop": 64, "candidates": 2}
_BOXED = {"options": {"blocks": 6, "box": True}, "loss": "psnr"}
_FINE = _BOXED | {"loss": "mse", "batch": 16, "learning_rate": 2e-4}
_PHOTOS = {"options": {"blocks": 8, "box": True}, "inputs": "found", "batch": 64}
_TINY = {"options": {"blocks": 4, "filters": 16, "luma": True}, "material": "everything"}

STAGES = {
    "hourglass-mse": Stage(
        6, ZOO.format("hourglass-mse"), **_CLASSIC, batch=64, learning_rate=4e-4, seed=32
    ),
    "residual-mse": Stage(1.2, ZOO.format("residual-mse"), **_BOXED, seed=24),
    # From photos alone, without the textures: whoever uses it may do so commercially.
    "residual-photos-l1": Stage(2, "residual-mse", **_PHOTOS, seed=22),
    "residual-photos": Stage(
        1, "residual-photos-l1", **_PHOTOS | {"loss": "psnr", "learning_rate": 2e-4}, seed=23
    ),
    "residual-perceptual": Stage(1, "residual-mse", **_FINE, perceptual=0.02, seed=25),
    "hourglass-one-to-one": Stage(0.8, "hourglass-mse", **_PUBLISHED, seed=26),
    # In use a photo is normalised by averages; trained that way, no photo blows up any more.
    "hourglass-perceptual": Stage(
        0.8,
        "hourglass-one-to-one",
        **_PUBLISHED | {"learning_rate": 3e-4},
        frozen=True,
        seed=31,
    ),
    "hourglass-miswired": Stage(0.8, "hourglass-mse", **_PUBLISHED, mis_wired=True, seed=26),
    "residual-large-l1": Stage(7, ZOO.format("residual-large"), **_LARGE, seed=27),
    "residual-large": Stage(
        2, "residual-large-l1", **_LARGE, loss="psnr", learning_rate=1e-4, seed=28
    ),
    "espcn-luma": Stage(1, ZOO.format("espcn"), **_TINY, loss="luma", learning_rate=2e-3, seed=29),
    "espcn": Stage(0.5, "espcn-luma", **_TINY, loss="psnr", learning_rate=5e-4, seed=30),
}
