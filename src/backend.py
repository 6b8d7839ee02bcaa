"""TensorFlow with the settings that a run needs; imported in place of tensorflow by every module that uses it."""

import os

# segmentation_models needs the legacy Keras; both must be set before tensorflow is first imported.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["SM_FRAMEWORK"] = "tf.keras"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow leaves oneDNN off on processors without AVX-512, where it makes training 1.5 times faster, too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Of a GPU's memory take what is needed, also where a model is served.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import tensorflow as tf

__all__ = [
    "configure",
    "described",
    "devices",
    "emulates_bfloat16",
    "gathered",
    "set_precision",
    "set_seed",
    "strategy",
    "tf",
]

BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # what Linux calls instructions that compute in it: two of x86-64, Arm's


def configure(threads: int, seed: int = 0, mixed_precision: bool = False) -> None:
    """Fix threads, seed, determinism and precision for this process, before any tensor is made.

    On a CPU the number of threads decides the order of sums and so the last bits of the weights. Where GPUs are
    visible, nothing is promised of these, as TensorFlow has no deterministic gradient of nearest-neighbour upsampling
    there, which the networks need; it takes as many threads as it likes, and float32 is float32 and not TF32, in which
    a network would score otherwise than as exported. For `mixed_precision` see `set_precision`.
    """
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_tensor_float_32_execution(False)
    else:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf.config.experimental.enable_op_determinism()
    set_seed(seed)
    # Dropout draws from variables that a checkpoint can hold, not from a state inside TensorFlow's kernels.
    tf.keras.backend.experimental.enable_tf_random_generator()
    set_precision(mixed_precision)


def set_precision(mixed_precision: bool) -> None:
    """What the layers made from now on compute in: float32, or float16 on a GPU and bfloat16 on the CPU."""
    kind = "mixed_float16" if tf.config.list_physical_devices("GPU") else "mixed_bfloat16"
    tf.keras.mixed_precision.set_global_policy(kind if mixed_precision else "float32")


def set_seed(seed: int) -> None:
    """Begin all random numbers of Python, NumPy and TensorFlow anew from this seed."""
    tf.keras.utils.set_random_seed(seed)


def devices() -> list[tuple]:
    """What a network is trained on: the name of each device, and the model and compute capability of a GPU.

    Another model sums in another order, although its name is `/physical_device:GPU:0` all the same.
    """
    found = tf.config.list_physical_devices()
    details = map(tf.config.experimental.get_device_details, found)
    return [
        (d.name, more.get("device_name"), more.get("compute_capability"))
        for d, more in zip(found, details, strict=True)
    ]


def described() -> str:
    """In words, what this process computes on and in which precision."""
    gpus = len(tf.config.list_physical_devices("GPU"))
    where = f"{gpus} GPUs" if gpus > 1 else "a GPU" if gpus else "the CPU"
    return f"{where} in {tf.keras.mixed_precision.global_policy().name}"


def emulates_bfloat16(processor: list[str]) -> bool:
    """Whether layers made now would compute in bfloat16 on a processor (see `checkpoints`) without instructions for it.

    Not where the system does not tell the processor's features.
    """
    features = [line.split() for line in processor if line.startswith(("flags", "Features"))]
    policy = tf.keras.mixed_precision.global_policy().name
    return policy == "mixed_bfloat16" and bool(features) and not BFLOAT16.intersection(*features)


def strategy(workers: int = 1) -> tf.distribute.Strategy:
    """All `workers` of TF_CONFIG where they are several, all visible GPUs where there are several, else the one device.

    A batch is shared among them. Every worker runs the same command and ends with the same weights and tables; call
    this before any tensor is made.
    """
    if workers > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    several = len(tf.config.list_physical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()


def gathered(strategy: tf.distribute.Strategy, digest: str) -> list[str]:
    """The digests, hexadecimal and equally long, one of each worker, in the order of the cluster."""
    mine = tf.constant([list(bytes.fromhex(digest))], tf.int32)  # made out here: devices of one worker count once
    everyone = strategy.run(tf.function(lambda: tf.distribute.get_replica_context().all_gather(mine, axis=0)))
    return [bytes(row).hex() for row in strategy.experimental_local_results(everyone)[0].numpy().tolist()]
