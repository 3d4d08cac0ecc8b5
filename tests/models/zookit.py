"""Small networks with random weights, written as the zoo writes them."""

import hashlib
import json
from pathlib import Path

import keras
import numpy as np

from srlib import models
from srlib.models import zoo

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
