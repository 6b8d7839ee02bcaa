"""Fuzzing of patches, Keras models and packaged networks."""

import functools
import io
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from robustness.fuzzing import strategies
from robustness.fuzzing.reader import Reader, expect
from robustness.fuzzing.strategies import damaged, damaged_json

PACKAGED = Path("models/compact.onnx")


NPY_HEADER_BYTES = 128


@functools.cache
def patch_arrays() -> dict[str, bytes]:
    """Return the .npy files of two patches, and one that would have to be unpickled."""
    shape, found = (2, 8, 8), {}
    for kind, array in {"images": np.zeros((*shape, 3), np.uint8), "truth": np.zeros(shape, bool)}.items():
        for name, saved in ((kind, array), (f"{kind} of objects", array.astype(object))):
            stream = io.BytesIO()
            np.save(stream, saved)
            found[name] = stream.getvalue()
    return found


def patch_files() -> SearchStrategy[tuple[str, bytes]]:
    """Generate the kind and the content of the one array that is damaged, most often in its header."""
    found = []
    for name, content in patch_arrays().items():
        header, data = content[:NPY_HEADER_BYTES], content[NPY_HEADER_BYTES:]
        header_damaged = st.tuples(damaged(header), st.just(data)).map(b"".join)
        found.append(st.tuples(st.just(name.partition(" ")[0]), header_damaged | damaged(content)))
    return st.one_of(found)


def read_patches(value: tuple[str, bytes], folder: Path) -> None:
    """Read a set of patches."""
    from src.preprocessing import patch_storage

    arrays = patch_arrays()
    for kind, content in {"images": arrays["images"], "truth": arrays["truth"], "fov": arrays["truth"]}.items():
        (folder / f"{kind}.npy").write_bytes(content)
    (folder / f"{value[0]}.npy").write_bytes(value[1])
    read = patch_storage.read(folder)
    expect(read.images.shape[:3] == read.truth.shape == read.fov.shape, "shapes")


@functools.cache
def keras_model() -> bytes:
    """Return the file of a small network."""
    from src.models import architectures, model_io

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        model_io.save(architectures.build("residual_unet", "", None, (2, 2), 32), path)
        return path.read_bytes()


def read_keras_model(content: bytes, folder: Path) -> None:
    """Load a network of stage train."""
    from src.models import model_io

    path = folder / "model.h5"
    path.write_bytes(content)
    expect(model_io.load(path).output_shape[-1] == 1, "network")


class PackagedNetwork(NamedTuple):
    """A packaged network: edits of its bytes, and its settings (None: its own)."""

    edits: list[tuple[int, str, bytes]]
    settings: bytes | None


@functools.cache
def packaged_network() -> tuple[bytes, str]:
    """Return the shipped network and its settings."""
    import onnx

    content = PACKAGED.read_bytes()
    return content, {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}["settings"]


def packaged_networks() -> SearchStrategy[PackagedNetwork]:
    """Generate the shipped network with damaged bytes, or with other settings."""
    settings = damaged_json(packaged_network()[1])
    return st.builds(PackagedNetwork, strategies.edits, st.none()) | st.builds(PackagedNetwork, st.just([]), settings)


def read_onnx_model(value: PackagedNetwork, folder: Path) -> None:
    """Load a packaged network with its settings."""
    import onnx

    from src.inference.onnx_model import OnnxModel

    content, path = packaged_network()[0], folder / "model.onnx"
    if value.settings is not None:
        model = onnx.load_from_string(content)
        onnx.helper.set_model_props(model, {"settings": value.settings.decode("utf-8", "replace")})
        content = model.SerializeToString()
    path.write_bytes(strategies.damage(content, value.edits))
    settings = OnnxModel(path).settings
    expect(
        all(isinstance(side, int) for side in (settings.fov_diameter, settings.tile, settings.overlap)), f"{settings}"
    )
    expect(isinstance(settings.threshold, float) and 0 < settings.threshold < 1, f"{settings}")
    expect(isinstance(settings.tta_scales, tuple), f"{settings}")


damaged_keras_models = st.deferred(lambda: damaged(keras_model()))
READERS = {
    "patches": Reader(st.deferred(patch_files), read_patches, (".npy",)),
    "model.h5": Reader(damaged_keras_models, read_keras_model, ("model.h5",), cost=20, limit_memory=False),
    "model.onnx": Reader(st.deferred(packaged_networks), read_onnx_model, ("model.onnx",), cost=4),
}
