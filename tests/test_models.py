import h5py
import numpy as np
import pytest

from src import models
from src.backend import tf

IMAGE = np.random.default_rng(1).integers(0, 256, (1, 64, 96, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def unet() -> tf.keras.Model:
    return models.build("unet", "mobilenetv2", None, 64)


def test_output_is_a_probability_of_the_image_s_shape(unet):
    probability = unet(IMAGE).numpy()
    assert probability.shape == (1, 64, 96, 1)
    assert probability.dtype == np.float32
    assert ((probability >= 0) & (probability <= 1)).all()


def test_saved_network_predicts_the_same(unet, tmp_path):
    models.save(unet, tmp_path / "model.h5")
    assert np.array_equal(models.load(tmp_path / "model.h5")(IMAGE), unet(IMAGE))


def test_same_weights_give_the_same_bytes(unet, tmp_path):
    for name in ("a", "b"):
        models.save(unet, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("backbone", ["efficientnetb0", "vgg16", "mobilenetv2", "resnet34"])
def test_input_form_is_the_library_s_own_preprocessing(backbone):
    import segmentation_models as sm

    ours = models._input_form(backbone)(IMAGE).numpy()
    assert np.allclose(ours, sm.get_preprocessing(backbone)(IMAGE.copy()), atol=1e-3)


def test_batch_normalisation_follows_within_a_few_steps():
    model = models.build("unet", "mobilenetv2", None, 64)
    layers = [layer for layer in model.layers[2].layers if "BatchNormalization" in type(layer).__name__]
    first = layers[0].moving_mean.numpy()
    moved = []
    for _ in range(2):
        model(IMAGE, training=True)
        moved.append(layers[0].moving_mean.numpy())
    ratio = (moved[1] - moved[0]) / (moved[0] - first)  # the same batch twice: what is left of the way shrinks by .9
    assert np.allclose(ratio, models.MOMENTUM, atol=1e-3)


def test_mixed_precision_network_is_saved_in_float32():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = models.build("linknet", "mobilenetv2", None, 64)
        weights = mixed.get_weights()
        plain = models.in_float32(mixed)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert {layer.compute_dtype for layer in plain.layers[2].layers} == {"float32"}
    assert all(np.array_equal(a, b) for a, b in zip(weights, plain.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("unet", "efficientnetb9", None, 64), "model.backbone: expected one of .*efficientnetb0.*'efficientnetb9'"),
        (("segnet", "vgg16", None, 64), "model.architecture: expected one of unet, linknet, fpn, pspnet"),
        (("pspnet", "mobilenetv2", None, 64), "patch.size: expected a multiple of 96 for pspnet, got 64"),
        (("unet", "mobilenetv2", "no/such.h5", 64), "model.encoder_weights: .*path of an .h5, got 'no/such.h5'"),
    ],
)
def test_unknown_choice_is_named(arguments, said):
    with pytest.raises(ValueError, match=said):
        models.build(*arguments)


@pytest.mark.parametrize(("architecture", "size"), [("linknet", 64), ("fpn", 64), ("pspnet", 96)])
def test_every_architecture_maps_an_image_to_a_probability(architecture, size):
    model = models.build(architecture, "mobilenetv2", None, size)
    assert model(np.zeros((2, size, size, 3), np.float32)).shape == (2, size, size, 1)


def test_weights_that_do_not_fit_are_named(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"model\.encoder_weights: .*weights\.h5' could not be loaded"):
        models.build("unet", "mobilenetv2", str(path), 64)


def test_download_that_fails_is_one_sentence(monkeypatch):
    def refused(*_, **__):
        raise Exception("URL fetch failure on https://example.org/weights.h5: None")

    monkeypatch.setitem(models.ARCHITECTURES, "unet", refused)
    with pytest.raises(ValueError, match=r"model\.encoder_weights: 'imagenet' could not be loaded: URL fetch failure"):
        models.build("unet", "mobilenetv2", "imagenet", 64)


def test_missing_model_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.h5: missing"):
        models.load(tmp_path / "model.h5")


def test_file_that_is_no_model_is_named(tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"model\.h5: expected a model saved as \.h5"):
        models.load(path)


def test_model_file_without_a_network_is_named(tmp_path):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w"):
        pass
    with pytest.raises(ValueError, match=r"model\.h5: expected a model saved as \.h5"):
        models.load(path)


def test_lambda_layer_is_refused(tmp_path):
    model = tf.keras.Sequential([tf.keras.layers.Lambda(lambda x: x + 1, input_shape=(2,))])
    models.save(model, tmp_path / "model.h5")
    with pytest.raises(ValueError, match="without Lambda layers"):
        models.load(tmp_path / "model.h5")
