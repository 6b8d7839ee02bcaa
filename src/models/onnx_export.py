"""Export of a trained network as ONNX, which runs without TensorFlow."""

from pathlib import Path

import onnx

from src.common import atomic_io
from src.models import onnx_folding
from src.models.tensorflow_setup import tf

import tf2onnx  # isort: skip  (imports TensorFlow, which needs what src.models.tensorflow_setup sets)

OPSET = 18
DIMENSIONS = ("batch", "height", "width", "channel")


def save(model: tf.keras.Model, path: Path) -> None:
    """Write the network as ONNX for any number of images of any size: the same bytes for the same weights.

    The first and last layers of compact networks are folded: the same probabilities in less time.
    """
    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")]
    converted, _ = tf2onnx.convert.from_keras(model, signature, opset=OPSET)
    exported = canonicalize(converted)
    onnx_folding.fold(exported.graph)
    atomic_io.write_bytes(path, canonicalize(exported).SerializeToString(deterministic=True))


def canonicalize(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the same network with nodes, constants and values sorted and numbered in the order of computation.

    Without this, every process writes other bytes: tf2onnx orders nodes by sets of objects, numbers names over the
    life of a process, and keeps redundant reshapes now here, now there.
    """
    graph = model.graph
    constants = {constant.name: constant for constant in graph.initializer}
    _bypass_redundant_reshapes(model, constants)
    nodes = _sorted_nodes(graph)
    names = _canonical_names(graph, nodes)
    for number, node in enumerate(nodes):
        node.name = f"{node.op_type}_{number}"
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    used = [constants[name] for name in names if name in constants]
    for constant in used:
        constant.name = names[constant.name]
    for value in (*graph.input, *graph.output):
        _name_free_dimensions(value)
    result = onnx.helper.make_graph(nodes, "network", graph.input, graph.output, used)
    return onnx.helper.make_model(result, opset_imports=model.opset_import, ir_version=model.ir_version)


def _bypass_redundant_reshapes(model: onnx.ModelProto, constants: dict[str, onnx.TensorProto]) -> None:
    """Connect the users of a Reshape that changes nothing to its input."""
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    shapes = {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in inferred}
    replacement: dict[str, str] = {}
    for node in model.graph.node:  # in topological order
        node.input[:] = [replacement.get(name, name) for name in node.input]
        if node.op_type == "Reshape" and node.input[0] in shapes and node.input[1] in constants:
            target = onnx.numpy_helper.to_array(constants[node.input[1]]).tolist()
            if target == [side or -1 for side in shapes[node.input[0]]]:  # the size of a free dimension reads 0
                replacement[node.output[0]] = node.input[0]


def _sorted_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Sort the nodes that the output needs topologically, depth first."""
    producers = {name: node for node in graph.node for name in node.output}
    ordered: dict[int, onnx.NodeProto] = {}
    pending = [producers[value.name] for value in reversed(graph.output)]
    while pending:
        node = pending[-1]
        needed = [producers[name] for name in node.input if name in producers and id(producers[name]) not in ordered]
        if needed:
            pending.append(needed[0])
        else:
            ordered.setdefault(id(node), pending.pop())
    return list(ordered.values())


def _canonical_names(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> dict[str, str]:
    """Map each name of a value to `v` and a number, in order of first use; inputs and outputs keep theirs."""
    kept = {value.name for value in (*graph.input, *graph.output)}
    used = dict.fromkeys(name for node in nodes for name in (*node.input, *node.output) if name)
    return {"": ""} | {  # "" stands for an optional input that is left out
        name: name if name in kept else f"v{number}" for number, name in enumerate(used)
    }


def _name_free_dimensions(value: onnx.ValueInfoProto) -> None:
    """Name the free dimensions of an input or output."""
    for dimension, name in zip(value.type.tensor_type.shape.dim, DIMENSIONS, strict=True):
        if not dimension.HasField("dim_value"):
            dimension.dim_param = name
