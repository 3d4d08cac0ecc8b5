"""What more devices are worth: bytes to exchange, seconds saved, money.

Formulas, not measurements: put in what you have measured. Taught in chapter 12.
"""

from __future__ import annotations

from srlib._backend import keras


def gradient_bytes(model: keras.Model) -> int:
    """Bytes of one gradient: four for each trainable weight."""
    return 4 * sum(variable.numpy().size for variable in model.trainable_variables)


def exchanged_bytes(gradient: float, devices: int) -> float:
    """Bytes that each device sends in a step: ``2 (n - 1) / n`` times the gradient.

    That is a ring: in n - 1 rounds every device adds its part to what its
    neighbour has sent, in n - 1 more the sums go round. P. Patarasuk and
    X. Yuan, "Bandwidth Optimal All-reduce Algorithms for Clusters of
    Workstations" (2009), show that no way needs fewer.

    Args:
        gradient: bytes of the gradient.
        devices: n, at least 1.
    """
    return 2 * (devices - 1) / devices * gradient


def step_seconds(
    alone: float, devices: int, gradient: float, bandwidth: float, fixed: float = 0.0
) -> float:
    """Seconds of one step on n devices, where exchange follows computing.

    ``fixed + alone / n + exchanged_bytes / bandwidth``: the middle term shrinks
    with n, the others do not (G. Amdahl, 1967). It is a pessimist's formula in
    that an exchange may overlap with computing, an optimist's in that messages
    also have latency and devices wait for the slowest.

    Args:
        alone: seconds that one device computes for the whole batch.
        devices: n.
        gradient: bytes of the gradient.
        bandwidth: bytes a second from one device to the next.
        fixed: seconds of what every device does in full, or waits for.
    """
    return fixed + alone / devices + exchanged_bytes(gradient, devices) / bandwidth


def price(images: float, images_per_second: float, price_per_hour: float) -> float:
    """What it costs to process images on a machine that is paid by the hour.

    Args:
        images: how many.
        images_per_second: as measured on it.
        price_per_hour: of the whole machine, in any currency.
    """
    return images / images_per_second / 3600 * price_per_hour
