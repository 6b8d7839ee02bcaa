"""Public data sets by name, the official hashes of their files, and their splits."""

from pathlib import Path

from src.data import dataset_layouts
from src.data.dataset_types import Record
from src.data.splits import Subsets

MANIFESTS = Path(__file__).parent / "manifests"
LAYOUTS = (
    *(dataset_layouts.drive, dataset_layouts.chase_db1, dataset_layouts.stare, dataset_layouts.hrf),
    *(dataset_layouts.rbv, dataset_layouts.dr_hagis, dataset_layouts.les_av, dataset_layouts.fives),
)
PUBLIC = {dataset.name: dataset for dataset in (layout() for layout in LAYOUTS)}


def manifest(name: str) -> dict[str, str]:
    """Read the SHA-256 of each file of a public data set, by its place in the official layout (RBV: below `Data`)."""
    lines = (MANIFESTS / f"{name}.sha256").read_text(encoding="utf-8").splitlines()
    return {file.strip().removeprefix("Data/"): digest for digest, file in (line.split(maxsplit=1) for line in lines)}


def official_split(name: str, split: str) -> Subsets[Record]:
    """Return the training and test images of a public data set; with split `all` every image is a test image."""
    dataset = PUBLIC[name]
    known: dict[str, frozenset[str]] = {"all": frozenset(), **dataset.splits}
    if split not in known:
        raise ValueError(f"data.splits.{name}: expected one of {', '.join(sorted(known))}, got {split!r}")
    train = tuple(record for record in dataset.records if record.id in known[split])
    return Subsets(train, tuple(record for record in dataset.records if record.id not in known[split]))
