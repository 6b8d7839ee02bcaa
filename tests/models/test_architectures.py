import numpy as np
import pytest

from src.models import architectures, model_io, residual_unet, tensorflow_setup
from src.models.tensorflow_setup import tf

IMAGE = np.random.default_rng(1).integers(0, 256, (1, 64, 96, 3)).astype(np.float32)
FILTERS = (4, 8)


@pytest.fixture(scope="module")
def unet() -> tf.keras.Model:
    return architectures.build("unet", "vgg16", None, FILTERS, 64)


def test_output_is_a_probability_of_the_image_s_shape(unet):
    probability = unet(IMAGE).numpy()
    assert probability.shape == (1, 64, 96, 1)
    assert probability.dtype == np.float32
    assert ((probability >= 0) & (probability <= 1)).all()


@pytest.mark.parametrize("slow_for_one_image", [False, True])
def test_numpy_function_computes_what_the_network_does(slow_for_one_image, unet, monkeypatch):
    monkeypatch.setattr(tensorflow_setup, "is_slow_for_one_image", lambda: slow_for_one_image)
    forward = architectures.as_numpy_function(unet)
    for images in (IMAGE, IMAGE[:, :32], np.concatenate([IMAGE, 255 - IMAGE])):
        probability = forward(images)
        assert isinstance(probability, np.ndarray)
        assert probability.shape == (*images.shape[:3], 1)
        assert np.allclose(probability, unet(images), atol=1e-5)


@pytest.mark.parametrize("backbone", ["efficientnetb0", "vgg16", "mobilenetv2", "resnet34"])
def test_backbone_preprocessing_is_that_of_the_library(backbone):
    import segmentation_models as sm

    ours = architectures._backbone_preprocessing(backbone)(IMAGE).numpy()
    assert np.allclose(ours, sm.get_preprocessing(backbone)(IMAGE.copy()), atol=1e-3)


def test_batch_normalisation_adapts_within_a_few_steps():
    model = architectures.build("unet", "vgg16", None, FILTERS, 64)
    layers = [layer for layer in model.layers[2].layers if "BatchNormalization" in type(layer).__name__]
    first = layers[0].moving_mean.numpy()
    means = []
    for _ in range(2):
        model(IMAGE, training=True)
        means.append(layers[0].moving_mean.numpy())
    ratio = (means[1] - means[0]) / (means[0] - first)  # the same batch twice: the distance shrinks by .9
    assert np.allclose(ratio, residual_unet.BATCH_NORM_MOMENTUM, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("unet", "efficientnetb9", None, FILTERS, 64),
            "model.backbone: expected one of .*efficientnetb0.*'efficientnetb9'",
        ),
        (
            ("segnet", "vgg16", None, FILTERS, 64),
            "model.architecture: expected one of unet, linknet, fpn, pspnet, residual_unet, residual_w_net",
        ),
        (
            ("pspnet", "vgg16", None, FILTERS, 64),
            "patch.size or train.crop_size: expected a multiple of 96 for pspnet, got 64",
        ),
        (
            ("unet", "mobilenetv2", "no/such.h5", FILTERS, 64),
            "model.encoder_weights: .*path of an .h5, got 'no/such.h5'",
        ),
        (
            ("residual_unet", "mobilenetv2", "imagenet", FILTERS, 64),
            "model.encoder_weights: expected null or a model.h5 of a residual_unet, got 'imagenet'",
        ),
    ],
)
def test_unknown_choice_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        architectures.build(*arguments)


@pytest.mark.parametrize(
    ("architecture", "size"),
    [("linknet", 64), ("fpn", 64), ("pspnet", 96), ("residual_unet", 64), ("residual_w_net", 64)],
)
def test_every_architecture_maps_an_image_to_a_probability(architecture, size):
    model = architectures.inference_head(architectures.build(architecture, "vgg16", None, FILTERS, size))
    assert model(np.zeros((2, size, size, 3), np.float32)).shape == (2, size, size, 1)


@pytest.mark.parametrize("filters", [(4, 8), (4, 8, 8), (16, 32, 64, 128)])
def test_residual_unet_has_a_level_for_each_width(filters):
    model = residual_unet.build(filters, None)
    assert model(np.zeros((1, 32, 64, 3), np.float32)).shape == (1, 32, 64, 1)
    pools = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.MaxPooling2D)]
    assert len(pools) == len(filters) - 2  # the first convolution halves as well


def test_residual_unet_depends_on_every_pixel():
    tf.keras.utils.set_random_seed(1)  # with other weights, an inactive unit may hide a pixel
    image = tf.Variable(np.random.default_rng(1).integers(0, 256, (1, 16, 16, 3)).astype(np.float32))
    with tf.GradientTape() as tape:
        output = residual_unet.build((4, 8), None)(image)[0, 8, 8, 0]
    gradient = np.abs(tape.gradient(output, image).numpy()).sum(axis=(0, 3))
    assert (gradient[5:12, 5:12] > 0).all()


def test_residual_unet_standardises_the_preprocessed_image():
    first = residual_unet.build(FILTERS, None).layers[1]
    assert np.allclose(first(np.array([[92.0, 128.0, 164.0]])), [[-1, 0, 1]], atol=1e-6)


def test_saved_ensemble_predicts_the_mean_of_its_members(tmp_path):
    members = [architectures.build("residual_unet", "", None, FILTERS, 64) for _ in range(3)]
    expected = np.mean([member(IMAGE) for member in members], axis=0)
    model_io.save(architectures.ensemble_average(members), tmp_path / "model.h5")
    assert np.allclose(model_io.load(tmp_path / "model.h5")(IMAGE), expected, atol=1e-6)
    assert np.ptp([member(IMAGE) for member in members], axis=0).max() > 1e-3


def test_ensemble_of_one_member_is_that_network(unet):
    assert architectures.ensemble_average([unet]) is unet


def test_weights_that_do_not_fit_are_named(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"model\.encoder_weights: .*weights\.h5' could not be loaded"):
        architectures.build("unet", "vgg16", str(path), FILTERS, 64)


def test_residual_unet_starts_from_an_earlier_network(tmp_path):
    earlier = architectures.build("residual_unet", "", None, FILTERS, 64)
    model_io.save(earlier, tmp_path / "model.h5")
    network = architectures.build("residual_unet", "", str(tmp_path / "model.h5"), FILTERS, 64)
    image = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    assert np.array_equal(network(image), earlier(image))
    assert network.name == "residual_unet"


@pytest.mark.parametrize(("filters", "members"), [((4, 8, 8), 1), (FILTERS, 2)])
def test_residual_unet_does_not_start_from_another_network(tmp_path, filters, members):
    other = architectures.ensemble_average(
        [architectures.build("residual_unet", "", None, filters, 64) for _ in range(members)]
    )
    model_io.save(other, tmp_path / "model.h5")
    with pytest.raises(ValueError, match=r"encoder_weights: expected a residual_unet of one member .*model\.h5"):
        architectures.build("residual_unet", "", str(tmp_path / "model.h5"), FILTERS, 64)


def test_inference_head_of_a_w_net_is_its_second_output(tmp_path):
    earlier = architectures.build("residual_unet", "", None, FILTERS, 64)
    model_io.save(earlier, tmp_path / "unet.h5")
    network = architectures.build("residual_w_net", "", str(tmp_path / "unet.h5"), FILTERS, 64)
    second, first = np.moveaxis(network(IMAGE).numpy(), -1, 0)
    assert np.allclose(first, earlier(IMAGE)[..., 0], atol=1e-6)
    model_io.save(architectures.inference_head(network), tmp_path / "model.h5")
    kept = model_io.load(tmp_path / "model.h5")
    assert np.allclose(kept(IMAGE)[..., 0], second, atol=1e-6)
    assert np.abs(second - first).max() > 1e-3
    assert kept.count_params() == network.count_params()


def test_second_network_of_a_w_net_depends_on_the_first():
    network = architectures.build("residual_w_net", "", None, FILTERS, 64)
    first = network.get_layer(index=1)
    before = architectures.inference_head(network)(IMAGE).numpy()
    first.set_weights([np.zeros_like(weights) for weights in first.get_weights()])
    assert np.abs(architectures.inference_head(network)(IMAGE) - before).max() > 1e-4


def test_network_of_one_output_is_its_own_inference_head(unet):
    assert architectures.inference_head(unet) is unet


def test_failed_download_is_one_message(monkeypatch):
    def fail(*_, **__):
        raise Exception("URL fetch failure on https://example.org/weights.h5: None")

    monkeypatch.setitem(architectures.LIBRARY_ARCHITECTURES, "unet", fail)
    with pytest.raises(ValueError, match=r"model\.encoder_weights: 'imagenet' could not be loaded: URL fetch failure"):
        architectures.build("unet", "mobilenetv2", "imagenet", FILTERS, 64)


def test_backbone_with_lambda_layers_is_rejected_before_training(monkeypatch):
    layer = tf.keras.layers.Lambda(lambda x: x)
    monkeypatch.setitem(
        architectures.LIBRARY_ARCHITECTURES, "unet", lambda *_, **__: tf.keras.Sequential([tf.keras.Input((2,)), layer])
    )
    with pytest.raises(ValueError, match=r"^model\.backbone: expected one without Lambda layers.*, got 'seresnet18'$"):
        architectures.build("unet", "seresnet18", None, FILTERS, 64)
