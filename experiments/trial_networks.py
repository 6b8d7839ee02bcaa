"""Variants of the compact U-Net that experiments try, from (B, H, W, 3) in 0..255 to probabilities (B, H, W, N)."""

from src.models import architectures, residual_unet
from src.models.tensorflow_setup import tf
from src.params import Params

layers = tf.keras.layers


def wide_unet(params: Params) -> tf.keras.Model:
    """Build the compact U-Net with 1.5 times the channels at each level."""
    filters = tuple(n_channels * 3 // 2 for n_channels in params.model.filters)
    return architectures.build("residual_unet", "", None, filters, params.patch.size)


def w_net(params: Params) -> tf.keras.Model:
    """Build a W-Net: two cascaded compact U-Nets, trained together."""
    return architectures.build("residual_w_net", "", None, params.model.filters, params.patch.size)


def full_resolution_unet(params: Params) -> tf.keras.Model:
    """Build a U-Net with the same levels and channels, whose first level is at full resolution."""
    image, filters = tf.keras.Input((None, None, 3)), params.model.filters
    x = layers.ReLU()(residual_unet.conv_batch_norm(residual_unet.standardize(image), filters[0], 3))
    return _probability(image, residual_unet.encoder_decoder(x, filters))


def concatenated_unet(params: Params) -> tf.keras.Model:
    """Build the compact U-Net with skips that are concatenated, as in the first U-Net, and not added."""
    image, filters = tf.keras.Input((None, None, 3)), params.model.filters
    standardized = residual_unet.standardize(image)
    x, skips = _encode(standardized, filters)
    for skip in reversed(skips):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
        x = residual_unet.residual_block(x, skip.shape[-1])
    return _decode(image, standardized, x, filters)


def attention_unet(params: Params) -> tf.keras.Model:
    """Build the compact U-Net with attention gates on its skips (Oktay et al., MIDL 2018)."""
    image, filters = tf.keras.Input((None, None, 3)), params.model.filters
    standardized = residual_unet.standardize(image)
    x, skips = _encode(standardized, filters)
    for skip in reversed(skips):
        n_channels = skip.shape[-1]
        below = layers.UpSampling2D()(residual_unet.conv_batch_norm(x, n_channels, 1))
        both = [residual_unet.conv_batch_norm(part, n_channels // 2, 1) for part in (skip, below)]
        gate = layers.Conv2D(1, 1, activation="sigmoid")(layers.ReLU()(layers.Add()(both)))
        x = residual_unet.residual_block(layers.Add()([below, layers.Multiply()([skip, gate])]), n_channels)
    return _decode(image, standardized, x, filters)


def _encode(standardized: tf.Tensor, filters: tuple[int, ...]) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Apply the encoder of the compact U-Net: its lowest level, and the skips from half resolution on."""
    entry = residual_unet.conv_batch_norm(standardized, filters[1], residual_unet.FIRST_KERNEL_SIZE, 2)
    x = layers.ReLU()(entry)
    skips = []
    for n_channels in filters[1:-1]:
        skips.append(residual_unet.residual_block(x, n_channels))
        x = layers.MaxPooling2D()(skips[-1])
    return residual_unet.residual_block(x, filters[-1]), skips


def _decode(image: tf.Tensor, standardized: tf.Tensor, x: tf.Tensor, filters: tuple[int, ...]) -> tf.keras.Model:
    """Apply the last levels of the compact U-Net, from half resolution to full."""
    x = layers.Concatenate()([layers.Conv2DTranspose(filters[0], 2, 2)(x), standardized])
    return _probability(image, layers.ReLU()(residual_unet.conv_batch_norm(x, filters[0], 3)))


def _probability(image: tf.Tensor, x: tf.Tensor) -> tf.keras.Model:
    probability = layers.Activation("sigmoid", dtype="float32")(residual_unet.logit(x))
    return tf.keras.Model(image, probability)
