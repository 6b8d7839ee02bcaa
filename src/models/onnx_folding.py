"""Folding of the first and last layers of a compact U-Net in ONNX: the same probabilities in less time.

The network begins with a 6x6 convolution of stride 2. It ends with a transposed convolution to full resolution, a 3x3
convolution of its output and the image, and a 1x1 convolution. CPUs are slow at convolutions of few channels at full
resolution. At half resolution, where each 2x2 block of pixels is one position with four times the channels, 3x3
convolutions and a matrix product compute the same sums (sub-pixel convolution, Shi et al., CVPR 2016).
"""

from itertools import product

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper

BLOCK = tuple(product(range(2), range(2)))  # row and column of the pixels of a block, in the order of SpaceToDepth
N_ONES = 4  # channels of ones; kernels of 8-bit integers are fast for multiples of four channels
FIRST_KERNEL = 6, 6
LAST_LAYERS = ("Conv", "Relu", "Conv", "Concat", "Pad", "Slice", "ConvTranspose")  # from the end
LAST_KERNELS = [(1, 1), (3, 3), (2, 2)]
FIRST_FOLDED = """
folded (float image) => (float result) {
    blocks = SpaceToDepth <blocksize = 2> (image)
    result = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (blocks, weights, bias)
}
"""
LAST_FOLDED = """
folded (float below, float image) => (float result) {
    blocks = SpaceToDepth <blocksize = 2> (image)
    channels = Slice (blocks, begin, end, axis)
    ones = Clip (channels, one, one)
    inputs = Concat <axis = 1> (below, blocks, ones)
    sums = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (inputs, weights, bias)
    positive = Relu (sums)
    features = Transpose <perm = [0, 2, 3, 1]> (positive)
    products = MatMul (features, last_weights)
    logits = Add (products, last_bias)
    planes = Transpose <perm = [0, 3, 1, 2]> (logits)
    result = DepthToSpace <blocksize = 2, mode = "DCR"> (planes)
}
"""


def fold(graph: onnx.GraphProto) -> None:
    """Fold the first and last layers of each compact U-Net; the nodes are unsorted afterwards."""
    arrays = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    for number, node in enumerate(list(graph.node)):
        if layers := _last_layers(node, producers, arrays):
            _fold_last(graph, number, layers, arrays)
        elif _is_first_layer(node, arrays):
            _fold_first(graph, number, node, arrays)


def fold_first_weights(weights: np.ndarray) -> np.ndarray:
    """Return weights (O, 4 I, 3, 3) at half resolution of a 6x6 convolution of stride 2, (O, I, 6, 6)."""
    n_outputs, n_inputs = weights.shape[:2]
    taps = weights.reshape(n_outputs, n_inputs, 3, 2, 3, 2)
    return taps.transpose(0, 3, 5, 1, 2, 4).reshape(n_outputs, -1, 3, 3)


def fold_last_weights(conv: np.ndarray, transposed: np.ndarray, transposed_bias: np.ndarray) -> np.ndarray:
    """Return the weights (4 O, C + 4 I + N_ONES, 3, 3) of the convolution at half resolution.

    Its inputs are those of the transposed convolution, the four pixels of each block of the image, and ones: the bias
    of the transposed convolution, which counts inside the image only.

    Args:
        conv: weights of the convolution of the transposed convolution's output and an image, (O, M + I, 3, 3).
        transposed: weights of the transposed convolution, (C, M, 2, 2).
        transposed_bias: its bias (M,).
    """
    n_outputs, n_inputs = conv.shape[:2]
    n_below, n_middle = transposed.shape[:2]
    of_below = np.zeros((len(BLOCK), n_outputs, n_below, 3, 3))
    of_image = np.zeros((len(BLOCK), n_outputs, len(BLOCK), n_inputs - n_middle, 3, 3))
    of_ones = np.zeros((len(BLOCK), n_outputs, N_ONES, 3, 3))
    for pixel, (row, column) in enumerate(BLOCK):
        for tap_row, tap_column in product(range(3), range(3)):
            block_row, source_row = divmod(row + tap_row + 1, 2)  # taps begin at -1, and so do blocks
            block_column, source_column = divmod(column + tap_column + 1, 2)
            middle, image = np.split(conv[:, :, tap_row, tap_column], [n_middle], axis=1)
            place = block_row, block_column
            of_below[pixel, :, :, *place] += middle @ transposed[:, :, source_row, source_column].T
            of_image[pixel, :, BLOCK.index((source_row, source_column)), :, *place] += image
            of_ones[pixel, :, :, *place] += (middle @ transposed_bias)[:, None] / N_ONES
    of_blocks = of_image.reshape(len(BLOCK), n_outputs, -1, 3, 3)
    return np.concatenate([of_below, of_blocks, of_ones], axis=2).reshape(len(BLOCK) * n_outputs, -1, 3, 3)


def _fold_first(graph: onnx.GraphProto, number: int, conv: NodeProto, arrays: dict[str, np.ndarray]) -> None:
    weights, bias = _weights_and_bias(conv, arrays)
    constants = {"weights": fold_first_weights(weights), "bias": bias}
    _replace(graph, number, conv, FIRST_FOLDED, {"image": conv.input[0], "result": conv.output[0]}, constants)


def _fold_last(graph: onnx.GraphProto, number: int, layers: list[NodeProto], arrays: dict[str, np.ndarray]) -> None:
    last, _, conv, concat, _, _, transposed = layers
    (weights, bias), (last_weights, last_bias) = (_weights_and_bias(node, arrays) for node in (conv, last))
    names = {"below": transposed.input[0], "image": concat.input[1], "result": last.output[0]}
    constants = {
        "weights": fold_last_weights(weights, *_weights_and_bias(transposed, arrays)),
        "bias": np.tile(bias, len(BLOCK)),
        "last_weights": np.kron(np.eye(len(BLOCK)), last_weights[..., 0, 0].T),  # each pixel of a block by itself
        "last_bias": np.tile(last_bias, len(BLOCK)),
        "one": np.ones(()),
        "begin": np.array([0]),
        "end": np.array([N_ONES]),
        "axis": np.array([1]),
    }
    _replace(graph, number, last, LAST_FOLDED, names, constants)


def _weights_and_bias(node: NodeProto, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of a convolution and its bias, which is zero where it is left out, as float64."""
    weights = arrays[node.input[1]].astype(np.float64)
    n_outputs = weights.shape[1 if node.op_type == "ConvTranspose" else 0]
    return weights, arrays[node.input[2]].astype(np.float64) if len(node.input) > 2 else np.zeros(n_outputs)


def _replace(
    graph: onnx.GraphProto,
    number: int,
    node: NodeProto,
    text: str,
    names: dict[str, str],
    constants: dict[str, np.ndarray],
) -> None:
    """Put the nodes of a text in the place of a node; its number makes names unique that are not in `names`."""
    graph.node.remove(node)
    for new in onnx.parser.parse_graph(text).node:
        new.input[:] = [names.get(name, f"{name}_{number}") for name in new.input]
        new.output[:] = [names.get(name, f"{name}_{number}") for name in new.output]
        graph.node.append(new)
    for name, values in constants.items():
        array = values.astype(np.float32) if values.dtype == np.float64 else values
        graph.initializer.append(numpy_helper.from_array(array, f"{name}_{number}"))


def _last_layers(
    node: NodeProto, producers: dict[str, NodeProto], arrays: dict[str, np.ndarray]
) -> list[NodeProto] | None:
    """Return LAST_LAYERS that end with this node, or None."""
    if node.op_type != LAST_LAYERS[0]:
        return None
    found = [node]
    for operation in LAST_LAYERS[1:]:
        before = producers.get(found[-1].input[0])
        if before is None or before.op_type != operation:
            return None
        found.append(before)
    kernels = [arrays[one.input[1]].shape[2:] for one in found if one.op_type.startswith("Conv")]
    return found if kernels == LAST_KERNELS and len(found[3].input) == 2 else None


def _is_first_layer(node: NodeProto, arrays: dict[str, np.ndarray]) -> bool:
    strides = [list(attribute.ints) for attribute in node.attribute if attribute.name == "strides"]
    return node.op_type == "Conv" and strides == [[2, 2]] and arrays[node.input[1]].shape[2:] == FIRST_KERNEL
