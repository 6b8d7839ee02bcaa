"""A trained network as ONNX, which runs without TensorFlow."""

from pathlib import Path

import onnx

from src import files
from src.backend import tf

import tf2onnx  # isort: skip  (imports TensorFlow, which needs what src.backend sets)

OPSET = 18


def save(model: tf.keras.Model, path: Path) -> None:
    """Write the network as ONNX, for any number of images and any sides: the same bytes for the same weights."""
    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")]
    converted, _ = tf2onnx.convert.from_keras(model, signature, opset=OPSET)
    files.write_bytes(path, renamed(converted).SerializeToString(deterministic=True))


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with nodes, constants and values in the order and by the number in which its output needs them.

    tf2onnx counts them over the life of a process, leaves them in the order of a Python set, and leaves now this, now
    that reshape that changes nothing: of these there are none here.
    """
    graph = model.graph
    constants = {constant.name: constant for constant in graph.initializer}
    _pass_by_idle_reshapes(model, constants)
    nodes = _in_order(graph)
    ends = {value.name: value.name for value in (*graph.input, *graph.output)}
    used = dict.fromkeys(name for node in nodes for name in (*node.input, *node.output) if name)
    names = {"": ""} | {name: ends.get(name, f"v{number}") for number, name in enumerate(used)}
    for number, node in enumerate(nodes):
        parts = [[names[name] for name in part] for part in (node.input, node.output)]
        for part, new in zip((node.input, node.output), parts, strict=True):
            part[:] = new
        node.name = f"{node.op_type}_{number}"
    kept = [constants[name] for name in used if name in constants]
    for constant in kept:
        constant.name = names[constant.name]
    ends = ([_dimensions_named(value) for value in part] for part in (graph.input, graph.output))
    result = onnx.helper.make_graph(nodes, "network", *ends, initializer=kept)
    return onnx.helper.make_model(result, opset_imports=model.opset_import, ir_version=model.ir_version)


def _pass_by_idle_reshapes(model: onnx.ModelProto, constants: dict[str, onnx.TensorProto]) -> None:
    """Let no node need what a Reshape makes of a value that has the wanted shape already."""
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    shapes = {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in inferred}
    same: dict[str, str] = {}
    for node in model.graph.node:  # each after those that it needs
        node.input[:] = [same.get(name, name) for name in node.input]
        if node.op_type == "Reshape" and node.input[0] in shapes and node.input[1] in constants:
            wanted = onnx.numpy_helper.to_array(constants[node.input[1]]).tolist()
            if wanted == [side or -1 for side in shapes[node.input[0]]]:  # 0 where it is free
                same[node.output[0]] = node.input[0]


def _in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that the output needs, each after those that it needs itself, first inputs first."""
    makers = {name: node for node in graph.node for name in node.output}
    order: dict[int, onnx.NodeProto] = {}
    todo = [makers[value.name] for value in reversed(graph.output)]
    while todo:
        node = todo[-1]
        needed = [makers[name] for name in node.input if name in makers and id(makers[name]) not in order]
        if needed:
            todo.append(needed[0])
        else:
            order.setdefault(id(node), todo.pop())
    return list(order.values())


def _dimensions_named(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """The description of an input or output with names of our own for the sides that are free."""
    for dimension, name in zip(value.type.tensor_type.shape.dim, ("batch", "height", "width", "channel"), strict=True):
        if not dimension.HasField("dim_value"):
            dimension.dim_param = name
    return value
