"""An ONNX network that needs no training."""

import numpy as np
import onnx


def darkness(side: int = 15) -> bytes:
    """Return an ONNX network whose probability is how much darker green is than in its surroundings."""
    kernel = np.zeros((1, 3, side, side), np.float32)
    kernel[0, 1] = 1 / side**2
    kernel[0, 1, side // 2 - 1 : side // 2 + 1, side // 2 - 1 : side // 2 + 1] -= 1 / 4  # asymmetric: flips differ
    constants = {"kernel": kernel / 8, "bias": np.array([-2], np.float32)}
    nodes = [
        onnx.helper.make_node("Transpose", ["image"], ["channels_first"], perm=[0, 3, 1, 2]),
        onnx.helper.make_node("Conv", ["channels_first", "kernel", "bias"], ["logit"], pads=[side // 2] * 4),
        onnx.helper.make_node("Sigmoid", ["logit"], ["map"]),
        onnx.helper.make_node("Transpose", ["map"], ["probability"], perm=[0, 2, 3, 1]),
    ]
    image, probability = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", "height", "width", channels])
        for name, channels in (("image", 3), ("probability", 1))
    )
    weights = [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = onnx.helper.make_graph(nodes, "darkness", [image], [probability], weights)
    opset = [onnx.helper.make_opsetid("", 18)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
