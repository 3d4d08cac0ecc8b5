"""The machine at hand: what it is, and the fastest precision it computes natively.

Taught in appendix A.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

from srlib._backend import keras, tf


def fast_precision() -> str:
    """The fastest dtype policy that this machine computes natively.

    bfloat16 where the CPU has instructions for it (AVX512-BF16 or AMX) or the
    GPU is Ampere or later; float16 on older GPUs with tensor cores; float32
    everywhere else, where half precision would be emulated and slow.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")
        if capability and capability >= (8, 0):
            return "mixed_bfloat16"
        return "mixed_float16" if capability and capability >= (7, 0) else "float32"
    flags = set(_cpu_info("flags").split())
    return "mixed_bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"


def machine() -> dict[str, str]:
    """What computed a result: processor, cores, versions. For cards and result files."""
    processor = _cpu_info("model name") or platform.processor() or platform.machine()
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {
        "device": ", ".join(gpus) or f"{processor}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def _cpu_info(key: str) -> str:
    """An entry of the first processor in /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return ""
    values = [line.split(":", 1)[1].strip() for line in lines if line.startswith(key)]
    return values[0] if values else ""
