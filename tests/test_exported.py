import subprocess
import sys

import numpy as np
import onnx
import pytest
from conftest import darkness

from src import counts, pack, phantom
from src.exported import Exported, Settings

EYE = phantom.draw(1, 0, 240, 230)


@pytest.fixture(scope="module")
def network(packed) -> Exported:
    return Exported(packed)


def test_settings_come_with_the_file(network):
    assert network.settings == Settings(200, 0.0, 256, 32, 0.25, ("none",), (1.0,))


def test_maps_have_the_size_of_the_photograph_and_are_zero_outside_the_fov(network):
    for part in network.maps(EYE.image, EYE.fov):
        assert part.shape == (240, 230)
        assert part.dtype == np.float32
        assert not part[~EYE.fov].any()
        assert 0 <= part.min() < part.max() <= 1


def test_vessels_are_found(network):
    found = network.vessels(network.maps(EYE.image, EYE.fov).probability)
    assert counts.dice(counts.count(EYE.truth, found, EYE.fov)) > 0.5


def test_without_flips_there_is_no_doubt(network):
    assert network.maps(EYE.image, EYE.fov, flips=False).doubt is None


@pytest.mark.parametrize(("threshold", "expected"), [(None, [False, True]), (0.1, [True, True]), (0.9, [False, False])])
def test_vessels_are_what_is_beyond_the_threshold(network, threshold, expected):
    assert network.vessels(np.array([[0.2, 0.7]]), threshold).tolist() == [expected]


def test_photograph_larger_than_a_tile_is_cut(network):
    small = Exported.__new__(Exported)
    small.session, small.settings = network.session, network.settings._replace(tile=64)
    whole, tiled = (each.maps(EYE.image, EYE.fov).probability for each in (network, small))
    assert np.abs(whole - tiled).max() > 0
    assert np.abs(whole - tiled).mean() < 0.01


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx: missing; `python -m src\.pack"):
        Exported(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no network", "expected an ONNX network, got a file that onnxruntime refuses"),
        (b"", "expected an ONNX network, got a file that onnxruntime refuses"),
        (darkness()[:-100], "expected an ONNX network, got a file that onnxruntime refuses"),
        (darkness(), "expected a network packed by `python -m src.pack`, got one without settings"),
    ],
)
def test_file_that_is_no_packed_network_is_named(tmp_path, content, said):
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"network\.onnx: {said}"):
        Exported(path)


def test_settings_of_another_version_are_named(tmp_path):
    model, path = onnx.load_from_string(darkness()), tmp_path / "network.onnx"
    for settings, said in (('{"trained_on": [], "size": 3}', "size"), ("[]", "names and values"), ("{", "JSON")):
        onnx.helper.set_model_props(model, {"settings": settings})
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ValueError, match=rf"network\.onnx: .*without settings of this version .*{said}"):
            Exported(path)


def test_network_is_shown_the_photograph_in_the_scales_of_its_settings(network, tmp_path):
    maps = []
    for scales in ((1.0,), (0.5,), (1.0, 0.5)):
        path = tmp_path / f"{len(maps)}.onnx"
        path.write_bytes(pack.packed(darkness(), network.settings._replace(scales=scales)))
        maps.append(Exported(path).maps(EYE.image, EYE.fov).probability)
    whole, half, both = maps
    assert not np.allclose(whole, half, atol=0.05)
    assert np.allclose(both, (whole + half) / 2, atol=1e-5)


def test_nothing_heavy_is_imported():
    heavy = "tensorflow", "tf_keras", "mlflow", "pandas", "onnx", "matplotlib"
    code = f"import sys, src.exported; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
