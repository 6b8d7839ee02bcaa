"""A compact U-Net of residual blocks at half resolution and below, refined at full resolution, from random weights.

U-Net: Ronneberger et al., MICCAI 2015; residual blocks: He et al., CVPR 2016. On the way up, the skip is added to
what comes from below rather than put beside it, as in LinkNet (Chaurasia & Culurciello, VCIP 2017). Nothing is
lost at the entrance: a convolution of stride 2 with many filters sees every pixel. Half the resolution with twice the
width costs the same operations, which processors do faster, on half the memory.
"""

from src.backend import tf

layers = tf.keras.layers
NEUTRAL, SPREAD = 128.0, 36.0  # mean and standard deviation of a prepared photograph
MOMENTUM = 0.9  # of batch normalisation; Keras's .99 lags behind in trainings of a few hundred steps
RARE = -2.0  # first bias of the logit: about one pixel in eight is vessel
ENTRANCE = 6  # pixels, side of the first convolution: 3x3 of its steps of 2


def build(filters: tuple[int, ...], side: int | None, channels: int = 3) -> tf.keras.Model:
    """A network from (B, H, W, channels) in 0..255 to a logit (B, H, W, 1).

    Args:
        filters: width of each level, from full resolution down, at least two; H and W are multiples of
            2 ** (levels - 1).
        side: H and W where they are fixed, else None.
        channels: red, green and blue, and whatever else there is to see.
    """
    image = tf.keras.Input((side, side, channels))
    standard = standardised(image)
    x = levels(layers.ReLU()(convolution(standard, filters[1], ENTRANCE, stride=2)), filters[1:])
    x = layers.Concatenate()([layers.Conv2DTranspose(filters[0], 2, strides=2)(x), standard])
    x = layers.ReLU()(convolution(x, filters[0], 3))
    return tf.keras.Model(image, logit(x))


def standardised(image: tf.Tensor) -> tf.Tensor:
    """A prepared photograph at mean 0 and deviation 1, in float32: in bfloat16, 256 grey levels would become fewer."""
    return layers.Rescaling(1 / SPREAD, -NEUTRAL / SPREAD, dtype="float32")(image)


def logit(x: tf.Tensor) -> tf.Tensor:
    """One number a pixel, of which the sigmoid is a probability."""
    return layers.Conv2D(1, 1, bias_initializer=tf.keras.initializers.Constant(RARE))(x)


def levels(x: tf.Tensor, widths: tuple[int, ...]) -> tf.Tensor:
    """Down through the widths and up again, to the resolution of `x` and the first width."""
    skips = []
    for width in widths[:-1]:
        skips.append(residual_block(x, width))
        x = layers.MaxPooling2D()(skips[-1])
    x = residual_block(x, widths[-1])
    for skip in reversed(skips):
        x = layers.UpSampling2D()(convolution(x, skip.shape[-1], 1))
        x = residual_block(layers.Add()([x, skip]), skip.shape[-1])
    return x


def residual_block(x: tf.Tensor, width: int) -> tf.Tensor:
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the width changes."""
    shortcut = x if x.shape[-1] == width else convolution(x, width, 1)
    y = convolution(layers.ReLU()(convolution(x, width, 3)), width, 3)
    return layers.ReLU()(layers.Add()([shortcut, y]))


def convolution(x: tf.Tensor, width: int, side: int, stride: int = 1) -> tf.Tensor:
    """A convolution of `side` x `side` with batch normalisation in place of a bias."""
    x = layers.Conv2D(width, side, stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    return layers.BatchNormalization(momentum=MOMENTUM)(x)
