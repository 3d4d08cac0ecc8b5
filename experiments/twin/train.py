"""Train the zoo's networks in PyTorch within a given time.

    python -m experiments.twin.train --data DIR --minutes 12 [--vgg FILE] [STAGE ...]

DIR is what ``python -m experiments.twin.pack`` wrote. The stages (experiments/twin/jobs.py)
share the time; each takes the best from the one it names as its start. State is kept in
RUNS/STAGE: kill it and run it again, and it goes on with what is left of each stage's time.
Writes RUNS/STAGE.safetensors, as float16 like the zoo's, and RUNS/STAGE.json, which
``python -m experiments.twin.publish`` turns into a shipped network. Needs PyTorch and no
TensorFlow; on a processor it does the same, slower.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

from experiments.twin import losses, material, networks
from experiments.twin.jobs import REDUCED, STAGES, Stage
from srlib._files import write_whole
from srlib.errors import SrlibError

ROOT = Path(__file__).parents[2]
#: Entries of a stage's history.
ENTRIES = 60
#: Steps between two looks at the clock: each waits for the device.
LOOK = 10
#: Seconds between two savings.
SAVE = 30.0


class Batches:
    """Training batches of a stage, made on the device."""

    def __init__(self, stage: Stage, pool: material.Pool):
        self.stage, self.pool = stage, pool
        names = list(material.REDUCTIONS) if stage.inputs == "found" else [stage.inputs]
        self.filters = material.filters(names, pool.device)
        self.corner = np.random.default_rng(stage.seed)

    def __call__(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Low and high: ``(N, 3, c, c)`` and ``(N, 3, 2c, 2c)`` in [0, 1]."""
        stage = self.stage
        if stage.inputs == "found":
            low, high = self._found()
        else:
            crops = self.pool.crops(stage.batch, 2 * stage.crop, stage.candidates)
            weights = self.filters.expand(stage.batch, -1)
            low, high = material.reduce(crops, weights), material.truth(crops)
        return low / 255, high / 255

    def _found(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Half of the inputs by antialiased bicubic; a third of all clean; the rest blurred a
        little, noisy, and saved as JPEG, each with a chance of its own."""
        n, crop, draw = self.stage.batch, self.stage.crop, self.pool.uniform
        crops = self.pool.crops(n, 2 * crop + 32, self.stage.candidates)
        kernels = (draw(n) * 2 * len(self.filters)).long()
        low = material.reduce(
            crops, self.filters[kernels.clamp(max=len(self.filters)) % len(self.filters)]
        )
        each = n, 1, 1, 1
        damaged = draw(*each) < 2 / 3
        blurred = damaged & (draw(*each) < 0.2)
        low = torch.where(blurred, material.blur(low, 0.3 + 0.5 * draw(n)), low)
        noisy = damaged & (draw(*each) < 0.5)
        noise = torch.randn(low.shape, generator=self.pool.random, device=low.device)
        low = torch.where(noisy, material.rounded(low + 10 * draw(*each) * noise), low)
        saved = damaged & (draw(*each) < 0.65)
        quality = (30 + 66 * draw(n)).floor()
        low = torch.where(saved, material.jpeg(low, quality, draw(n) < 0.6), low)
        # Cut anywhere: a file's blocks do not begin where the network's crop begins.
        top, left = self.corner.integers(17, size=2)
        truth = material.truth(crops)[:, :, 2 * top : 2 * (top + crop), 2 * left :]
        return low[:, :, top : top + crop, left : left + crop], truth[:, :, :, : 2 * crop]


def objective(stage: Stage, network: torch.nn.Module, features: losses.VGG16 | None, half: bool):
    """The function from a batch to its loss; networks compute in bfloat16 if ``half``."""
    pixel = losses.PIXEL_LOSSES[stage.loss]

    def loss(low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        kind = low.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=half):
            drawn = network.details(low) if hasattr(network, "details") else network(low)
        skip = networks.bicubic(low) if hasattr(network, "details") else 0
        image = 255 * (drawn.float() + skip)
        value = pixels = pixel(image - 255 * high).mean()
        if features is not None:
            with torch.autocast(kind, torch.bfloat16, enabled=half):
                compare = losses.mis_wired if stage.mis_wired else losses.perceptual
                value = value + stage.perceptual * compare(features, image, 255 * high).mean()
        return value, pixels.detach()

    return loss


@torch.inference_mode()
def validate(network: torch.nn.Module, photos: list[np.ndarray], stage: Stage, device: str):
    """Mean PSNR of held-out photos, each as a whole, from a clean input."""
    network.eval()
    values = []
    kind = "bicubic" if stage.inputs == "found" else stage.inputs
    weights = material.filters([kind], device)
    for photo in photos:
        wide = torch.from_numpy(material.with_margin(photo)).to(device)
        wide = wide.permute(2, 0, 1)[None].float()
        image = material.rounded(255 * network(material.reduce(wide, weights) / 255))
        error = (image - material.truth(wide)).square().mean()
        values.append(10 * math.log10(255**2 / max(float(error), 1e-9)))
    training(network, stage)
    return sum(values) / len(values)


def training(network: torch.nn.Module, stage: Stage) -> None:
    """Switch to training, batch normalisation with it or not."""
    network.train()
    for layer in network.modules():
        if stage.frozen and isinstance(layer, torch.nn.BatchNorm2d):
            layer.eval()


def start_file(stage: Stage, runs: Path) -> Path:
    """The weights that a stage starts from: of a stage before it, or of the repository."""
    choice = [runs / f"{stage.start}.safetensors", ROOT / stage.start]
    found = [path for path in choice if path.is_file()]
    if not found:
        raise SrlibError(f"{stage.start}: not trained yet; run that stage first")
    return found[0]


def before(stage: Stage, runs: Path) -> dict:
    """What is known of the weights that a stage starts from, and of those before them."""
    if not stage.start:
        return {}
    path = start_file(stage, runs)
    kept = ("stage", "recipe", "seconds", "history", "before")
    about = json.loads(path.with_suffix(".json").read_text())
    return {"before": {"job": path.stem} | {key: about[key] for key in kept if key in about}}


def start(stage: Stage, runs: Path, device: str) -> torch.nn.Module:
    """The network as the stage finds it."""
    torch.manual_seed(stage.seed)
    network = networks.ARCHITECTURES[stage.architecture](**stage.options)
    if stage.start:
        found = safetensors.numpy.load_file(start_file(stage, runs))
        weights = networks.tensors(network)
        for key in weights.keys() - found.keys():  # of blocks that are new
            weights[key] *= not key.endswith(("b/kernel", "b/bias"))
        networks.assign(network, weights | found)
    return network.to(device, memory_format=torch.channels_last)


class Run:
    """A stage under way: its network, optimiser, clock and history, kept in a folder."""

    def __init__(self, name: str, options: argparse.Namespace, pools: dict, features):
        self.name, self.stage, self.runs = name, STAGES[name], options.runs
        self.device, self.compile_from = options.device, options.compile_from
        self.network = start(self.stage, self.runs, self.device)
        training(self.network, self.stage)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), eps=self.stage.epsilon, fused=self.device == "cuda"
        )
        self.pool, self.held_out = pools[self.stage.material]
        self.pool.random.manual_seed(self.stage.seed)
        self.batches = Batches(self.stage, self.pool)
        wanted = features if self.stage.perceptual else None
        self.loss = objective(self.stage, self.network, wanted, options.precision == "bfloat16")
        self.state = {"seconds": 0.0, "steps": 0, "history": []}
        self.file = self.runs / self.name / "state.pt"
        if self.file.exists():
            saved = torch.load(self.file, weights_only=True)
            self.network.load_state_dict(saved["network"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.pool.random.set_state(saved["random"])
            self.state = saved["state"]

    def save(self) -> None:
        """Write all that going on needs, whole or not at all."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        aside = self.file.with_suffix(".new")
        content = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.pool.random.get_state(),
            "state": self.state,
        }
        torch.save(content, aside)
        aside.replace(self.file)

    def train(self, seconds: float) -> None:
        """Train until the stage has had its seconds."""
        before, began = self.state["seconds"], time.monotonic()
        saved, noted, sums = began, self.state["steps"], torch.zeros(2, device=self.device)
        if seconds - before > self.compile_from:
            self.loss = torch.compile(self.loss)
        while (done := self.state["seconds"] / seconds) < 1:
            self._steps(done, sums)
            if not bool(torch.isfinite(sums).all()):
                raise SrlibError(f"{self.name}: the loss is no number after {self.state['steps']}")
            now = time.monotonic()
            self.state["seconds"] = before + now - began
            if self.state["seconds"] / seconds * ENTRIES >= len(self.state["history"]) + 1:
                self._note(sums, self.state["steps"] - noted, seconds)
                noted = self.state["steps"]
            if now - saved > SAVE:
                self.save()
                saved = now
        self.save()

    def _steps(self, done: float, sums: torch.Tensor) -> None:
        stage = self.stage
        rate = stage.learning_rate * min(1, done * 100 + 0.01) * (1 + math.cos(math.pi * done)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for _ in range(LOOK):
            low, high = self.batches()
            value, pixels = self.loss(low.contiguous(memory_format=torch.channels_last), high)
            self.optimizer.zero_grad(set_to_none=True)
            value.backward()
            if stage.clip:
                torch.nn.utils.clip_grad_value_(self.network.parameters(), stage.clip)
            self.optimizer.step()
            sums += torch.stack([value.detach(), pixels])
        self.state["steps"] += LOOK

    def _note(self, sums: torch.Tensor, steps: int, seconds: float) -> None:
        """Add to the history, and say how it goes."""
        value, pixels = (sums / steps).tolist()
        sums.zero_()
        psnr = validate(self.network, self.held_out, self.stage, self.device)
        entry = {"steps": self.state["steps"], "loss": value, "pixels": pixels, "val_psnr": psnr}
        self.state["history"].append(entry)
        pace = self.state["steps"] * self.stage.batch / self.state["seconds"]
        left = seconds - self.state["seconds"]
        print(
            f"{self.name}: {self.state['steps']} steps, loss {value:.4g} (pixels {pixels:.4g}), "
            f"validation {psnr:.2f} dB, {pace:.0f} images/s, {left:.0f} s left",
            flush=True,
        )

    def finish(self) -> None:
        """Write the weights and what is known of them."""
        weights = {k: v.astype(np.float16) for k, v in networks.tensors(self.network).items()}
        path = self.runs / f"{self.name}.safetensors"
        write_whole(path, safetensors.numpy.save(weights))
        seen = self.state["steps"] * self.stage.batch
        about = {
            "stage": asdict(self.stage),
            "seconds": round(self.state["seconds"]),
            "steps": self.state["steps"],
            "images": seen,
            "low_resolution_pixels": seen * self.stage.crop**2,
            "history": self.state["history"],
            **before(self.stage, self.runs),
            "machine": {
                "device": torch.cuda.get_device_name()
                if self.device == "cuda"
                else f"{torch.get_num_threads()} threads of a processor",
                "torch": torch.__version__,
            },
        }
        write_whole(path.with_suffix(".json"), json.dumps(about, indent=1).encode())


def opened(data: Path, wanted: set[str], device: str) -> dict[str, tuple]:
    """By material, the pool to train on and the photos held out of it."""
    photos = material.decode(data / "photos" / "train")
    found = {
        "photos": (
            material.Pool(photos, device),
            material.decode(data / "photos" / "held_out"),
        )
    }
    if "everything" in wanted:
        clean = material.decode(data / "clean" / "train")
        saved = data / "saved" / "train"  # JPEG: as they are, and reduced, which cleans them
        textures = clean + material.decode(saved) + material.decode(saved, REDUCED)
        textures = [photo for photo in textures if min(photo.shape[:2]) >= 128]
        areas = [photo.shape[0] * photo.shape[1] for photo in textures]
        # A sixth of all crops are from the photos.
        share = sum(areas) / 5 / len(photos)
        pool = material.Pool(textures + photos, device, areas + [share] * len(photos))
        held_out = material.decode(data / "clean" / "held_out")
        found["everything"] = pool, held_out
    return found


def main(arguments: list[str] | None = None) -> int:
    """Train the named stages, or all, within the minutes given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}")
    parser.add_argument("--data", type=Path, required=True, help="what experiments.twin.pack wrote")
    parser.add_argument("--minutes", type=float, required=True, help="for all stages together")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "twin", help="kept state")
    parser.add_argument("--vgg", type=Path, help="VGG16's weights, for the perceptual stages")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--precision",
        choices=("bfloat16", "float32"),
        default="bfloat16",
        help="of the networks' arithmetic; a processor without bfloat16 is faster in float32",
    )
    parser.add_argument(
        "--compile-from",
        type=float,
        default=math.inf,
        help="compile networks that are trained for more than so many seconds (default: none)",
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.stages if name not in STAGES]
    if unknown or options.minutes <= 0:
        parser.error(f"no stage {unknown[0]}" if unknown else "--minutes must be above 0")
    chosen = options.stages or list(STAGES)
    features = losses.VGG16(options.vgg).to(options.device) if options.vgg else None
    if features is None and any(STAGES[name].perceptual for name in chosen):
        parser.error("the perceptual stages need --vgg")
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.suppress_errors = True
    began = time.monotonic()
    pools = opened(options.data, {STAGES[name].material for name in chosen}, options.device)
    for number, name in enumerate(chosen):
        left = 60 * options.minutes - (time.monotonic() - began)
        shares = sum(STAGES[other].share for other in chosen[number:])
        run = Run(name, options, pools, features)
        run.train(max(left, 1) * STAGES[name].share / shares)
        run.finish()
        print(f"{name}: {run.state['steps']} steps in {run.state['seconds']:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
