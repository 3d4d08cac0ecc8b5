"""Model cards: what each network of the zoo is, read without TensorFlow. Taught in chapter 3."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srlib.errors import SrlibError

#: Where the models lie that come with srlib.
FOLDER = Path(__file__).parent / "weights"

SUFFIX = ".safetensors"

#: Models without weights, which need no training.
BASELINES = ("nearest", "bicubic", "lanczos")

#: What enlarges when nobody says what.
DEFAULT = "residual-mse"


class WeightsError(SrlibError):
    """Weights that are missing, damaged or of another network."""


def available() -> list[str]:
    """Names of the models that come with srlib, for ``srlib.load``."""
    return sorted(path.name.removesuffix(SUFFIX) for path in FOLDER.glob("*" + SUFFIX))


def find(name: str | os.PathLike) -> Path:
    """The weights file of a shipped model, or one that ``srlib.models.zoo.save`` wrote.

    Raises:
        WeightsError: when there is none.
    """
    if str(name) in available():
        return FOLDER / f"{name}{SUFFIX}"
    path = Path(name)
    if path.suffix == SUFFIX and path.is_file():
        return path
    raise WeightsError(
        f"{name}: no such model. Choose one of {', '.join((*available(), *BASELINES))}, "
        f"or the path of a {SUFFIX} file written by srlib.models.zoo.save"
    )


def card(name: str | os.PathLike) -> dict[str, Any]:
    """The model card: architecture, data, recipe, history, scores, sha256.

    Raises:
        WeightsError: when there is no such model or its card is unreadable.
    """
    if str(name) in BASELINES:
        raise WeightsError(f"{name}: is computed, not trained, and has no model card")
    path = find(name).with_suffix(".json")
    try:
        about = json.loads(path.read_text())
        if not isinstance(about, dict):
            raise ValueError("it is not a JSON object")
        lacking = [key for key in ("architecture", "options", "sha256") if key not in about]
        if lacking:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        if not all(isinstance(phase, dict) for phase in phases(about)):
            raise ValueError("what it says of an earlier phase is not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path}: the model card is missing or damaged ({error}); "
            "install srlib again, or copy the weights and their card anew"
        ) from error
    return about


def phases(card: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a card says of each phase of training, from the last, the card itself, to the first."""
    phase: Any = card
    while phase:
        yield phase
        phase = phase.get("before") if isinstance(phase, dict) else None
