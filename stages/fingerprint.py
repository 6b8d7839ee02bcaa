"""List the files of a custom data set with their SHA-256, so that DVC notices a change of any of them."""

from pathlib import Path

from src.data import fingerprint_tables
from src.stage_runner import run_stage


def main(folder: Path, table: Path) -> None:
    """Write the fingerprint of the data set in `folder` to `table`."""
    fingerprint_tables.write(table, folder)


if __name__ == "__main__":
    run_stage(main, lambda params: {})
