"""Small networks with random weights, also written as the zoo writes them."""

import functools
import hashlib
import json
from pathlib import Path

import keras
import numpy as np

import srlib
from srlib import models
from srlib.layers.upsampling import UPSAMPLERS
from srlib.models import zoo

#: Every kind of network that a photo can be enlarged with.
BUILDERS = {
    "bicubic": models.bicubic,
    "lanczos": models.lanczos,
    "nearest": models.nearest,
    "linear": lambda: models.linear(7),
    "residual": lambda: models.residual(blocks=2, filters=4),
    "boxed": lambda: models.residual(blocks=1, filters=4, box=True),
    "luma": lambda: models.residual(blocks=1, filters=4, luma=True),
    "hourglass-1": lambda: models.hourglass(depth=1),
    "hourglass-3": lambda: models.hourglass(skip=True),
    "ensemble": lambda: srlib.self_ensemble(models.residual(blocks=1, filters=4)),
} | {
    f"upsampler {name}": functools.partial(models.with_upsampler, name, blocks=1, filters=4)
    for name in UPSAMPLERS
}


@functools.cache
def network(name: str) -> keras.Model:
    """With random weights everywhere, also where training would start from zeros."""
    keras.utils.set_random_seed(3)
    model = BUILDERS[name]()
    rng = np.random.default_rng(3)
    for weight in model.trainable_weights:
        if not np.any(weight.numpy()) and weight.shape.rank != 1:
            weight.assign(rng.normal(0, 0.1, weight.shape).astype(np.float32))
    return model


SMALL = {
    "residual": {"blocks": 1, "filters": 8},
    "hourglass": {"depth": 1},
    "linear": {"taps": 5},
    "with_upsampler": {"upsampler": "deconv + box", "blocks": 1, "filters": 4},
}


def randomised(architecture: str, options: dict, seed: int = 1) -> keras.Model:
    """A network none of whose variables holds its initial value."""
    model = models.build(architecture, **options)
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        variable.assign(rng.uniform(0.05, 0.1, variable.shape).astype(np.float32))
    return model


def save_small(folder: Path, name: str = "net", seed: int = 1, **about) -> Path:
    """A small residual network, written with its card."""
    model = randomised("residual", SMALL["residual"], seed)
    path = folder / f"{name}.safetensors"
    return zoo.save(model, path, "residual", SMALL["residual"], **about)


def rewrite_card(path: Path, **changes) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | changes))


def match_card(path: Path) -> None:
    """Make the card vouch for the file as it is now, as an attacker would."""
    rewrite_card(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
