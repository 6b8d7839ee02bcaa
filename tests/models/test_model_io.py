import json

import h5py
import numpy as np
import pytest

from src.models import architectures, model_io
from src.models.tensorflow_setup import tf

IMAGE = np.random.default_rng(1).integers(0, 256, (1, 64, 96, 3)).astype(np.float32)
FILTERS = (4, 8)


@pytest.fixture(scope="module")
def unet() -> tf.keras.Model:
    return architectures.build("unet", "vgg16", None, FILTERS, 64)


def test_saved_network_predicts_the_same(unet, tmp_path):
    model_io.save(unet, tmp_path / "model.h5")
    assert np.array_equal(model_io.load(tmp_path / "model.h5")(IMAGE), unet(IMAGE))


def test_same_weights_give_the_same_bytes(unet, tmp_path):
    for name in ("a", "b"):
        model_io.save(unet, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_mixed_precision_network_is_saved_in_float32():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = architectures.build("linknet", "vgg16", None, FILTERS, 64)
        weights = mixed.get_weights()
        plain = model_io.as_float32(mixed)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert {layer.compute_dtype for layer in plain.layers[2].layers} == {"float32"}
    assert all(np.array_equal(a, b) for a, b in zip(weights, plain.get_weights(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", architectures.COMPACT_ARCHITECTURES)
def test_ensemble_in_mixed_precision_is_saved_in_float32(architecture):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = architectures.ensemble_average(
            [architectures.inference_head(architectures.build(architecture, "", None, FILTERS, 64)) for _ in range(2)]
        )
        weights = mixed.get_weights()
        plain = model_io.as_float32(mixed)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert all(np.array_equal(a, b) for a, b in zip(weights, plain.get_weights(), strict=True))
    assert plain(IMAGE).shape == (*IMAGE.shape[:3], 1)
    kinds = {layer.compute_dtype for member in plain.layers[1:3] for layer in member.layers}
    assert kinds == {plain.layers[-1].compute_dtype} == {"float32"}


def test_missing_model_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.h5: missing"):
        model_io.load(tmp_path / "model.h5")


def test_file_that_is_no_model_is_named(tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"model\.h5: expected a model saved as \.h5"):
        model_io.load(path)


def test_model_file_without_a_network_is_named(tmp_path):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w"):
        pass
    with pytest.raises(ValueError, match=r"model\.h5: expected a model saved as \.h5"):
        model_io.load(path)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"class_name": "TFOpLambda"}, "without Lambda layers, got one that runs code of its own: TFOpLambda"),
        ({"module": "os", "class_name": "function", "config": "system"}, "got one that names 'os'"),
        ({"module": "builtins", "class_name": "function", "config": "eval"}, "got one that names 'builtins'"),
    ],
)
def test_model_file_that_names_code_is_rejected(tmp_path, part, message):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"config": {"layers": [{"config": {"activation": part}}]}})
    with pytest.raises(ValueError, match=rf"model\.h5: expected a model .*{message}"):
        model_io.load(path)


@pytest.mark.parametrize("config", ["{", "[" * 100_000, 7])
def test_model_file_with_a_damaged_description_is_named(tmp_path, config):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("config", data=config)
        file.attrs["model_config"] = config[:60_000] if isinstance(config, str) else config
    with pytest.raises(ValueError, match=r"model\.h5: expected a model saved as \.h5"):
        model_io.load(path)


def test_lambda_layer_is_rejected(tmp_path):
    model = tf.keras.Sequential([tf.keras.layers.Lambda(lambda x: x + 1, input_shape=(2,))])
    model_io.save(model, tmp_path / "model.h5")
    with pytest.raises(ValueError, match="without Lambda layers"):
        model_io.load(tmp_path / "model.h5")


def test_saving_a_network_that_is_not_compiled_is_no_warning(tmp_path, capfd):
    model_io.save(architectures.build("residual_unet", "", None, FILTERS, 64), tmp_path / "model.h5")
    assert capfd.readouterr().err == ""
