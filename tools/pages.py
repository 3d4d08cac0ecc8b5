"""Tables of the text pages, written from recorded results and model cards.

Nothing in book/_generated is edited by hand; a test compares it with what this
module would write now.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from srlib.book import results
from srlib.book.tables import markdown

if TYPE_CHECKING:
    from srlib.book.standings import Standing

ROOT = Path(__file__).parents[1]
GENERATED = ROOT / "book" / "_generated"
BEFORE_AFTER = ROOT / "book" / "_static" / "before-after.svg"
#: Packages whose versions the tables show.
SHOWN = (("tensorflow", "TensorFlow"), ("keras", "Keras"))
#: What may have trained a network.
TRAINED_BY = (*SHOWN, ("torch", "PyTorch"))


def reading_order(root: Path = ROOT) -> list[str]:
    """The names of the book's pages, without folder and ending, as _toc.yml orders them."""
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    files = [toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])]
    return [Path(name).name for name in files]


def _count(parameters: int) -> str:
    """A number of parameters as tables show it: published ones are rounded already."""
    if parameters % 1000 or not parameters:
        return f"{parameters:,}"
    return f"{parameters / 1e6:.3g} M" if parameters >= 1e6 else f"{parameters // 1000} K"


def _standings() -> dict[str, Standing]:
    from srlib.book.standings import standings

    return {row.model: row for row in standings() if row.ours}


def results_table() -> str:
    """The intro's table: every model on the test photos and on Set5 and Set14."""
    benchmark, known = results.read("benchmark"), _standings()
    rows = []
    for row in benchmark["photos"]["summary"]:
        mine = known[row["model"]]
        low, high = row["gain_interval"]
        gain = f"{row['gain']:+.2f} ({low:+.2f} to {high:+.2f})" if row["gain"] else "0"
        rows.append(
            [
                row["model"],
                _count(mine.parameters),
                f"{row['psnr']:.2f}",
                gain,
                f"{row['won']:.0%}" if row["gain"] else "",
                f"{mine.set5[0]:.2f}",
                f"{mine.set14[0]:.2f}",
                f"{row['lpips']:.3f}",
            ]
        )
    count = len(benchmark["photos"]["images"])
    header = ["model", "parameters", f"PSNR, {count} photos", "gain over bicubic (95 %)", "won"]
    return markdown([*header, "Set5 Y", "Set14 Y", "LPIPS"], rows)


def published_table() -> str:
    """The ladder: our Set5 and Set14 values beside published ones, and what each was trained on."""
    from srlib.book.standings import standings

    sources: dict[str, str] = {}  # where the numbers were found -> its letter
    rows = []
    for row in standings():
        name, source = f"**{row.model}**", "here"
        if not row.ours:
            name = f"{row.model} {{cite}}`{row.cite}`"
            source = sources.setdefault(row.found_in, "abcdefgh"[len(sources)])
        trained_on = row.trained_on or "not stated by our source"
        count = _count(row.parameters) + (f" ({row.note})" if row.note else "")
        scores = [f"{psnr:.2f} / {ssim:.4f}" for psnr, ssim in (row.set5, row.set14)]
        rows.append([name, count, trained_on, *scores, source])
    table = markdown(["model", "parameters", "trained on", "Set5", "Set14", "source"], rows)
    found = "; ".join(f"{letter}: {name}" for name, letter in sources.items())
    return f"{table}\nSources: {found}; here: measured for this book.\n"


def cards() -> str:
    """Every shipped model's card as text."""
    from srlib.models.cards import available, card

    return "\n".join(_card(card(name)) for name in available())


def _recipe(recipe: dict) -> str:
    shown = {"loss", "epochs", "steps_per_epoch", "batch_size", "crop", "learning_rate", "schedule"}
    shown |= {key for key in ("candidates", "ema") if recipe.get(key, 1) not in (0, 1, None)}
    shown |= {"size"} if recipe.get("size", 128) != 128 else set()
    shown |= {key for key in ("mis_wired", "frozen") if recipe.get(key)}
    shown |= {"kernel"} if recipe.get("kernel", "bicubic") != "bicubic" else set()
    if recipe.get("perceptual_weight"):
        shown |= {"perceptual_weight", "perceptual_layer", "clip_value"}
    return ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in recipe.items() if k in shown)


def _card(card: dict) -> str:
    from srlib.book.standings import training_seconds
    from srlib.models.cards import phases as from_last_to_first

    data, machine = card["data"], card["machine"]
    phases = [*from_last_to_first(card)][::-1]
    rows = [
        ["what", card["summary"]],
        ["architecture", f"`{card['architecture']}` {card['options'] or ''}"],
        ["parameters", f"{card['parameters']:,}, {card['bytes'] / 1e6:.1f} MB as float16"],
        [
            "trained on",
            f"`{data['source']}`: {data['photos']:,} photos, {data['held_out']} more held out "
            f"for validation; fingerprint {data['fingerprint']}",
        ],
    ]
    for number, phase in enumerate(phases, 1):
        label = "recipe" if len(phases) == 1 else f"recipe, phase {number} of {len(phases)}"
        rows.append([label, _recipe(phase["recipe"])])
    if "vgg" in card:
        rows.append(["features", f"VGG16, {card['vgg']}"])
    rows += [
        ["precision", card["precision"]],
        ["training time", f"{training_seconds(card) / 60:.0f} minutes on {machine['device']}"],
        ["versions", ", ".join(f"{n} {machine[key]}" for key, n in TRAINED_BY if key in machine)],
        ["protocol", card["test"]["protocol"]],
    ]
    for row in card["test"]["summary"]:
        if row["model"] == card["name"]:
            low, high = row["gain_interval"]
            score = (
                f"{row['psnr']:.2f} dB (SD {row['sd']:.2f}), SSIM {row['ssim']:.4f}; "
                f"{row['gain']:+.2f} dB against bicubic, 95 % interval {low:+.2f} to {high:+.2f}; "
                f"better on {row['won']:.1%}"
                + (f"; LPIPS {row['lpips']:.4f}" if "lpips" in row else "")
            )
            rows.append([f"{card['test']['photos']} test photos", score])
    if worst := card["test"].get("worst"):
        rows.append(["worst of them", f"{worst['psnr']:.2f} dB"])
    if "licence" in card:
        rows.insert(4, ["licence of the data", card["licence"]])
    if found := _standings().get(card["name"]):
        score = (
            f"{found.set5[0]:.2f} dB, SSIM {found.set5[1]:.4f}; "
            f"{found.set14[0]:.2f} dB, SSIM {found.set14[1]:.4f}"
        )
        rows.append(["Set5; Set14 (Y, 2 px shaved)", score])
    rows.append(["sha256", f"`{card['sha256'][:16]}...`"])
    return f"## `{card['name']}`\n\n" + markdown(["", ""], rows)


def status() -> str:
    """Run times of the chapters and the provenance of each recorded result."""
    times = json.loads((GENERATED / "run-times.json").read_text())
    rows = [
        [name, *(str(times[name].get(preset, "")) for preset in ("smoke", "cpu"))]
        for name in reading_order()
        if name in times
    ]
    text = "## Run times of the chapters, in seconds\n\n"
    text += markdown(["chapter", "`smoke`", "`cpu`"], rows)
    text += "\n## Where each recorded number comes from\n\n"
    rows = []
    for name in results.names():
        made = results.read(name)["made_by"]
        versions = made["versions"] or {}
        rows.append(
            [
                f"`{name}`",
                f"`{made['command']}`",
                " ".join(filter(None, (made["data"], made["fingerprint"]))),
                made["device"] or "",
                ", ".join(f"{shown} {versions[key]}" for key, shown in SHOWN if key in versions),
                made["commit"] or "",
            ]
        )
    header = ["result", "command", "photos and their fingerprint", "machine", "versions", "commit"]
    return text + markdown(header, rows)


PAGES = {
    "results.md": results_table,
    "published.md": published_table,
    "cards.md": cards,
    "status.md": status,
}


def before_after() -> None:
    """The intro's picture: of a square with an average gain, the detail that gained most."""
    import matplotlib.pyplot as plt
    import numpy as np

    import srlib
    from srlib import data, resize
    from srlib.book import plots

    photos = srlib.photos("embedded", "test")
    pairs = data.pairs(photos)
    bicubic = resize.interpolate(data.as_float(pairs)[0])
    network = srlib.predict(srlib.load("residual-mse"), pairs.low)
    truth = data.as_float(pairs)[1]
    decibels = {
        name: np.asarray(srlib.psnr(pairs.high, images))
        for name, images in (("bicubic", bicubic), ("residual-mse", network))
    }
    gain = decibels["residual-mse"] - decibels["bicubic"]
    # Of each photograph the square with the most contrast, which shows what it is of.
    contrast, labels = pairs.high.mean(axis=-1).std(axis=(1, 2)), np.array(photos.labels)
    shown = [int(np.where(labels == x, contrast, 0).argmax()) for x in sorted(set(labels))]
    best = min(shown, key=lambda i: abs(gain[i] - gain.mean()))
    drop = ((bicubic[best] - truth[best]) ** 2 - (network[best] - truth[best]) ** 2).mean(axis=-1)
    windows = np.lib.stride_tricks.sliding_window_view(drop, (40, 40)).mean(axis=(2, 3))
    top, left = np.unravel_index(windows.argmax(), windows.shape)
    titles = {
        "input": pairs.low,
        f"bicubic, {decibels['bicubic'][best]:.1f} dB": bicubic,
        f"residual-mse, {decibels['residual-mse'][best]:.1f} dB": network,
        "truth": pairs.high,
    }
    box = (int(top), int(left), 40)
    figure = plots.zoom({name: images[best] for name, images in titles.items()}, box)
    note = (
        f"this square gains {gain[best]:+.1f} dB; of all {len(gain)} test squares the mean is "
        f"{gain.mean():+.1f}, the smallest {gain.min():+.1f}, the largest {gain.max():+.1f}"
    )
    plots.note(figure, note)
    BEFORE_AFTER.write_text(figure.svg())
    plt.close(figure)


def write_all() -> None:
    """Write every generated page whose content changed, and the intro's picture."""
    before_after()
    GENERATED.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        path, text = GENERATED / name, make()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
