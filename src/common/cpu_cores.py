"""Number of CPU cores that this process may use."""

import os


def available_cores() -> int:
    """Return the number of cores of the process's CPU affinity; of the machine where the system knows no affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
