"""The processor: its name and features, and the number of cores that this process may use."""

import os
import platform
from pathlib import Path


def available_cores() -> int:
    """Return the number of cores of the process's CPU affinity; of the machine where the system knows no affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_processor() -> list[str]:
    """Describe the processor by name and features, as far as the system tells."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    descriptive = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return [platform.machine(), platform.processor(), *sorted(descriptive)]


def processor_features() -> frozenset[str]:
    """Return the processor's features as Linux names them, such as avx2; empty where the system does not tell."""
    lines = [line for line in describe_processor() if line.startswith(("flags", "Features"))]
    return frozenset(name for line in lines for name in line.partition(":")[2].split())
