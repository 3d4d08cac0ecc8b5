"""The ladder: what was published, and what this book measured, by one protocol in one list.

Taught in chapter 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from srlib.book import results
from srlib.models import cards

#: How the benchmark names a network that is asked eight times.
ENSEMBLE = ", self-ensemble"

#: Groups of the ladder's rows, in the order of their markers in figures.
GROUPS = ("published", "this book", "this book" + ENSEMBLE)

#: Baselines of the benchmark that are not in the zoo: parameters, and what they were fitted to.
BASELINES = {
    "nearest": (0, "nothing"),
    "bicubic": (0, "nothing"),
    "lanczos": (0, "nothing"),
    "linear": (196, "this book's embedded photos"),
}


@dataclass(frozen=True)
class Standing:
    """One row of the ladder: twofold enlargement, Y, 2 px shaved.

    Attributes:
        model: its name.
        parameters: how many numbers were trained.
        trained_on: on what; empty where no source says so.
        set5: PSNR in dB and SSIM.
        set14: the same.
        ours: measured by this book, not published elsewhere.
        cite: key in the bibliography; empty for ours.
        found_in: where the numbers were found.
        note: on the number of parameters.
    """

    model: str
    parameters: int
    trained_on: str
    set5: tuple[float, float]
    set14: tuple[float, float]
    ours: bool
    cite: str = ""
    found_in: str = ""
    note: str = ""

    @property
    def group(self) -> str:
        """One of :data:`GROUPS`."""
        return GROUPS[self.ours + (self.ours and self.model.endswith(ENSEMBLE))]


def standings() -> list[Standing]:
    """All rows, ours and others', from the lowest PSNR on Set5 to the highest."""
    return sorted(_published() + _measured(), key=lambda row: row.set5)


def training_data(card: dict[str, Any]) -> str:
    """What a model card says that the network was trained on."""
    data = card["data"]
    features = "; features of VGG16" if "vgg" in card else ""
    return f"{data['source']}, {data['photos']:,} photos{features}"


def training_seconds(card: dict[str, Any]) -> float:
    """Of all phases that led to the weights of a card."""
    return sum(phase["seconds"] for phase in cards.phases(card))


def _published() -> list[Standing]:
    return [
        Standing(
            row["model"],
            row["parameters"],
            row["trained_on"] or "",
            (row["Set5"]["psnr"], row["Set5"]["ssim"]),
            (row["Set14"]["psnr"], row["Set14"]["ssim"]),
            ours=False,
            cite=row["cite"],
            found_in=row["found_in"],
            note=row["parameters_note"],
        )
        for row in results.read("published")["rows"]
    ]


def _measured() -> list[Standing]:
    benchmark = results.read("benchmark")
    shipped = {name: cards.card(name) for name in cards.available()}
    about = BASELINES | {n: (c["parameters"], training_data(c)) for n, c in shipped.items()}
    second = {row["model"]: row for row in benchmark["Set14 y"]["summary"]}
    rows = []
    for first in benchmark["Set5 y"]["summary"]:
        name = first["model"]
        set5, set14 = ((row["psnr"], row["ssim"]) for row in (first, second[name]))
        parameters, trained_on = about[name.removesuffix(ENSEMBLE)]
        rows.append(Standing(name, parameters, trained_on, set5, set14, ours=True))
    return rows
