import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.models import onnx_folding

RANDOM = np.random.default_rng(1)
N_BELOW, N_MIDDLE, N_IMAGE, N_OUTPUTS = 5, 4, 3, 6


def convolve(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Convolve (I, H, W) with (O, I, 3, 3), zeros beyond the image."""
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    shifted = [[padded[:, r : r + height, c : c + width] for c in range(3)] for r in range(3)]
    return np.einsum("oirc,rcihw->ohw", weights, np.array(shifted))


def blocks(image: np.ndarray) -> np.ndarray:
    """The pixels of each 2x2 block as channels, (4 I, H / 2, W / 2)."""
    return np.concatenate([image[:, row::2, column::2] for row, column in onnx_folding.BLOCK])


def test_last_layers_at_half_resolution_compute_the_same_sums():
    below, image = RANDOM.normal(size=(N_BELOW, 4, 5)), RANDOM.normal(size=(N_IMAGE, 8, 10))
    transposed, bias = RANDOM.normal(size=(N_BELOW, N_MIDDLE, 2, 2)), RANDOM.normal(size=N_MIDDLE)
    conv = RANDOM.normal(size=(N_OUTPUTS, N_MIDDLE + N_IMAGE, 3, 3))
    middle = np.einsum("chw,cmrs->mhrws", below, transposed).reshape(N_MIDDLE, 8, 10) + bias[:, None, None]
    expected = convolve(np.concatenate([middle, image]), conv)
    ones = np.ones((onnx_folding.N_ONES, 4, 5))
    folded = onnx_folding.fold_last_weights(conv, transposed, bias)
    found = convolve(np.concatenate([below, blocks(image), ones]), folded)
    np.testing.assert_allclose(found, blocks(expected))


def test_first_layer_at_half_resolution_computes_the_same_sums():
    image, weights = RANDOM.normal(size=(N_IMAGE, 8, 10)), RANDOM.normal(size=(N_OUTPUTS, N_IMAGE, 6, 6))
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)))
    expected = np.array(
        [
            [np.einsum("oirc,irc->o", weights, padded[:, r : r + 6, c : c + 6]) for c in range(0, 10, 2)]
            for r in range(0, 8, 2)
        ]
    )
    found = convolve(blocks(image), onnx_folding.fold_first_weights(weights))
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1))


@pytest.mark.parametrize(("kernel", "stride"), [(6, 1), (4, 2)])
def test_other_convolutions_are_left_alone(kernel, stride):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 12, 12])
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, None)
    weights = numpy_helper.from_array(np.ones((2, 3, kernel, kernel), np.float32), "weights")
    node = helper.make_node("Conv", ["image", "weights"], ["result"], strides=[stride, stride])
    graph = onnx.helper.make_graph([node], "graph", [image], [result], [weights])
    onnx_folding.fold(graph)
    assert list(graph.node) == [node]
