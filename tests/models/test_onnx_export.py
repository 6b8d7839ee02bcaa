import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from src.models import architectures, model_io, onnx_export
from src.models.tensorflow_setup import tf

IMAGE = np.random.default_rng(1).integers(0, 256, (2, 64, 96, 3)).astype(np.float32)
OTHER_PROCESS = """
import sys
from pathlib import Path
from src.models import architectures, model_io, onnx_export
other = architectures.build("residual_unet", "", None, (4, 8), 32)  # Keras counts the layers of a process
onnx_export.save(model_io.load(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def run(path, image: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options).run(None, {"image": image})[0]


def trained_network(members: int, architecture: str = "residual_unet") -> tf.keras.Model:
    """A network whose batch normalisation has statistics of images, and whose biases are not zero."""
    built = [
        architectures.inference_head(architectures.build(architecture, "", None, (4, 8), 64)) for _ in range(members)
    ]
    random = np.random.default_rng(1)
    for member in built:
        for _ in range(5):
            member(IMAGE, training=True)
        member.set_weights([values + (values.ndim == 1) * random.uniform(0, 0.5) for values in member.get_weights()])
    return architectures.ensemble_average(built)


def assert_folded(model: onnx.ModelProto) -> None:
    """No layer is computed at full resolution but the last, which puts the pixels of blocks in their places."""
    constants = {constant.name: constant.dims for constant in model.graph.initializer}
    operations = [node.op_type for node in model.graph.node]
    assert not {"ConvTranspose", "Pad"} & set(operations)
    assert all(max(constants[node.input[1]][2:]) <= 3 for node in model.graph.node if node.op_type == "Conv")


@pytest.mark.parametrize(
    ("members", "architecture"),
    [(1, "residual_unet"), (2, "residual_unet"), pytest.param(2, "residual_w_net", marks=pytest.mark.slow)],
)
def test_exported_network_predicts_the_same_at_any_size(tmp_path, members, architecture):
    model, path = trained_network(members, architecture), tmp_path / "model.onnx"
    onnx_export.save(model, path)
    onnx.checker.check_model(path)
    assert_folded(onnx.load(path))
    for image in (IMAGE, IMAGE[:1, :32, :64]):
        expected = model(image).numpy()
        assert expected.std() > 1e-3
        np.testing.assert_allclose(run(path, image), expected, rtol=0, atol=1e-5)


def test_network_of_fixed_size_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setattr(architectures, "FIXED_SIZE", ("residual_unet",))  # a pspnet is larger
    model = architectures.build("residual_unet", "", None, (4, 8), 96)
    onnx_export.save(model, tmp_path / "model.onnx")
    shape = onnxruntime.InferenceSession(tmp_path / "model.onnx").get_inputs()[0].shape
    assert shape == ["batch", 96, 96, 3]


def test_loaded_network_is_exported_to_the_same_bytes_after_others_were_built(tmp_path):
    """Keras counts the layers of a process, and names them by it."""
    model = trained_network(1)
    model_io.save(model, tmp_path / "model.h5")
    onnx_export.save(model, tmp_path / "here.onnx")
    architectures.build("residual_unet", "", None, (4, 8), 32)
    onnx_export.save(model_io.load(tmp_path / "model.h5"), tmp_path / "there.onnx")
    assert (tmp_path / "here.onnx").read_bytes() == (tmp_path / "there.onnx").read_bytes()


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(tmp_path):
    model = trained_network(1)
    model_io.save(model, tmp_path / "model.h5")
    onnx_export.save(model, tmp_path / "here.onnx")
    command = [sys.executable, "-c", OTHER_PROCESS, tmp_path / "model.h5", tmp_path / "there.onnx"]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": "7"})
    assert (tmp_path / "here.onnx").read_bytes() == (tmp_path / "there.onnx").read_bytes()


def test_unneeded_nodes_are_dropped_and_the_others_numbered():
    value = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["a", 2, 2, 1])
    end = onnx.helper.make_tensor_value_info("probability", onnx.TensorProto.FLOAT, ["a", 2, 2, 1])
    nodes = [
        onnx.helper.make_node("Relu", ["image"], ["other"], name="unneeded"),
        onnx.helper.make_node("Add", ["image", "weight__7"], ["sum__9"], name="add__12"),
        onnx.helper.make_node("Sigmoid", ["sum__9"], ["probability"], name="sigmoid__3"),
    ]
    weight = onnx.numpy_helper.from_array(np.ones(1, np.float32), "weight__7")
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [value], [end], [weight]))
    graph = onnx_export.canonicalize(model).graph
    assert [(node.name, *node.input, *node.output) for node in graph.node] == [
        ("Add_0", "image", "v1", "v2"),
        ("Sigmoid_1", "v2", "probability"),
    ]
    assert [constant.name for constant in graph.initializer] == ["v1"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_redundant_reshape_is_dropped():
    value = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["a", 4, 4, 1])
    end = onnx.helper.make_tensor_value_info("probability", onnx.TensorProto.FLOAT, ["a", 4, 4, 1])
    nodes = [
        onnx.helper.make_node("Relu", ["image"], ["start"]),
        onnx.helper.make_node("Reshape", ["start", "same"], ["redundant"]),
        onnx.helper.make_node("Reshape", ["redundant", "same"], ["redundant_too"]),
        onnx.helper.make_node("Reshape", ["redundant_too", "flat"], ["needed"]),
        onnx.helper.make_node("Reshape", ["needed", "same"], ["back"]),
        onnx.helper.make_node("Sigmoid", ["back"], ["probability"]),
    ]
    shapes = {"same": [-1, 4, 4, 1], "flat": [-1, 16]}
    constants = [onnx.numpy_helper.from_array(np.array(shape, np.int64), name) for name, shape in shapes.items()]
    made = onnx.helper.make_graph(nodes, "g", [value], [end], constants)
    model = onnx_export.canonicalize(
        onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", onnx_export.OPSET)])
    )
    onnx.checker.check_model(model)
    assert [(node.op_type, *node.input) for node in model.graph.node] == [
        ("Relu", "image"),
        ("Reshape", "v1", "v2"),
        ("Reshape", "v3", "v4"),
        ("Sigmoid", "v5"),
    ]
    assert [onnx.numpy_helper.to_array(constant).tolist() for constant in model.graph.initializer] == [
        shapes["flat"],
        shapes["same"],
    ]
