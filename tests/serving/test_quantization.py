from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from src.data import samples
from src.inference.onnx_model import OnnxModel
from src.serving import package_model, quantization
from src.synthetic import generator

NETWORK = Path(__file__).parents[2] / "models" / "synthetic_pretrained.onnx"


@pytest.fixture(scope="module", autouse=True)
def few_crops() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantization, "N_CROPS", 8)
        patch.setattr(quantization, "CROP_SIDE", 192)
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Three synthetic images, as stage download writes them."""
    folder = tmp_path_factory.mktemp("images")
    for index in range(3):
        made = generator.generate(1, index, 200, 192)
        samples.write_labelled_image(
            folder, "phantom", samples.LabelledImage(str(index), str(index), made.image, made.truth, made.fov, None)
        )
    samples.write_table(folder, [("phantom", str(index), str(index)) for index in range(3)])
    return folder


@pytest.fixture(scope="module")
def quantized(images, tmp_path_factory) -> Path:
    """The network pretrained on synthetic images, quantized."""
    settings = OnnxModel(NETWORK).settings
    content = quantization.quantize(NETWORK.read_bytes(), images, settings)
    path = tmp_path_factory.mktemp("quantized") / "quantized.onnx"
    path.write_bytes(package_model.add_settings(content, settings))
    return path


def test_quantized_network_predicts_nearly_the_same(images, quantized):
    [sample, *_] = samples.find(images)
    image, fov = samples.image(sample), samples.fov(sample)
    given, small = (OnnxModel(path).predict(image, fov, tta=False).probability for path in (NETWORK, quantized))
    assert given.std() > 0.1
    assert 0 < np.abs(given - small).mean() < 0.01
    assert quantized.stat().st_size < NETWORK.stat().st_size / 2


def test_convolutions_are_quantized_but_not_the_logits(images, quantized):
    graph = onnx.load(quantized).graph
    dequantized = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    assert all(set(node.input) <= dequantized for node in graph.node if node.op_type in ("Conv", "MatMul"))
    image = samples.image(samples.find(images)[0])[None, :192, :192].astype(np.float32)
    probability = OnnxModel(quantized).session.run(None, {"image": image})[0]
    assert len(np.unique(probability)) > 10_000  # 8 bits hold 256 values


def test_crops_show_each_scale_in_turn_and_repeat_few_images(images):
    settings = OnnxModel(NETWORK).settings._replace(fov_diameter=50, tta_scales=(1.0, 4.0))
    crops = list(quantization.calibration_crops(images, settings, 128))
    assert len(crops) == quantization.N_CROPS
    assert {crop.shape for crop in crops} == {(1, 128, 128, 3)}
    outside = [float((crop == 128).all(axis=-1).mean()) for crop in crops]
    assert min(outside[::2]) > 0.8  # a field of view of 50 pixels
    assert np.mean(outside[1::2]) < 0.5


def test_network_that_would_predict_otherwise_is_rejected(images, monkeypatch):
    monkeypatch.setattr(quantization, "MOST_DIFFERENT", 1e-6)
    with pytest.raises(
        ValueError, match=r"differ by at most 1e-06 in the mean .*, got 0.00\d; package it without --int8"
    ):
        quantization.quantize(NETWORK.read_bytes(), images, OnnxModel(NETWORK).settings)


def test_missing_images_are_named_with_their_stage(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"samples.csv: missing; run `dvc repro download`"):
        quantization.quantize(NETWORK.read_bytes(), tmp_path, OnnxModel(NETWORK).settings)
