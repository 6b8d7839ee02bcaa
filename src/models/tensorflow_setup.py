"""TensorFlow and segmentation_models with the settings that a run needs; all modules import both from here.

segmentation_models registers layers without which its networks cannot be loaded.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from src.common.processor import processor_features
from src.common.project_root import real_root

# segmentation_models needs the legacy Keras; both must be set before tensorflow is first imported.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["SM_FRAMEWORK"] = "tf.keras"
# 0: all messages, 1: no information, 2: no warnings, 3: no errors.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow leaves oneDNN off on processors without AVX-512, where it makes training twice as fast, too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Of a GPU's memory take what is needed, also where a model is served.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

LOG_FILE = Path("logs") / "tensorflow.log"
STDERR = 2  # the file descriptor that TensorFlow's C++ code prints to
BFLOAT16_FEATURES = {"avx512_bf16", "amx_bf16", "bf16"}  # Linux's names of bfloat16 instructions: x86-64 (two), Arm


def _open_log() -> BinaryIO | None:
    """Open LOG_FILE of the project in the current folder, to append.

    None outside a project (where a model is served), where it cannot be written, and where the user asks for
    TensorFlow's messages by TF_CPP_MIN_LOG_LEVEL 0 or 1.
    """
    root = real_root(Path.cwd())
    asked = os.environ["TF_CPP_MIN_LOG_LEVEL"] in ("0", "1")
    if asked or sys.stderr is None or not (root / "params.yaml").is_file():
        return None
    with contextlib.suppress(OSError):
        (root / LOG_FILE).parent.mkdir(exist_ok=True)
        return (root / LOG_FILE).open("ab")
    return None


@contextlib.contextmanager
def _stderr_to_log() -> Iterator[None]:
    """Redirect stderr of the process to the log, if there is one, for the length of a block; errors still propagate.

    While TensorFlow is imported and first looks for devices, TF_CPP_MIN_LOG_LEVEL does not silence it.
    """
    log = _open_log()
    if log is None:
        yield
        return
    with log:
        original = os.dup(STDERR)
        os.dup2(log.fileno(), STDERR)
        try:
            yield
        finally:
            os.dup2(original, STDERR)
            os.close(original)


with _stderr_to_log():
    import tensorflow as tf

    tf.config.list_physical_devices()

with contextlib.redirect_stdout(io.StringIO()):  # it prints which Keras it uses
    import segmentation_models as sm

__all__ = [
    "Device",
    "configure",
    "describe_devices",
    "distribution_strategy",
    "gather_fingerprints",
    "is_slow_for_one_image",
    "list_devices",
    "set_precision",
    "set_seed",
    "sm",
    "supports_mixed_precision",
    "tf",
]


class Device(NamedTuple):
    """A device that networks are trained on; model and compute capability are those of a GPU."""

    name: str
    model: str | None
    compute_capability: tuple[int, int] | None


def configure(threads: int, seed: int = 0, mixed_precision: bool = False) -> None:
    """Fix threads, seed, determinism and precision of this process, before any tensor is made.

    On a CPU the number of threads decides the order of sums and so the last bits of the weights. On GPUs training is
    not deterministic: TensorFlow has no deterministic gradient of nearest-neighbour upsampling there, which the
    networks need. There it chooses the threads itself, and TF32 is off, in which a network would score otherwise than
    its export does. For `mixed_precision` see `set_precision`.
    """
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_tensor_float_32_execution(False)
    else:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf.config.experimental.enable_op_determinism()
    set_seed(seed)
    # Dropout then keeps its random state in variables, which a checkpoint can hold, and not in TensorFlow's kernels.
    tf.keras.backend.experimental.enable_tf_random_generator()
    set_precision(mixed_precision)


def set_precision(mixed_precision: bool) -> None:
    """Set the precision of the layers made from now on: float32, or mixed with float16 (GPU) or bfloat16 (CPU).

    On a processor that would emulate bfloat16 it stays float32, which is several times as fast there.
    """
    mixed = "mixed_float16" if tf.config.list_physical_devices("GPU") else "mixed_bfloat16"
    policy = mixed if mixed_precision and supports_mixed_precision() else "float32"
    tf.keras.mixed_precision.set_global_policy(policy)


def supports_mixed_precision() -> bool:
    """Say whether there is a GPU, or a processor that has bfloat16 or does not tell its features."""
    if tf.config.list_physical_devices("GPU"):
        return True
    features = processor_features()
    return not features or bool(features & BFLOAT16_FEATURES)


def is_slow_for_one_image() -> bool:
    """Say whether oneDNN is ten times as slow for a batch of one as of two: on an x86 processor without AVX-512."""
    if os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0" or tf.config.list_physical_devices("GPU"):
        return False
    features = processor_features()
    return "avx2" in features and "avx512f" not in features


def set_seed(seed: int) -> None:
    """Seed the random numbers of Python, NumPy and TensorFlow."""
    tf.keras.utils.set_random_seed(seed)


def list_devices() -> list[Device]:
    """List the devices of this process; another model of GPU sums in another order."""
    devices = tf.config.list_physical_devices()
    details = map(tf.config.experimental.get_device_details, devices)
    return [
        Device(device.name, detail.get("device_name"), detail.get("compute_capability"))
        for device, detail in zip(devices, details, strict=True)
    ]


def describe_devices() -> str:
    """Say in words on what and in which precision this process computes."""
    gpus = len(tf.config.list_physical_devices("GPU"))
    where = f"{gpus} GPUs" if gpus > 1 else "a GPU" if gpus else "the CPU"
    return f"{where} in {tf.keras.mixed_precision.global_policy().name}"


def distribution_strategy(workers: int = 1) -> tf.distribute.Strategy:
    """Return the strategy for all workers of TF_CONFIG if there are several, else all visible GPUs, else one device.

    A batch is divided among them. Every worker runs the same command and ends with the same weights and tables. Call
    this before any tensor is made.
    """
    if workers > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    several = len(tf.config.list_physical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()


def gather_fingerprints(strategy: tf.distribute.Strategy, fingerprint: str) -> list[str]:
    """Gather the fingerprint of each worker, hexadecimal and equally long, in the order of the cluster."""
    own = tf.constant([list(bytes.fromhex(fingerprint))], tf.int32)  # out here: several devices of a worker count once
    gathered = strategy.run(tf.function(lambda: tf.distribute.get_replica_context().all_gather(own, axis=0)))
    return [bytes(row).hex() for row in strategy.experimental_local_results(gathered)[0].numpy().tolist()]
