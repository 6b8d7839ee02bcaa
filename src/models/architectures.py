"""Network architectures, from a preprocessed image to the probability of vessel."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from src.models import model_io, residual_unet, tensorflow_setup
from src.models.tensorflow_setup import sm, tf

LIBRARY_ARCHITECTURES = {"unet": sm.Unet, "linknet": sm.Linknet, "fpn": sm.FPN, "pspnet": sm.PSPNet}
COMPACT_ARCHITECTURES = ("residual_unet", "residual_w_net")
ARCHITECTURES = (*LIBRARY_ARCHITECTURES, *COMPACT_ARCHITECTURES)
FIXED_SIZE = ("pspnet",)  # its pooling fixes the size of the input
SIZE_MULTIPLE = {"pspnet": 96}  # sides of the input are multiples of this
DEFAULT_SIZE_MULTIPLE = 32


def build(
    architecture: str, backbone: str, encoder_weights: str | None, filters: tuple[int, ...], size: int
) -> tf.keras.Model:
    """Build a network from (B, H, W, 3) float32 in 0..255 to (B, H, W, 1) float32 probability.

    H and W are any multiples of 32, or `size` where the architecture fixes it. A residual_w_net outputs (B, H, W, 2):
    the probability of its second and of its first network, which are trained together (see `inference_head`).

    Args:
        architecture: unet, linknet, fpn or pspnet of segmentation_models, residual_unet or residual_w_net.
        backbone: an encoder of segmentation_models, such as efficientnetb0; ignored by the compact networks.
        encoder_weights: None for random, imagenet, or the path of an .h5 of the encoder. For a compact network, the
            path of a saved residual_unet, all of whose weights are taken (in a residual_w_net by the first network).
        filters: channels of the compact networks, from full resolution down.
        size: side in pixels of the training patches, or of their crops.

    Raises:
        ValueError: an unknown name, a size that the architecture cannot take, weights that do not fit.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"model.architecture: expected one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
    multiple = SIZE_MULTIPLE.get(architecture, DEFAULT_SIZE_MULTIPLE)
    if size % multiple:
        raise ValueError(
            f"patch.size or train.crop_size: expected a multiple of {multiple} for {architecture}, got {size}"
        )
    side = size if architecture in FIXED_SIZE else None
    image = tf.keras.Input((side, side, 3), name="image")
    if architecture in LIBRARY_ARCHITECTURES:
        network = _library_network(architecture, backbone, encoder_weights, side)
        output = _sigmoid(network(_backbone_preprocessing(backbone)(image)), "probability")
    else:
        network = residual_unet.build(filters, side)
        if encoder_weights is not None:
            _load_initial_weights(network, encoder_weights)
        logit = network(image)
        output = _sigmoid(logit, "probability") if architecture == "residual_unet" else _w_net(image, logit, filters)
    return tf.keras.Model(image, output, name=architecture)


def inference_head(model: tf.keras.Model) -> tf.keras.Model:
    """Return the network without outputs that serve training alone: (B, H, W, 1) probability."""
    if model.output_shape[-1] == 1:
        return model
    return tf.keras.Model(model.input, model.get_layer("probability").output, name=model.name)


def ensemble_average(members: list[tf.keras.Model]) -> tf.keras.Model:
    """Return the network whose probability is the mean of the members'; a single member is returned as it is."""
    if len(members) == 1:
        return members[0]
    image = tf.keras.Input(members[0].input_shape[1:], name="image")
    named = [
        tf.keras.Model(member.input, member.output, name=f"member_{number}") for number, member in enumerate(members, 1)
    ]
    probability = tf.keras.layers.Average(dtype="float32", name="probability")([member(image) for member in named])
    return tf.keras.Model(image, probability, name="mean")


def as_numpy_function(model: tf.keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Return the network as a function of arrays, (B, H, W, 3) to (B, H, W, 1) float32, traced once for all sizes.

    Where one image takes longer than two (`is_slow_for_one_image`), it is predicted with a copy of itself.
    """
    traced = tf.function(lambda images: model(images, training=False), autograph=False, reduce_retracing=True)
    copies = 2 if tensorflow_setup.is_slow_for_one_image() else 1

    def forward(images: np.ndarray) -> np.ndarray:
        batch = np.repeat(images, copies, axis=0) if len(images) == 1 else images
        return traced(tf.constant(batch)).numpy()[: len(images)]

    return forward


def _w_net(image: tf.Tensor, first_logit: tf.Tensor, filters: tuple[int, ...]) -> tf.Tensor:
    """Feed image and probability of the first residual_unet to a second (Galdran et al., Scientific Reports 12, 2022).

    The output is (B, H, W, 2): the probability of the second and of the first.
    """
    first = _sigmoid(first_logit, "first")
    scaled = tf.keras.layers.Rescaling(255.0, dtype="float32")(first)
    both = tf.keras.layers.Concatenate(dtype="float32")([image, scaled])
    second = _sigmoid(residual_unet.build(filters, image.shape[1], channels=4)(both), "probability")
    return tf.keras.layers.Concatenate(dtype="float32", name="answers")([second, first])  # names are part of files


def _sigmoid(logit: tf.Tensor, name: str) -> tf.Tensor:
    return tf.keras.layers.Activation("sigmoid", dtype="float32", name=name)(logit)


def _backbone_preprocessing(backbone: str) -> tf.keras.layers.Conv2D:
    """Make a fixed 1x1 convolution from RGB in 0..255 to the form that the backbone was trained on.

    The library's own preprocessing is affine (scale, offset and order of channels), so that it is known from its
    values on black and on three colours.
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


def _load_initial_weights(network: tf.keras.Model, path: str) -> None:
    """Give a residual_unet the weights of a saved one; ValueError where the file holds another network."""
    if not Path(path).is_file():
        raise ValueError(f"model.encoder_weights: expected null or a model.h5 of a residual_unet, got {path!r}")
    weights = model_io.load(Path(path)).get_weights()
    expected, found = ([array.shape for array in arrays] for arrays in (network.get_weights(), weights))
    if expected != found:
        raise ValueError(
            f"model.encoder_weights: expected a residual_unet of one member and of model.filters in {path!r}, "
            "got another network"
        )
    network.set_weights(weights)


def _library_network(architecture: str, backbone: str, encoder_weights: str | None, side: int | None) -> tf.keras.Model:
    """Build a network of segmentation_models, from an image preprocessed for the backbone to a logit."""
    known = sm.get_available_backbone_names()
    if backbone not in known:
        raise ValueError(f"model.backbone: expected one of {', '.join(known)}, got {backbone!r}")
    if encoder_weights not in (None, "imagenet") and not Path(encoder_weights).is_file():
        raise ValueError(
            f"model.encoder_weights: expected null, imagenet or the path of an .h5, got {encoder_weights!r}"
        )
    try:
        network = LIBRARY_ARCHITECTURES[architecture](
            backbone, encoder_weights=encoder_weights, classes=1, activation="linear", input_shape=(side, side, 3)
        )
    except Exception as error:
        # Keras raises Exception itself where a download fails, OSError or ValueError where a file does not fit.
        if encoder_weights is None or type(error) not in (Exception, OSError, ValueError):
            raise
        reason = " ".join(str(error).split())
        raise ValueError(f"model.encoder_weights: {encoder_weights!r} could not be loaded: {reason}") from error
    if any(type(layer).__name__ in model_io.CODE_LAYERS for layer in network.layers):
        raise ValueError(
            f"model.backbone: expected one without Lambda layers, which no file may hold, got {backbone!r}"
        )
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = residual_unet.BATCH_NORM_MOMENTUM
    return network
