"""Phantoms a second, drawn on all cores and written as stage download does: python -m benchmarks.phantoms.

Peak memory is that of the largest process; it does not grow with their number.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from src import download
from src.params import load_params


def main() -> None:
    """Print a row for some phantoms, and for four times as many."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.phantoms", description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=50, help="of the first row; default 50")
    number = parser.parse_args().number
    section = load_params().phantom
    print("phantoms  size     seconds  a second  peak MB of this process, of a worker")
    for count in (number, 4 * number):
        subsets = download.phantoms(count, 1, section.height, section.width, section.seed)
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            download.write(Path(folder), {"train": subsets.train})
            seconds = time.perf_counter() - begin
        peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        size = f"{section.width}x{section.height}"
        print(f"{count:8}  {size}  {seconds:7.1f}  {count / seconds:8.1f}  {peaks[0]:.0f}, {peaks[1]:.0f}", flush=True)


if __name__ == "__main__":
    main()
