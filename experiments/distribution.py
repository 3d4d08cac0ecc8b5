"""Appendix B's experiment: the same training on one device, on two, and by two workers.

    python -m experiments.distribution

On CPU devices and over the machine's own loopback, in processes of their own;
then with workers and whole runs that are killed. Writes
srlib/book/recorded/distribution.json. About two minutes; no timing is recorded.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments import interruptions
from experiments.interruptions import TINY, Child, Start
from srlib import data, training
from srlib.book import results
from srlib.training.checkpoint import Checkpoint

RECIPE = training.Recipe(
    epochs=12, steps_per_epoch=5, batch_size=8, crop=16, size=64, learning_rate=2e-3,
    precision="float32",
)  # fmt: skip
NETWORK = {"blocks": 2, "filters": 16}
PHOTOS = 96
#: The network with batch normalisation, in short.
HOURGLASS = replace(RECIPE, epochs=6, steps_per_epoch=3, loss="mse")
KILLS = 12
LOGGED = ("epoch", "loss", "psnr", "val_loss", "val_psnr")


def curve(run: Checkpoint) -> list[dict[str, float]]:
    """A run's history without its seconds."""
    return [{key: row[key] for key in LOGGED} for row in run.state["history"]]


def differences(run: Checkpoint, other: Checkpoint) -> dict[str, float]:
    """The largest differences between two runs: of the curves, relative; of weights and state."""
    pairs = list(zip(curve(run), curve(other), strict=True))
    ours, theirs = run.read("weights"), other.read("weights")
    apart = {key: float(np.abs(ours[key] - theirs[key]).max()) for key in theirs}
    return {
        "curves": max(abs(a[k] / b[k] - 1) for a, b in pairs for k in LOGGED),
        "weights": max(value for key, value in apart.items() if key.startswith("model/")),
        "optimiser": max(value for key, value in apart.items() if key.startswith("optimizer/")),
    }


def start_workers(start: Start, stack: ExitStack) -> list[Child]:
    """Two workers of one job."""
    addresses = interruptions.free_addresses(2)
    starts = [
        replace(start, strategy="multiworker", cluster=addresses, index=index) for index in (0, 1)
    ]
    return [stack.enter_context(Child(each)) for each in starts]


def run_workers(start: Start) -> Checkpoint:
    """Train with two workers to the end."""
    with ExitStack() as stack:
        workers = start_workers(start, stack)
        for worker in workers:
            worker.follow()
        if any(worker.end() for worker in workers):
            raise RuntimeError(f"a worker failed: see {start.run}.*.log")
    return Checkpoint(start.run)


def lose_worker(start: Start, victim: int, whole: Checkpoint) -> dict[str, Any]:
    """Kill one of two workers, look at the other, start both again, compare the end."""
    with ExitStack() as stack:
        workers = start_workers(start, stack)
        workers[victim].follow(7)
        workers[victim].kill()
        survivor = workers[1 - victim]
        survivor.follow()
        code = survivor.end()
    left = Checkpoint(start.run).state
    return {
        "killed": "chief" if victim == 0 else "worker",
        "exit_code": code,
        "message": survivor.error,
        "saved_step": left["epoch"] * start.recipe.steps_per_epoch + left["step"],
        "differences": differences(run_workers(start), whole),
    }


def measure(folder: Path) -> dict[str, Any]:
    """All runs, in a folder for their states."""
    start = Start(folder / "one", RECIPE, network=NETWORK, photos=PHOTOS)
    two = {"strategy": "mirrored", "devices": 2}
    runs = {
        "one device": interruptions.run(start),
        "two devices": interruptions.run(replace(start, run=folder / "devices", **two)),
        "two workers": run_workers(replace(start, run=folder / "workers")),
    }
    one, _, workers = runs.values()
    print({name: differences(run, one) for name, run in runs.items()}, flush=True)
    lost = [
        lose_worker(replace(start, run=folder / f"lost-{victim}"), victim, workers)
        for victim in (1, 0)
    ]
    print(lost, flush=True)
    normalised = replace(start, recipe=HOURGLASS, architecture="hourglass", network={"depth": 1})
    hourglass = {
        "one device": interruptions.run(replace(normalised, run=folder / "hourglass")),
        "two devices": interruptions.run(replace(normalised, run=folder / "hourglass-2", **two)),
    }
    whole = interruptions.run(Start(folder / "whole"))
    kills = interruptions.run_killed(Start(folder / "killed", slow=0.003), KILLS)
    return {
        "recipe": asdict(RECIPE),
        "network": NETWORK,
        "curves": {name: curve(run) for name, run in runs.items()},
        "differences": {n: differences(run, one) for n, run in runs.items() if run is not one},
        "lost workers": lost,
        "hourglass": {name: curve(run) for name, run in hourglass.items()},
        "killed": {
            "steps": TINY.epochs * TINY.steps_per_epoch,
            "steps_per_epoch": TINY.steps_per_epoch,
            "kills": kills,
            "differences": differences(Checkpoint(folder / "killed"), whole),
        },
    }


def main(arguments: list[str] | None = None) -> int:
    """Run everything and record it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=results.FOLDER, help="folder of the record")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        content = measure(Path(folder))
    photos = data.photos("embedded", "train")
    results.write(
        "distribution", content, folder=options.out,
        command="python -m experiments.distribution", seed=RECIPE.seed,
        data=f"embedded, {PHOTOS} photos", fingerprint=photos.fingerprint(),
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
