"""What of an enlargement's detail is recovered, and what is invented.

The small photo holds no frequency, across or down, above half of its own resolution. Whatever
the enlargement shows there comes from the network's experience with other
photos. Where the truth is known, that detail can be split in two: the part that
goes with the truth, and the part that does not. Taught in chapter 9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from srlib.errors import SrlibError
from srlib.metrics.spectrum import hann_spectrum
from srlib.pixels import y_channel

#: The highest frequency that an image at half size can hold, in cycles per pixel.
LIMIT = 0.25


@dataclass(frozen=True)
class Detail:
    """Detail by frequency, averaged over images.

    All but the frequencies are energies: squared grey levels of the luma per
    pixel and band, so that they add up to the images' variance.

    Attributes:
        frequencies: of the bands' middles, in cycles per pixel, up to 0.5: the larger
            of the frequencies across and down. What a grid of pixels can hold is a
            square in the plane of frequencies, so the bands are square rings.
        truth: what there is; always ``recovered + missing``.
        prediction: what is shown; always ``recovered + invented``.
        recovered: what both have in common.
        invented: what is shown and not there.
        missing: what is there and not shown.
    """

    frequencies: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    recovered: np.ndarray
    invented: np.ndarray
    missing: np.ndarray

    def beyond(self, limit: float = LIMIT) -> dict[str, float]:
        """Shares of the truth's energy in the bands above ``limit``."""
        above = self.frequencies > limit
        whole = self.truth[above].sum()
        parts = {"recovered": self.recovered, "invented": self.invented, "missing": self.missing}
        return {name: float(part[above].sum() / whole) for name, part in parts.items()}


def detail(truth: np.ndarray, prediction: np.ndarray, bands: int = 20) -> Detail:
    """Compare a prediction's detail with the truth's, frequency by frequency.

    What both have in common is their covariance in a band of the spectrum, over
    all images together; what either has beyond that is invented or missing. The
    squared error of a band is the sum of these two. (Only where a prediction is
    a mere fainter copy of the truth does their covariance exceed the
    prediction's own energy. Then all of it is recovered, none invented.) A
    network trained on squared errors that has learnt what can be known invents
    nothing by this measure: it leaves out what it cannot know.

    Args:
        truth: uint8, or float in [0, 1], ``(N, H, W, 3)``.
        prediction: of the same shape.
        bands: square rings between no frequency and 0.5 cycles per pixel.

    Raises:
        ValueError: when the shapes differ or are no batch of RGB images.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape or truth.ndim != 4 or truth.shape[-1] != 3:
        raise SrlibError(
            f"expected two batches (N, H, W, 3) of one shape, not {truth.shape} "
            f"and {prediction.shape}"
        )
    height, width = truth.shape[1:3]
    down, across = (np.abs(np.fft.fftfreq(size)) for size in (height, width))
    edges = np.linspace(0, 0.5, bands + 1)
    ring = np.digitize(np.maximum(down[:, None], across), edges[1:-1])
    sums = np.zeros((3, bands))
    for pair in zip(truth, prediction, strict=True):
        a, b = (
            hann_spectrum(y_channel(image)[..., 0], periodic=False) / np.sqrt(height * width)
            for image in pair
        )
        for row, product in enumerate((np.abs(a) ** 2, np.abs(b) ** 2, (a.conj() * b).real)):
            sums[row] += np.bincount(ring.ravel(), product.ravel(), bands)
    real, seen, common = sums / len(truth)
    recovered = np.clip(common, 0, np.minimum(real, seen))  # against the truth is no recovery
    return Detail(
        frequencies=(edges[1:] + edges[:-1]) / 2,
        truth=real,
        prediction=seen,
        recovered=recovered,
        invented=seen - recovered,
        missing=real - recovered,
    )
