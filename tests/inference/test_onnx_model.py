import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from darkness_network import darkness
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from src.inference import hysteresis
from src.inference.onnx_model import ModelSettings, OnnxModel
from src.metrics import confusion_matrix
from src.serving import package_model
from src.synthetic import generator

SYNTHETIC = generator.generate(1, 0, 240, 230)


@pytest.fixture(scope="module")
def network(packed) -> OnnxModel:
    return OnnxModel(packed)


def test_settings_are_read_from_the_file(network):
    assert network.settings == ModelSettings(200, 0.0, 256, 32, 0.25, ("none",), (1.0,))


def test_prediction_has_the_size_of_the_image_and_is_zero_outside_the_fov(network):
    for part in network.predict(SYNTHETIC.image, SYNTHETIC.fov):
        assert part.shape == (240, 230)
        assert part.dtype == np.float32
        assert not part[~SYNTHETIC.fov].any()
        assert 0 <= part.min() < part.max() <= 1


def test_vessels_are_segmented(network):
    predicted = network.binarize(network.predict(SYNTHETIC.image, SYNTHETIC.fov).probability)
    assert confusion_matrix.dice(confusion_matrix.count(SYNTHETIC.truth, predicted, SYNTHETIC.fov)) > 0.5


@pytest.mark.parametrize("kind", [errors.Fail, errors.RuntimeException])
def test_memory_that_does_not_suffice_is_told_apart_from_other_errors(network, kind):
    class Session:
        """A session that fails."""

        message = "Failed to allocate memory for requested buffer of size 9000000000"

        def get_inputs(self):
            return network.session.get_inputs()

        def run(self, *_):
            raise kind(self.message)

    failing = OnnxModel.__new__(OnnxModel)
    failing.session, failing.settings = Session(), network.settings
    with pytest.raises(MemoryError, match="9000000000"):
        failing.predict(SYNTHETIC.image, SYNTHETIC.fov)
    Session.message = "another error"
    with pytest.raises(kind, match="another error"):
        failing.predict(SYNTHETIC.image, SYNTHETIC.fov)


def test_without_tta_there_is_no_uncertainty(network):
    assert network.predict(SYNTHETIC.image, SYNTHETIC.fov, tta=False).uncertainty is None
    assert not network.yields_uncertainty(tta=False)


@pytest.mark.parametrize(
    ("flips", "scales", "yields"), [(True, (1.0,), True), (False, (1.0, 0.5), True), (False, (1.0,), False)]
)
def test_uncertainty_needs_flips_or_several_scales(network, flips, scales, yields):
    other = OnnxModel.__new__(OnnxModel)
    other.session, other.settings = network.session, network.settings._replace(tta_flips=flips, tta_scales=scales)
    assert other.yields_uncertainty(tta=True) is yields
    assert (other.predict(SYNTHETIC.image, SYNTHETIC.fov).uncertainty is not None) is yields


def test_field_angle_is_a_fov_diameter_relative_to_45_degrees(network):
    wider = OnnxModel.__new__(OnnxModel)
    wider.session, wider.settings = network.session, network.settings._replace(fov_diameter=300)
    by_angle, by_diameter, usual, unknown = (
        each.predict(SYNTHETIC.image, SYNTHETIC.fov, field_angle=angle).probability
        for each, angle in ((network, 67.5), (wider, None), (network, 45.0), (network, None))
    )
    assert np.array_equal(by_angle, by_diameter)
    assert np.array_equal(usual, unknown)
    assert np.abs(by_angle - unknown).max() > 0


@pytest.mark.parametrize(("threshold", "expected"), [(None, [False, True]), (0.1, [True, True]), (0.9, [False, False])])
def test_vessels_are_where_the_probability_exceeds_the_threshold(network, threshold, expected):
    assert network.binarize(np.array([[0.2, 0.7]]), threshold).tolist() == [expected]


def test_image_larger_than_a_tile_is_predicted_in_tiles(network):
    small = OnnxModel.__new__(OnnxModel)
    small.session, small.settings = network.session, network.settings._replace(tile=64)
    whole, tiled = (each.predict(SYNTHETIC.image, SYNTHETIC.fov).probability for each in (network, small))
    assert np.abs(whole - tiled).max() > 0
    assert np.abs(whole - tiled).mean() < 0.01


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx: missing; `python -m src package"):
        OnnxModel(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no network", "expected an ONNX network, got a file that onnxruntime rejects"),
        (b"", "expected an ONNX network, got a file that onnxruntime rejects"),
        (darkness()[:-100], "expected an ONNX network, got a file that onnxruntime rejects"),
        (darkness(), "expected a network packed by `python -m src package`, got one without settings"),
    ],
)
def test_file_that_is_no_packed_network_is_named(tmp_path, content, message):
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"network\.onnx: {message}"):
        OnnxModel(path)


def convolution(auto_pad: str) -> bytes:
    """A network of one convolution."""
    image, maps = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 1, 8, 8]), ("y", None))
    )
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1, 1, 3, 3], [0.0] * 9)
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], auto_pad=auto_pad)
    graph = onnx.helper.make_graph([node], "graph", [image], [maps], [weights])
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9
    ).SerializeToString()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (convolution("SAME_WRONG"), "Unknown AutoPadType"),  # onnxruntime's message has two lines
        (convolution("SAME_UPPER").replace(b"Conv", b"C\xc1nv"), "(utf-8|UnicodeDecodeError|Fail|Invalid)"),  # no text
    ],
)
def test_damaged_name_in_a_network_is_one_message(tmp_path, content, reason):
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"network\.onnx: expected an ONNX network, got .*{reason}.*\)$") as caught:
        OnnxModel(path)
    assert "\n" not in str(caught.value)


def test_settings_of_another_version_are_named(tmp_path):
    model, path = onnx.load_from_string(darkness()), tmp_path / "network.onnx"
    for settings, cause in (('{"trained_on": [], "size": 3}', "size"), ("[]", "names and values"), ("{", "JSON")):
        onnx.helper.set_model_props(model, {"settings": settings})
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ValueError, match=rf"network\.onnx: .*without settings of this version .*{cause}"):
            OnnxModel(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fov_diameter", None),
        ("threshold", 1.5),
        ("threshold", "0.5"),
        ("tta_scales", []),
        ("tile", True),
        ("tta_flips", 1),
        ("logit_adjustment", None),
        ("scale_weighting", 0),
        ("hysteresis_threshold", 1.0),
        ("hysteresis_threshold", True),
        ("thin_vessel_extension", -0.1),
        ("thin_vessel_extension", 5.1),
        ("thin_vessel_extension", None),
        ("min_scale_factor", 0.0),
        ("min_scale_factor", 1),
    ],
)
def test_setting_of_a_wrong_type_or_range_is_named(network, tmp_path, name, value):
    model, path = onnx.load_from_string(darkness()), tmp_path / "network.onnx"
    onnx.helper.set_model_props(model, {"settings": json.dumps(network.settings._asdict() | {name: value})})
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=rf"network\.onnx: .*without settings of this version .*{name}"):
        OnnxModel(path)


@pytest.mark.parametrize("tta", [True, False])
@pytest.mark.parametrize("threshold", [None, 0.45])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("thin_vessel_extension", lambda plain: hysteresis.extend_thin_vessels(plain, SYNTHETIC.fov, 0.6)),
        ("hysteresis_threshold", lambda plain: hysteresis.lower_isolated_pieces(plain, 0.6)),
    ],
)
def test_map_is_changed_as_the_settings_say(network, tmp_path, name, change, threshold, tta):
    path = tmp_path / "network.onnx"
    path.write_bytes(package_model.add_settings(darkness(), network.settings._replace(**{name: 0.6})))
    plain, found = (
        each.predict(SYNTHETIC.image, SYNTHETIC.fov, tta, threshold=threshold).probability
        for each in (network, OnnxModel(path))
    )
    changed = change(plain)
    expected = changed if threshold is None else hysteresis.at_threshold(plain, changed, threshold)
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, plain)


def test_settings_of_earlier_versions_are_read(network, tmp_path):
    settings = network.settings._asdict()
    settings |= {"clahe": settings.pop("clahe_clip_limit"), "scales": settings.pop("tta_scales")}
    adjustments = ("logit_adjustment", "scale_weighting", "hysteresis_threshold", "thin_vessel_extension")
    for later in ("tta_flips", "min_scale_factor", *adjustments):
        del settings[later]
    model, path = onnx.load_from_string(darkness()), tmp_path / "network.onnx"
    onnx.helper.set_model_props(model, {"settings": json.dumps(settings)})
    path.write_bytes(model.SerializeToString())
    assert OnnxModel(path).settings == network.settings


def test_prediction_is_averaged_over_the_scales_of_the_settings(network, tmp_path):
    probabilities = []
    for scales in ((1.0,), (0.5,), (1.0, 0.5)):
        path = tmp_path / f"{len(probabilities)}.onnx"
        path.write_bytes(package_model.add_settings(darkness(), network.settings._replace(tta_scales=scales)))
        probabilities.append(OnnxModel(path).predict(SYNTHETIC.image, SYNTHETIC.fov).probability)
    full, half, both = probabilities
    assert not np.allclose(full, half, atol=0.05)
    assert np.allclose(both, (full + half) / 2, atol=1e-5)


@pytest.mark.parametrize("tta", [True, False])
def test_image_of_low_resolution_is_predicted_at_smaller_scales_with_tta_alone(network, tmp_path, tta):
    probabilities = []
    for factor in (1.0, 0.5):
        path, large = tmp_path / f"{factor}.onnx", {"fov_diameter": 400, "tta_flips": True}
        path.write_bytes(
            package_model.add_settings(darkness(), network.settings._replace(min_scale_factor=factor, **large))
        )
        probabilities.append(OnnxModel(path).predict(SYNTHETIC.image, SYNTHETIC.fov, tta).probability)
    assert np.array_equal(*probabilities) != tta


def test_nothing_heavy_is_imported():
    heavy = "tensorflow", "tf_keras", "mlflow", "pandas", "onnx", "matplotlib"
    code = f"import sys, src.inference.onnx_model; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
