"""What a benchmark ran on, in words, for the record beside its figures."""

import os
import platform
from pathlib import Path

import torch

from course_utils.device import best_device


def machine():
    device = best_device()
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else f"no accelerator ({device})"
    return (
        f"{cpu()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {accelerator}; "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def cpu():
    """The processor's name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
