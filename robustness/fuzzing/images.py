"""Fuzzing of images and annotations, alone and as a custom data set."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from robustness.fuzzing import image_files, strategies
from robustness.fuzzing.reader import Reader, expect
from robustness.fuzzing.strategies import damaged


def read_image(value: tuple[bytes, bool], folder: Path) -> None:
    """Decode an image as one of a data set and as one that is sent to the service."""
    from src.data import image_decoding, image_opening, input_validation

    content, apply_orientation = value
    image = image_decoding.decode(content, "images/a.png", apply_orientation).image
    expect(image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size, f"{image.shape}")
    expect(image_opening.pixel_count(content, "images/a.png") == image.shape[0] * image.shape[1], "pixel count")
    sent = input_validation.read_fundus(content, "images/a.png")
    expect(sent.fov.shape == sent.image.shape[:2] and sent.fov.any(), "field of view")


class CustomFolder(NamedTuple):
    """A custom data set of images a and b: seed, number of the annotation of b, its edits, suffix, groups.csv."""

    seed: int
    annotation: int
    edits: list[tuple[int, str, bytes]]
    suffix: str
    groups: bytes | None


custom_folders = st.builds(
    CustomFolder,
    seed=st.integers(0, 20),
    annotation=st.integers(0, 1000),
    edits=st.just([]) | strategies.edits,
    suffix=st.sampled_from((".png", ".jpg", ".tif", ".gif")),
    groups=st.none() | damaged(b"id,group\na,1\nb,2\n"),
)


def read_custom_dataset(value: CustomFolder, folder: Path) -> None:
    """Read a custom data set as stage download does, and audit it."""
    from src.data import audit, entries, samples, splits

    image, vessels = image_files.synthetic_fundus(value.seed)
    annotations = image_files.annotations(value.seed)
    annotation = annotations[value.annotation % len(annotations)]
    files = {"a": image_files.encode(vessels), "b": strategies.damage(annotation.content, value.edits)}
    own = folder / "own"
    for name, content in files.items():
        for kind, data in (("images", image_files.encode(image)), ("truth", content)):
            (own / kind).mkdir(parents=True, exist_ok=True)
            (own / kind / f"{name}{value.suffix}").write_bytes(data)
    if value.groups is not None:
        (own / "groups.csv").write_bytes(value.groups)
    found = entries.custom_entries("folder", own, splits.Uses(train=False, test=True), 0.25, 1).test
    for entry in found:
        samples.write_labelled_image(folder / "test", "folder", entry.load())
    samples.write_table(folder / "test", [(entry.dataset, entry.id, entry.group) for entry in found])
    warned = audit.audit_subsets(folder, ["test"]).warnings
    expect(not any("truth/a.png" in warning for warning in warned), "a warning of a correct annotation")
    if not value.edits:
        expect(annotation.expected != "rejected", "an ambiguous annotation was accepted")
        is_warned = any("truth/b.png" in warning for warning in warned)
        expect(annotation.expected != "warned of" or is_warned, "no warning of an odd annotation")


damaged_images = st.deferred(lambda: st.sampled_from(image_files.image_files())).flatmap(damaged)
READERS = {
    "image": Reader(st.tuples(damaged_images, st.booleans()), read_image, ("images/a.png",)),
    "custom data set": Reader(custom_folders, read_custom_dataset, ("own/", "test/", "groups.csv"), cost=4),
}
