import json

import h5py
import numpy as np
import pytest

from src import models, residual_unet
from src.backend import tf

IMAGE = np.random.default_rng(1).integers(0, 256, (1, 64, 96, 3)).astype(np.float32)
FILTERS = (4, 8, 8)


@pytest.fixture(scope="module")
def unet() -> tf.keras.Model:
    return models.build("unet", "mobilenetv2", None, FILTERS, 64)


def test_output_is_a_probability_of_the_image_s_shape(unet):
    probability = unet(IMAGE).numpy()
    assert probability.shape == (1, 64, 96, 1)
    assert probability.dtype == np.float32
    assert ((probability >= 0) & (probability <= 1)).all()


def test_network_maps_arrays_to_arrays_as_it_maps_tensors(unet):
    forward = models.forward(unet)
    for image in (IMAGE, IMAGE[:, :32]):
        probability = forward(image)
        assert isinstance(probability, np.ndarray)
        assert np.allclose(probability, unet(image), atol=1e-6)


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
    model = models.build("unet", "mobilenetv2", None, FILTERS, 64)
    layers = [layer for layer in model.layers[2].layers if "BatchNormalization" in type(layer).__name__]
    first = layers[0].moving_mean.numpy()
    moved = []
    for _ in range(2):
        model(IMAGE, training=True)
        moved.append(layers[0].moving_mean.numpy())
    ratio = (moved[1] - moved[0]) / (moved[0] - first)  # the same batch twice: what is left of the way shrinks by .9
    assert np.allclose(ratio, residual_unet.MOMENTUM, atol=1e-3)


def test_mixed_precision_network_is_saved_in_float32():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = models.build("linknet", "mobilenetv2", None, FILTERS, 64)
        weights = mixed.get_weights()
        plain = models.in_float32(mixed)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert {layer.compute_dtype for layer in plain.layers[2].layers} == {"float32"}
    assert all(np.array_equal(a, b) for a, b in zip(weights, plain.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("unet", "efficientnetb9", None, FILTERS, 64),
            "model.backbone: expected one of .*efficientnetb0.*'efficientnetb9'",
        ),
        (
            ("segnet", "vgg16", None, FILTERS, 64),
            "model.architecture: expected one of unet, linknet, fpn, pspnet, residual_unet, residual_w_net",
        ),
        (("pspnet", "mobilenetv2", None, FILTERS, 64), "patch.size: expected a multiple of 96 for pspnet, got 64"),
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
def test_unknown_choice_is_named(arguments, said):
    with pytest.raises(ValueError, match=said):
        models.build(*arguments)


@pytest.mark.parametrize(
    ("architecture", "size"),
    [("linknet", 64), ("fpn", 64), ("pspnet", 96), ("residual_unet", 64), ("residual_w_net", 64)],
)
def test_every_architecture_maps_an_image_to_a_probability(architecture, size):
    model = models.final(models.build(architecture, "mobilenetv2", None, FILTERS, size))
    assert model(np.zeros((2, size, size, 3), np.float32)).shape == (2, size, size, 1)


@pytest.mark.parametrize("filters", [(4, 8), (4, 8, 8), (16, 32, 64, 128)])
def test_residual_unet_has_a_level_for_each_width(filters):
    model = residual_unet.build(filters, None)
    assert model(np.zeros((1, 32, 64, 3), np.float32)).shape == (1, 32, 64, 1)
    pools = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.MaxPooling2D)]
    assert len(pools) == len(filters) - 2  # the first halving is that of the entrance


def test_residual_unet_sees_every_pixel():
    tf.keras.utils.set_random_seed(1)  # with other weights, a unit that is off may hide a pixel
    image = tf.Variable(np.random.default_rng(1).integers(0, 256, (1, 16, 16, 3)).astype(np.float32))
    with tf.GradientTape() as tape:
        middle = residual_unet.build((4, 8), None)(image)[0, 8, 8, 0]
    seen = np.abs(tape.gradient(middle, image).numpy()).sum(axis=(0, 3))
    assert (seen[5:12, 5:12] > 0).all()


def test_residual_unet_sees_the_prepared_photograph_standardised():
    first = residual_unet.build(FILTERS, None).layers[1]
    assert np.allclose(first(np.array([[92.0, 128.0, 164.0]])), [[-1, 0, 1]], atol=1e-6)


def test_mean_of_members_is_saved_and_predicts_their_mean(tmp_path):
    members = [models.build("residual_unet", "", None, FILTERS, 64) for _ in range(3)]
    expected = np.mean([member(IMAGE) for member in members], axis=0)
    models.save(models.mean(members), tmp_path / "model.h5")
    assert np.allclose(models.load(tmp_path / "model.h5")(IMAGE), expected, atol=1e-6)
    assert np.ptp([member(IMAGE) for member in members], axis=0).max() > 1e-3


def test_a_single_member_is_the_network_itself(unet):
    assert models.mean([unet]) is unet


@pytest.mark.parametrize("architecture", models.COMPACT)
def test_mean_in_mixed_precision_is_saved_in_float32(architecture):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = models.mean([models.final(models.build(architecture, "", None, FILTERS, 64)) for _ in range(2)])
        weights = mixed.get_weights()
        plain = models.in_float32(mixed)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert all(np.array_equal(a, b) for a, b in zip(weights, plain.get_weights(), strict=True))
    assert plain(IMAGE).shape == (*IMAGE.shape[:3], 1)
    kinds = {layer.compute_dtype for member in plain.layers[1:3] for layer in member.layers}
    assert kinds == {plain.layers[-1].compute_dtype} == {"float32"}


def test_weights_that_do_not_fit_are_named(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"model\.encoder_weights: .*weights\.h5' could not be loaded"):
        models.build("unet", "mobilenetv2", str(path), FILTERS, 64)


def test_residual_unet_starts_from_an_earlier_network(tmp_path):
    earlier = models.build("residual_unet", "", None, FILTERS, 64)
    models.save(earlier, tmp_path / "model.h5")
    network = models.build("residual_unet", "", str(tmp_path / "model.h5"), FILTERS, 64)
    image = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    assert np.array_equal(network(image), earlier(image))
    assert network.name == "residual_unet"


@pytest.mark.parametrize(("filters", "members"), [((4, 8), 1), (FILTERS, 2)])
def test_residual_unet_does_not_start_from_another_network(tmp_path, filters, members):
    other = models.mean([models.build("residual_unet", "", None, filters, 64) for _ in range(members)])
    models.save(other, tmp_path / "model.h5")
    with pytest.raises(ValueError, match=r"encoder_weights: expected a residual_unet of one member .*model\.h5"):
        models.build("residual_unet", "", str(tmp_path / "model.h5"), FILTERS, 64)


def test_w_net_is_two_networks_of_which_the_last_is_kept(tmp_path):
    earlier = models.build("residual_unet", "", None, FILTERS, 64)
    models.save(earlier, tmp_path / "unet.h5")
    network = models.build("residual_w_net", "", str(tmp_path / "unet.h5"), FILTERS, 64)
    second, first = np.moveaxis(network(IMAGE).numpy(), -1, 0)
    assert np.allclose(first, earlier(IMAGE)[..., 0], atol=1e-6)
    models.save(models.final(network), tmp_path / "model.h5")
    kept = models.load(tmp_path / "model.h5")
    assert np.allclose(kept(IMAGE)[..., 0], second, atol=1e-6)
    assert np.abs(second - first).max() > 1e-3
    assert kept.count_params() == network.count_params()


def test_second_network_of_a_w_net_sees_what_the_first_has_found():
    network = models.build("residual_w_net", "", None, FILTERS, 64)
    first = network.get_layer(index=1)
    before = models.final(network)(IMAGE).numpy()
    first.set_weights([np.zeros_like(weights) for weights in first.get_weights()])
    assert np.abs(models.final(network)(IMAGE) - before).max() > 1e-4


def test_a_network_of_one_answer_is_final(unet):
    assert models.final(unet) is unet


def test_download_that_fails_is_one_sentence(monkeypatch):
    def refused(*_, **__):
        raise Exception("URL fetch failure on https://example.org/weights.h5: None")

    monkeypatch.setitem(models.LIBRARY, "unet", refused)
    with pytest.raises(ValueError, match=r"model\.encoder_weights: 'imagenet' could not be loaded: URL fetch failure"):
        models.build("unet", "mobilenetv2", "imagenet", FILTERS, 64)


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


def test_backbone_with_lambda_layers_is_refused_before_it_is_trained(monkeypatch):
    layer = tf.keras.layers.Lambda(lambda x: x)
    monkeypatch.setitem(models.LIBRARY, "unet", lambda *_, **__: tf.keras.Sequential([tf.keras.Input((2,)), layer]))
    with pytest.raises(ValueError, match=r"^model\.backbone: expected one without Lambda layers.*, got 'seresnet18'$"):
        models.build("unet", "seresnet18", None, FILTERS, 64)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"class_name": "TFOpLambda"}, "without Lambda layers, got one that runs code of its own: TFOpLambda"),
        ({"module": "os", "class_name": "function", "config": "system"}, "got one that names 'os'"),
        ({"module": "builtins", "class_name": "function", "config": "eval"}, "got one that names 'builtins'"),
    ],
)
def test_model_file_that_names_code_is_refused(tmp_path, part, said):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"config": {"layers": [{"config": {"activation": part}}]}})
    with pytest.raises(ValueError, match=rf"model\.h5: expected a model .*{said}"):
        models.load(path)


@pytest.mark.parametrize("config", ["{", "[" * 100_000, 7])
def test_model_file_with_a_damaged_description_is_named(tmp_path, config):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("config", data=config)
        file.attrs["model_config"] = config[:60_000] if isinstance(config, str) else config
    with pytest.raises(ValueError, match=r"model\.h5: expected a model saved as \.h5"):
        models.load(path)


def test_lambda_layer_is_refused(tmp_path):
    model = tf.keras.Sequential([tf.keras.layers.Lambda(lambda x: x + 1, input_shape=(2,))])
    models.save(model, tmp_path / "model.h5")
    with pytest.raises(ValueError, match="without Lambda layers"):
        models.load(tmp_path / "model.h5")
