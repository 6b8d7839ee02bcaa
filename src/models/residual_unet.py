"""Compact U-Net of residual blocks, at half resolution and below, with random initial weights.

U-Net: Ronneberger et al., MICCAI 2015; residual blocks: He et al., CVPR 2016. In the decoder, skip connections are
added and not concatenated, as in LinkNet (Chaurasia & Culurciello, VCIP 2017). The first convolution has stride 2 and
many channels, so that no pixel is lost. Half the resolution with twice the channels costs as many operations, which
CPUs compute faster and in half the memory.
"""

from src.models.tensorflow_setup import tf

layers = tf.keras.layers
INTENSITY_MEAN, INTENSITY_STD = 128.0, 36.0  # of a preprocessed image
BATCH_NORM_MOMENTUM = 0.9  # Keras's .99 lags behind in trainings of a few hundred steps
INITIAL_LOGIT_BIAS = -2.0  # its sigmoid is about 1/8, the fraction of vessel pixels
FIRST_KERNEL_SIZE = 6  # pixels: 3x3 positions of its stride of 2


def build(filters: tuple[int, ...], side: int | None, channels: int = 3) -> tf.keras.Model:
    """Build a network from (B, H, W, channels) in 0..255 to a logit (B, H, W, 1).

    Args:
        filters: channels of each level, from full resolution down, at least two levels; H and W are multiples of
            2 ** (levels - 1).
        side: H and W where they are fixed, else None.
        channels: of the input: red, green and blue, and any more.
    """
    image = tf.keras.Input((side, side, channels))
    standardized = standardize(image)
    x = layers.ReLU()(conv_batch_norm(standardized, filters[1], FIRST_KERNEL_SIZE, stride=2))
    x = encoder_decoder(x, filters[1:])
    x = layers.Concatenate()([layers.Conv2DTranspose(filters[0], 2, strides=2)(x), standardized])
    x = layers.ReLU()(conv_batch_norm(x, filters[0], 3))
    return tf.keras.Model(image, logit(x))


def standardize(image: tf.Tensor) -> tf.Tensor:
    """Standardise a preprocessed image, in float32: bfloat16 cannot hold 256 intensities."""
    return layers.Rescaling(1 / INTENSITY_STD, -INTENSITY_MEAN / INTENSITY_STD, dtype="float32")(image)


def logit(x: tf.Tensor) -> tf.Tensor:
    """Reduce to one logit a pixel, (B, H, W, 1), by a 1x1 convolution."""
    return layers.Conv2D(1, 1, bias_initializer=tf.keras.initializers.Constant(INITIAL_LOGIT_BIAS))(x)


def encoder_decoder(x: tf.Tensor, filters: tuple[int, ...]) -> tf.Tensor:
    """Apply an encoder and a decoder with skip connections; output: the resolution of `x`, `filters[0]` channels."""
    skips = []
    for n_channels in filters[:-1]:
        skips.append(residual_block(x, n_channels))
        x = layers.MaxPooling2D()(skips[-1])
    x = residual_block(x, filters[-1])
    for skip in reversed(skips):
        x = layers.UpSampling2D()(conv_batch_norm(x, skip.shape[-1], 1))
        x = residual_block(layers.Add()([x, skip]), skip.shape[-1])
    return x


def residual_block(x: tf.Tensor, n_channels: int) -> tf.Tensor:
    """Add two 3x3 convolutions to a shortcut, which is a 1x1 convolution where the number of channels changes."""
    shortcut = x if x.shape[-1] == n_channels else conv_batch_norm(x, n_channels, 1)
    y = conv_batch_norm(layers.ReLU()(conv_batch_norm(x, n_channels, 3)), n_channels, 3)
    return layers.ReLU()(layers.Add()([shortcut, y]))


def conv_batch_norm(x: tf.Tensor, n_channels: int, kernel_size: int, stride: int = 1) -> tf.Tensor:
    """Apply a convolution without bias, then batch normalisation."""
    x = layers.Conv2D(n_channels, kernel_size, stride, padding="same", use_bias=False, kernel_initializer="he_normal")(
        x
    )
    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
