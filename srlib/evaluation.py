"""Score models on photos by a stated protocol, beside bicubic. Taught in chapter 6."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from srlib._backend import keras
from srlib.data import pairing
from srlib.data.degrade import degrade, describe
from srlib.data.photoset import PhotoSet, is_grey
from srlib.errors import PhotoError, SrlibError
from srlib.metrics import lpips, psnr_ssim
from srlib.models.baselines import bicubic
from srlib.upscaling.network import predict

#: Photos of one size are enlarged together: up to this many of 128 px, fewer of larger ones.
BATCH = 16

#: PSNR of identical images in dB, as in `srlib.metrics.keras_metrics.PSNR`: a flat photo,
#: which any method restores, must not make means infinite and gains undefined.
CAP = 100.0


@dataclass(frozen=True)
class Protocol:
    """Everything besides the model that decides a score.

    Attributes:
        channel: ``"rgb"``, or ``"y"`` for studio-range luma. A greyscale file
            is its own luma and is not converted.
        shave: border in pixels left out.
        size: reduce each photo to this square first, as training pairs are
            made; None keeps its own size, cut to a multiple of two.
        kernel: how the low-resolution image is made: a kernel of ``srlib.resize``, or any
            steps that ``srlib.data.degrade`` knows, such as ``"box"`` or ``"noise 5, jpeg 75"``.
    """

    channel: str = "rgb"
    shave: int = 0
    size: int | None = None
    kernel: str = "bicubic"

    def __str__(self) -> str:
        """The protocol in one line, to be printed beside every number."""
        channel = "RGB" if self.channel == "rgb" else "Y of BT.601 in studio range"
        size = f"photos reduced to {self.size} px" if self.size else "photos at their own size"
        return (
            f"{channel}, {self.shave} px shaved, 8-bit rounding, mean of per-image values; "
            f"{size}, input made by {describe(self.kernel)}"
        )


#: The two protocols in use: this book's own, and that of the published tables.
PROTOCOLS = {"rgb": Protocol(), "y": Protocol("y", shave=2)}


@dataclass(frozen=True)
class Scores:
    """Per-image scores of several models on the same photos.

    Attributes:
        protocol: how they were measured.
        names: file of each photo.
        labels: class of each photo.
        psnr: model -> ``(N,)`` dB, at most 100; always holds ``"bicubic"``.
        ssim: model -> ``(N,)``.
        lpips: model -> ``(N,)``, of the whole RGB image whatever the protocol;
            empty where it was not asked for.
    """

    protocol: Protocol
    names: list[str]
    labels: list[str]
    psnr: dict[str, np.ndarray]
    ssim: dict[str, np.ndarray]
    lpips: dict[str, np.ndarray] = field(default_factory=dict)

    def summary(self) -> list[dict[str, Any]]:
        """One row a model: mean, spread, and the paired gain over bicubic."""
        rows = []
        for model, values in self.psnr.items():
            gain = values - self.psnr["bicubic"]
            rows.append(
                {
                    "model": model,
                    "psnr": float(values.mean()),
                    "sd": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
                    "median": float(np.median(values)),
                    "ssim": float(self.ssim[model].mean()),
                    "gain": float(gain.mean()),
                    "gain_interval": bootstrap_interval(gain),
                    "won": float((gain > 0).mean()),
                }
            )
            if self.lpips:
                rows[-1]["lpips"] = float(self.lpips[model].mean())
        return rows

    def as_json(self) -> dict[str, Any]:
        """Protocol, summary and every per-image value, for a result file."""
        images = [
            {"name": name, "label": label}
            | {f"psnr {m}": round(float(v[i]), 4) for m, v in self.psnr.items()}
            | {f"ssim {m}": round(float(v[i]), 5) for m, v in self.ssim.items()}
            | {f"lpips {m}": round(float(v[i]), 5) for m, v in self.lpips.items()}
            for i, (name, label) in enumerate(zip(self.names, self.labels, strict=True))
        ]
        return {"protocol": asdict(self.protocol), "summary": self.summary(), "images": images}

    def table(self) -> str:
        """The summary as text, protocol first."""
        protocol = f"{len(self.names)} photos; {self.protocol}"
        lines = [
            *textwrap.wrap(protocol, 80, break_on_hyphens=False),
            f"{'model':<20} {'PSNR':>6} {'SD':>5} {'median':>7} {'SSIM':>6} {'gain':>6} "
            f"{'95 % interval':>16} {'won':>6}" + (f" {'LPIPS':>6}" if self.lpips else ""),
        ]
        for row in self.summary():
            low, high = row["gain_interval"]
            lines.append(
                f"{row['model']:<20} {row['psnr']:6.2f} {row['sd']:5.2f} {row['median']:7.2f} "
                f"{row['ssim']:6.4f} {row['gain']:+6.2f} [{low:+6.2f}, {high:+6.2f}] "
                f"{row['won']:6.1%}" + (f" {row['lpips']:6.4f}" if self.lpips else "")
            )
        return "\n".join(lines)


def bootstrap_interval(
    values: np.ndarray, confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (B. Efron, 1979).

    Args:
        values: ``(photos,)``; or ``(runs, photos)``, the same photos seen by
            several trained networks: runs and photos are then both redrawn.
        confidence: share of the means inside.
        draws: how many means.
        seed: of the draws.
    """
    values, rng = np.atleast_2d(values), np.random.default_rng(seed)
    runs, photos = values.shape
    means = []
    for _ in range(draws):  # one at a time: all at once would take gigabytes for 100,000 photos
        columns = rng.integers(0, photos, photos)
        rows = rng.integers(0, runs, runs) if runs > 1 else np.zeros(1, int)
        means.append(values[np.ix_(rows, columns)].mean())
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means, (tail, 100 - tail))
    return float(low), float(high)


def truth_of(photo: np.ndarray, protocol: Protocol) -> np.ndarray:
    """What a protocol takes as the truth: a reduced square, or the photo cut to even sides."""
    if protocol.size:
        return pairing.square(photo, protocol.size)
    even = pairing.even(photo)
    if min(even.shape[:2]) < 16:
        raise PhotoError(f"{photo.shape[1]}x{photo.shape[0]} pixels, too small to score")
    return even


@dataclass(frozen=True)
class Row:
    """One photo, enlarged by one model and scored by one protocol.

    Attributes:
        place: of the photo in its set.
        model: its name.
        protocol: how it was scored.
        psnr: in dB, at most 100.
        ssim: from -1 to 1.
        lpips: of the whole RGB image whatever the protocol; None where not asked for.
    """

    place: int
    model: str
    protocol: Protocol
    psnr: float
    ssim: float
    lpips: float | None = None


def scored(
    models: Mapping[str, keras.Model],
    photos: PhotoSet,
    protocols: Sequence[Protocol],
    *,
    with_lpips: bool = False,
) -> Iterator[Row]:
    """Enlarge every photo once by each model, and score it by every protocol.

    Args:
        models: name -> model.
        photos: truths, read one at a time; unusable ones are skipped with a named warning.
        protocols: of one size and kernel, so that one enlargement serves them all.
        with_lpips: measure LPIPS too.

    Yields:
        Of each model and protocol the rows in the order of the photos.
    """
    sizes_and_kernels = {(protocol.size, protocol.kernel) for protocol in protocols}
    if len(sizes_and_kernels) != 1:
        raise SrlibError(f"one enlargement cannot serve all of {sizes_and_kernels}")
    for batch in _batches(photos, protocols[0]):
        truths = np.stack(batch.truths)
        inputs = degrade(truths, protocols[0].kernel)
        for name, model in models.items():
            both = truths, predict(model, inputs)
            distances = lpips.lpips(*both) if with_lpips else [None] * len(truths)
            for protocol in protocols:
                # The values of a greyscale file are luma already (chapter 6).
                channel = "rgb" if batch.grey else protocol.channel
                psnr = psnr_ssim.psnr(*both, channel=channel, shave=protocol.shave)
                ssim = psnr_ssim.ssim(*both, channel=channel, shave=protocol.shave)
                columns: tuple[Any, ...] = (batch.places, np.minimum(psnr, CAP), ssim, distances)
                for place, *values in zip(*columns, strict=True):
                    yield Row(place, name, protocol, *values)


def collected(rows: Iterable[Row], photos: PhotoSet) -> dict[Protocol, Scores]:
    """The rows of :func:`scored`, protocol by protocol; bicubic's must be among them."""
    by_protocol: dict[Protocol, dict[str, list[Row]]] = {}
    for row in rows:
        by_protocol.setdefault(row.protocol, {}).setdefault(row.model, []).append(row)
    found = {}
    for protocol, of in by_protocol.items():
        columns = {
            key: {
                model: np.array([getattr(row, key) for row in kept]) for model, kept in of.items()
            }
            for key in ("psnr", "ssim", "lpips")
            if getattr(of["bicubic"][0], key) is not None
        }
        places = [row.place for row in of["bicubic"]]
        names = [photos.paths[place].name for place in places]
        labels = [photos.labels[place] for place in places]
        found[protocol] = Scores(protocol, names, labels, **columns)
    return found


def evaluate(
    models: Mapping[str, keras.Model],
    photos: PhotoSet,
    protocol: Protocol = PROTOCOLS["rgb"],
    *,
    with_lpips: bool = False,
) -> Scores:
    """Score models, and always bicubic, on the same photos.

    Args:
        models: name -> model; ``"bicubic"`` is added.
        photos: from ``srlib.data.photos``; each is a truth, its half-size
            version the input. Photos are read one at a time.
        protocol: how to score.
        with_lpips: measure LPIPS too, which needs its weights; see ``srlib.metrics.lpips``.

    Returns:
        Per-image values; unusable photos are skipped with a named warning.

    Raises:
        PhotoError: when no photo could be scored.
        srlib.metrics.lpips.LPIPSWeightsError: when LPIPS has no weights.
    """
    models = {"bicubic": bicubic()} | {k: m for k, m in models.items() if k != "bicubic"}
    found = collected(scored(models, photos, [protocol], with_lpips=with_lpips), photos)
    if not found:
        raise PhotoError(f"{photos.source}: none of its {len(photos)} photos could be scored")
    return found[protocol]


@dataclass
class _Batch:
    """Truths ``(H, W, 3)`` of one size that follow each other, all from grey files or none."""

    grey: bool
    truths: list[np.ndarray] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def takes(self, truth: np.ndarray, grey: bool) -> bool:
        fits = (len(self.truths) + 1) * truth.size <= BATCH * 128 * 128 * 3
        return fits and self.grey == grey and self.truths[0].shape == truth.shape


def _batches(photos: PhotoSet, protocol: Protocol) -> Iterator[_Batch]:
    batch = None
    for place, path in enumerate(photos.paths):
        try:
            truth = truth_of(photos[place], protocol)
        except PhotoError as error:
            photos.skip(place, str(error))
            continue
        grey = is_grey(path)
        if batch is None or not batch.takes(truth, grey):
            if batch:
                yield batch
            batch = _Batch(grey)
        batch.truths.append(truth)
        batch.places.append(place)
    if batch:
        yield batch
