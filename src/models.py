"""The networks: photograph, prepared, to probability of vessel. The only importer of segmentation_models."""

import builtins
import contextlib
import io
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from src import files, residual_unet
from src.backend import tf

import segmentation_models as sm  # isort: skip  (needs what src.backend sets)

LIBRARY = {"unet": sm.Unet, "linknet": sm.Linknet, "fpn": sm.FPN, "pspnet": sm.PSPNet}
COMPACT = ("residual_unet", "residual_w_net")
ARCHITECTURES = (*LIBRARY, *COMPACT)
STEP = {"pspnet": 96}  # sides a network takes are multiples of this
DEFAULT_STEP = 32
CALLERS = ("Lambda", "TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod")  # layers that call what they say
DAMAGE = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError)  # what h5py and Keras raise of it
LIBRARIES = ("keras", "tf_keras", "efficientnet", "classification_models", "segmentation_models")


def _input_form(backbone: str) -> tf.keras.layers.Conv2D:
    """A fixed 1x1 convolution from RGB in 0..255 to the form that the backbone was trained on.

    The library's own preprocessing is affine (scale, offset and order of channels), so that it is known from
    its values on black and on three colours.
    """
    probe = np.vstack([np.zeros((1, 3)), 255.0 * np.eye(3)]).astype(np.float32).reshape(4, 1, 1, 3)
    black, *colours = np.asarray(sm.get_preprocessing(backbone)(probe), np.float32).reshape(4, 3)
    kernel = np.stack([(colour - black) / 255.0 for colour in colours])
    return tf.keras.layers.Conv2D(
        filters=3,
        kernel_size=1,
        weights=[kernel.reshape(1, 1, 3, 3), black],
        trainable=False,
        dtype="float32",
        name="input_form",
    )


def build(
    architecture: str, backbone: str, encoder_weights: str | None, filters: tuple[int, ...], size: int
) -> tf.keras.Model:
    """A network from (B, H, W, 3) float32 in 0..255 to (B, H, W, 1) float32 probability.

    H and W are any multiples of 32; with `pspnet`, whose pooling fixes them, they are `size`. A residual_w_net is two
    residual_unets, of which the second sees the photograph and what the first has found (Galdran et al., Scientific
    Reports 12, 2022); it answers (B, H, W, 2), second and first, so that both are trained: see `final`.

    Args:
        architecture: unet, linknet, fpn or pspnet of segmentation_models, residual_unet or residual_w_net.
        backbone: an encoder of segmentation_models, such as efficientnetb0; the compact networks have none.
        encoder_weights: None for random, imagenet, or the path of an .h5 of the encoder; for a compact network, that
            of a residual_unet that an earlier run saved: all its weights are taken, in a residual_w_net by the first.
        filters: the widths of the compact networks, from full resolution down.
        size: side of the training patches in pixels.

    Raises:
        ValueError: an unknown name, a size that the architecture cannot take, weights that do not fit.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"model.architecture: expected one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
    step = STEP.get(architecture, DEFAULT_STEP)
    if size % step:
        raise ValueError(f"patch.size: expected a multiple of {step} for {architecture}, got {size}")
    side = size if architecture in STEP else None
    image = tf.keras.Input((side, side, 3), name="image")
    if architecture in COMPACT:
        network = residual_unet.build(filters, side)
        if encoder_weights is not None:
            _start_from(network, encoder_weights)
        logit = network(image)
    else:
        logit = _of_library(architecture, backbone, encoder_weights, side)(_input_form(backbone)(image))
    if architecture != "residual_w_net":
        return tf.keras.Model(image, _probability(logit, "probability"), name=architecture)
    first = _probability(logit, "first")
    found = tf.keras.layers.Rescaling(255.0, dtype="float32")(first)
    seen = tf.keras.layers.Concatenate(dtype="float32")([image, found])
    second = _probability(residual_unet.build(filters, side, channels=4)(seen), "probability")
    answers = tf.keras.layers.Concatenate(dtype="float32", name="answers")([second, first])
    return tf.keras.Model(image, answers, name=architecture)


def final(model: tf.keras.Model) -> tf.keras.Model:
    """The network without those of its answers that are there for training alone: (B, H, W, 1) probability."""
    if model.output_shape[-1] == 1:
        return model
    return tf.keras.Model(model.input, model.get_layer("probability").output, name=model.name)


def mean(members: list[tf.keras.Model]) -> tf.keras.Model:
    """The network whose probability is the mean of the members'; a single member is itself."""
    if len(members) == 1:
        return members[0]
    image = tf.keras.Input(members[0].input_shape[1:], name="image")
    named = [
        tf.keras.Model(member.input, member.output, name=f"member_{number}") for number, member in enumerate(members, 1)
    ]
    probability = tf.keras.layers.Average(dtype="float32", name="probability")([member(image) for member in named])
    return tf.keras.Model(image, probability, name="mean")


def _probability(logit: tf.Tensor, name: str) -> tf.Tensor:
    return tf.keras.layers.Activation("sigmoid", dtype="float32", name=name)(logit)


def _start_from(network: tf.keras.Model, path: str) -> None:
    """Give a residual_unet the weights of a saved one; ValueError where that is another network."""
    if not Path(path).is_file():
        raise ValueError(f"model.encoder_weights: expected null or a model.h5 of a residual_unet, got {path!r}")
    weights = load(Path(path)).get_weights()
    expected, found = ([array.shape for array in arrays] for arrays in (network.get_weights(), weights))
    if expected != found:
        raise ValueError(
            f"model.encoder_weights: expected a residual_unet of one member and of model.filters in {path!r}, "
            "got another network"
        )
    network.set_weights(weights)


def _of_library(architecture: str, backbone: str, encoder_weights: str | None, side: int | None) -> tf.keras.Model:
    """A network of segmentation_models, from an image in the backbone's own form to a logit."""
    known = sm.get_available_backbone_names()
    if backbone not in known:
        raise ValueError(f"model.backbone: expected one of {', '.join(known)}, got {backbone!r}")
    if encoder_weights not in (None, "imagenet") and not Path(encoder_weights).is_file():
        raise ValueError(
            f"model.encoder_weights: expected null, imagenet or the path of an .h5, got {encoder_weights!r}"
        )
    make = LIBRARY[architecture]
    try:
        network = make(
            backbone, encoder_weights=encoder_weights, classes=1, activation="linear", input_shape=(side, side, 3)
        )
    except Exception as error:
        # Keras raises Exception itself where a download fails, OSError or ValueError where a file does not fit.
        if encoder_weights is None or type(error) not in (Exception, OSError, ValueError):
            raise
        reason = " ".join(str(error).split())
        raise ValueError(f"model.encoder_weights: {encoder_weights!r} could not be loaded: {reason}") from error
    if any(type(layer).__name__ in CALLERS for layer in network.layers):
        raise ValueError(
            f"model.backbone: expected one without Lambda layers, which no file may hold, got {backbone!r}"
        )
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = residual_unet.MOMENTUM
    return network


def forward(model: tf.keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """The network as a function of arrays, (B, H, W, 3) float32 to (B, H, W, 1) float32; traced once for all sizes."""
    traced = tf.function(lambda images: model(images, training=False), autograph=False, reduce_retracing=True)
    return lambda images: traced(tf.constant(images)).numpy()


def in_float32(model: tf.keras.Model) -> tf.keras.Model:
    """The same network and weights without mixed precision: what is saved predicts alike everywhere."""
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


def save(model: tf.keras.Model, path: Path) -> None:
    """Write network and weights as .h5 without the optimizer: the same bytes for the same weights.

    It is made in memory first: HDF5 crashes the process where a disk is full.
    """
    content = io.BytesIO()
    with warnings.catch_warnings(), h5py.File(content, "w") as file:
        warnings.filterwarnings("ignore", "You are saving your model as an HDF5 file")  # .keras holds a date
        tf.keras.models.save_model(model, file, include_optimizer=False, save_format="h5")
    files.write_bytes(path, content.getvalue())


def load(path: Path) -> tf.keras.Model:
    """The network of a file that `save` wrote, not compiled.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a model file, or one that could run code of its author: with a Lambda layer or its kin, or
            with the name of a function or class of another library than those that make networks.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; run `dvc repro train`")
    with _damage_named(path), h5py.File(path, "r") as file:
        config = json.loads(file.attrs["model_config"])
    _refuse_code(config, path)
    with _damage_named(path):
        return tf.keras.models.load_model(path, compile=False)


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """In the block, what the libraries raise over a damaged file becomes one sentence."""
    try:
        yield
    except DAMAGE as error:
        raise ValueError(f"{path}: expected a model saved as .h5, got {' '.join(str(error).split())}") from error


def _refuse_code(config: object, path: Path) -> None:
    """Refuse a network's description, or a part of it, that would call what the file names."""
    parts = list(config.values()) if isinstance(config, dict) else config if isinstance(config, list) else []
    if isinstance(config, dict):
        name, module = config.get("class_name"), config.get("module")
        if name in CALLERS:
            raise ValueError(
                f"{path}: expected a model without Lambda layers, got one that runs code of its own: {name}"
            )
        of_python = module == "builtins" and not hasattr(builtins, str(config.get("config")))  # an activation by name
        if module is not None and not of_python and str(module).split(".")[0] not in LIBRARIES:
            raise ValueError(f"{path}: expected a model of {', '.join(LIBRARIES)}, got one that names {module!r:.80}")
    for part in parts:
        _refuse_code(part, path)
