"""Saving and loading of networks as .h5."""

import builtins
import contextlib
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import h5py

from src.common import atomic_io
from src.models.tensorflow_setup import tf

CODE_LAYERS = ("Lambda", "TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod")  # call what a file names
READ_ERRORS = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError)  # of h5py and Keras
TRUSTED_LIBRARIES = ("keras", "tf_keras", "efficientnet", "classification_models", "segmentation_models")

# Keras warns whenever a network is saved that is not compiled, such as an ensemble.
tf.get_logger().addFilter(lambda record: "Compiled the loaded model" not in record.getMessage())


def save(model: tf.keras.Model, path: Path) -> None:
    """Write network and weights as .h5 without the optimizer: the same bytes for the same weights.

    The file is made in memory first: on a full disk, HDF5 crashes the process.
    """
    content = io.BytesIO()
    with warnings.catch_warnings(), h5py.File(content, "w") as file:
        warnings.filterwarnings("ignore", "You are saving your model as an HDF5 file")  # .keras holds a date
        tf.keras.models.save_model(model, file, include_optimizer=False, save_format="h5")
    atomic_io.write_bytes(path, content.getvalue())


def load(path: Path) -> tf.keras.Model:
    """Load the network of a file that `save` wrote, not compiled.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a model file, or one that could run code of its author: with a Lambda layer or the like, or
            with a function or class of any library but TRUSTED_LIBRARIES.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; run `dvc repro train`")
    with _read_errors_as_value_error(path), h5py.File(path, "r") as file:
        config = json.loads(file.attrs["model_config"])
    _reject_code(config, path)
    with _read_errors_as_value_error(path):
        return tf.keras.models.load_model(path, compile=False)


def as_float32(model: tf.keras.Model) -> tf.keras.Model:
    """Rebuild a network without mixed precision, with the same weights: what is saved predicts alike everywhere."""
    if tf.keras.mixed_precision.global_policy().name == "float32":
        return model
    tf.keras.mixed_precision.set_global_policy("float32")
    tf.keras.backend.clear_session()
    config = json.dumps(model.get_config())
    for policy in ("mixed_bfloat16", "mixed_float16"):
        config = config.replace(f'"{policy}"', '"float32"')
    copy = tf.keras.Model.from_config(json.loads(config))
    copy.set_weights(model.get_weights())
    return copy


@contextlib.contextmanager
def _read_errors_as_value_error(path: Path) -> Iterator[None]:
    """Turn what the libraries raise over a damaged file into one ValueError that names it."""
    try:
        yield
    except READ_ERRORS as error:
        raise ValueError(f"{path}: expected a model saved as .h5, got {' '.join(str(error).split())}") from error


def _reject_code(config: object, path: Path) -> None:
    """Raise ValueError if the description of a network, or a part of it, would call what the file names."""
    parts = list(config.values()) if isinstance(config, dict) else config if isinstance(config, list) else []
    if isinstance(config, dict):
        name, module = config.get("class_name"), config.get("module")
        if name in CODE_LAYERS:
            raise ValueError(
                f"{path}: expected a model without Lambda layers, got one that runs code of its own: {name}"
            )
        activation = module == "builtins" and not hasattr(builtins, str(config.get("config")))  # named by a string
        if module is not None and not activation and str(module).split(".")[0] not in TRUSTED_LIBRARIES:
            raise ValueError(
                f"{path}: expected a model of {', '.join(TRUSTED_LIBRARIES)}, got one that names {module!r:.80}"
            )
    for part in parts:
        _reject_code(part, path)
