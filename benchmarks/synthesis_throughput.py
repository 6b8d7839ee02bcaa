"""Measure the generation of synthetic images on all cores: python -m benchmarks.synthesis_throughput [--images N].

Images are generated and written as stage download does, N of them and four times as many. Peak memory is that of the
largest process; it does not grow with their number.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from src.data.entries import synthetic_entries
from src.data.subset_writer import write_subsets
from src.params import load_params


def main() -> None:
    """Print a row for each number of images."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.synthesis_throughput", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--images", type=int, default=50, help="of the first row (default: 50)")
    number = parser.parse_args().images
    section = load_params().phantom
    print("| images | size | seconds | images/s | peak MB, this process | peak MB, a worker |")
    print("| --- | --- | --- | --- | --- | --- |")
    for count in (number, 4 * number):
        subsets = synthetic_entries(count, 1, section.height, section.width, section.seed)
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            write_subsets(Path(folder), {"train": subsets.train})
            seconds = time.perf_counter() - begin
        own, worker = (
            resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        size = f"{section.width}x{section.height}"
        print(f"| {count} | {size} | {seconds:.1f} | {count / seconds:.1f} | {own:.0f} | {worker:.0f} |", flush=True)


if __name__ == "__main__":
    main()
