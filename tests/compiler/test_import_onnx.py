"""ONNX files: what they compute after import, against ONNX's reference implementation."""

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from smartdeal.compiler.importers.errors import UnsupportedModel
from smartdeal.compiler.importers.files import import_model
from smartdeal.compiler.importers.onnx import import_onnx
from smartdeal.golden.checkpoints import noise_images, seeded_weights
from smartdeal.golden.graph import FloatGraph, float_graph
from smartdeal.golden.networks import NetworkError, build_network

RNG = np.random.default_rng(0)
Array = NDArray[np.generic]
Constants = dict[str, Array]


def real(*shape: int) -> NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


def node(op: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    names = [name if name != "-" else "" for name in inputs.split()]
    return helper.make_node(op, names, [output], name=f"{output}_node", **attributes)


def model(
    nodes: Sequence[NodeProto], constants: Mapping[str, Array], shape: Sequence[int | str],
    opset: int = 17,
) -> ModelProto:
    """Return a model from "x" to the last node's output."""
    graph = helper.make_graph(
        list(nodes), "test", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made)  # a valid file tells its output's shape


def imported(proto: ModelProto, folder: Path) -> FloatGraph:
    path = folder / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return import_onnx(path)


def reference(proto: ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    output, = ReferenceEvaluator(proto).run(None, {"x": x})
    return np.asarray(output, np.float32)


C1: Constants = {"w1": real(4, 3, 3, 3), "b1": real(4)}
C2: Constants = {"w2": real(4, 4, 3, 3), "b2": real(4)}
START = [node("Conv", "x w1 b1", "c1", pads=[1, 1, 1, 1]), node("Relu", "c1", "r1")]


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


CASES: dict[str, tuple[list[NodeProto], Constants]] = {
    "asymmetric padding": (
        [node("Conv", "x w1", "y", pads=[0, 1, 2, 0], strides=[2, 2])], C1),
    "SAME_UPPER": ([node("Conv", "x w1", "y", auto_pad="SAME_UPPER", strides=[2, 2])], C1),
    "SAME_LOWER": ([node("Conv", "x w1", "y", auto_pad="SAME_LOWER", strides=[2, 2])], C1),
    "VALID": ([node("Conv", "x w1", "y", auto_pad="VALID")], C1),
    "padding before a convolution": (
        [node("Pad", "x p", "q"), node("Conv", "q w1 b1", "y", pads=[0, 0, 1, 1])],
        {**C1, "p": ints(0, 0, 1, 0, 0, 0, 2, 1)}),
    "padding before a max pool": (
        [*START, node("Pad", "r1 p", "q"),
         node("MaxPool", "q", "y", kernel_shape=[3, 3], strides=[2, 2])],
        {**C1, "p": ints(0, 0, 1, 1, 0, 0, 1, 1)}),
    "minus infinity before a max pool": (
        [node("Conv", "x w1", "c"), node("Pad", "c p v", "q"),
         node("MaxPool", "q", "y", kernel_shape=[3, 3], strides=[2, 2])],
        {**C1, "p": ints(0, 0, 1, 1, 0, 0, 1, 1), "v": np.array(-np.inf, np.float32)}),
    "max pool": ([*START, node("MaxPool", "r1", "y", kernel_shape=[3, 3], strides=[2, 2],
                               pads=[1, 1, 1, 1])], C1),
    "max pool, rounded up": ([*START, node("MaxPool", "r1", "y", kernel_shape=[3, 3],
                                           strides=[2, 2], ceil_mode=1)], C1),
    "normalisation and clip": (
        [node("Conv", "x w1 b1", "c"), node("BatchNormalization", "c g b m v", "n", epsilon=1e-3),
         node("Clip", "n zero", "y")],
        {**C1, "g": real(4), "b": real(4), "m": real(4), "v": np.abs(real(4)),
         "zero": np.array(0, np.float32)}),
    "constants": (
        [node("Conv", "x w1", "c"), node("Mul", "c s", "m"), node("Add", "t m", "a"),
         node("Sub", "a u", "d"), node("Div", "d e", "f"), node("Relu", "f", "y")],
        {**C1, "s": real(1, 4, 1, 1), "t": real(4, 1, 1), "u": np.array([0.5], np.float32),
         "e": np.array(2, np.float32)}),
    "residual": (
        [*START, node("Conv", "r1 w2 b2", "c2", pads=[1, 1, 1, 1]), node("Add", "r1 c2", "a"),
         node("Relu", "a", "y")], {**C1, **C2}),
    "sum of two that are taken": (
        [*START, node("Conv", "r1 w2 b2", "c2", pads=[1, 1, 1, 1]), node("Relu", "c2", "r2"),
         node("Sum", "r1 r2", "y")], {**C1, **C2}),
    "ReLU of a shared tensor": (
        [node("Conv", "x w1 b1", "c1", pads=[1, 1, 1, 1]), node("Relu", "c1", "r1"),
         node("Conv", "r1 w2", "c2", pads=[1, 1, 1, 1]), node("Add", "c2 c1", "y")], {**C1, **C2}),
    "the same twice": ([*START, node("Add", "r1 r1", "y")], C1),
    "subsampled and padded shortcut": (
        [*START, node("Conv", "r1 w2", "c2", pads=[1, 1, 1, 1], strides=[2, 2]),
         node("Conv", "c2 w3", "c3"), node("Slice", "r1 s e a t", "half"),
         node("Pad", "half p", "wide"), node("Add", "c3 wide", "a_"), node("Relu", "a_", "y")],
        {**C1, **C2, "w3": real(8, 4, 1, 1), "s": ints(0, 0), "e": ints(1 << 40, 1 << 40),
         "a": ints(2, 3), "t": ints(2, 2), "p": ints(0, 2, 0, 0, 0, 2, 0, 0)}),
    "pooled and joined shortcut": (
        [*START, node("Conv", "r1 w3", "c3", strides=[2, 2]),
         node("MaxPool", "r1", "half", kernel_shape=[1, 1], strides=[2, 2]),
         node("Concat", "half zeros", "wide", axis=1), node("Add", "wide c3", "y")],
        {**C1, "w3": real(8, 4, 1, 1), "zeros": np.zeros((1, 4, 5, 5), np.float32)}),
    "global pool and Gemm": (
        [*START, node("GlobalAveragePool", "r1", "g"), node("Flatten", "g", "f"),
         node("Dropout", "f", "o"), node("Gemm", "o k b", "y", transB=1, alpha=0.5, beta=2.0)],
        {**C1, "k": real(5, 4), "b": real(5)}),
    "mean, MatMul and Add": (
        [*START, node("ReduceMean", "r1", "g", axes=[-1, -2], keepdims=0),
         node("MatMul", "g k", "m"), node("Add", "m b", "y")],
        {**C1, "k": real(4, 5), "b": real(5)}),
    "pool of the whole map": (
        [*START, node("AveragePool", "r1", "g", kernel_shape=[9, 9]), node("Squeeze", "g a", "s"),
         node("Unsqueeze", "s a", "u"), node("Flatten", "u", "f"), node("Gemm", "f k", "y")],
        {**C1, "k": real(4, 5), "a": ints(2, 3)}),
    "linear layer on a map": (
        [*START, node("Reshape", "r1 s", "f"), node("Gemm", "f k", "y")],
        {**C1, "s": ints(0, -1), "k": real(4 * 81, 5)}),
    "computed shape": (
        [*START, node("GlobalAveragePool", "r1", "g"), node("Shape", "g", "sh"),
         node("Gather", "sh zero", "b", axis=0), node("Unsqueeze", "b zero_", "bu"),
         node("Concat", "bu minus", "target", axis=0), node("Reshape", "g target", "f"),
         node("Gemm", "f k", "y")],
        {**C1, "zero": np.array(0, np.int64), "zero_": ints(0), "minus": ints(-1),
         "k": real(4, 5)}),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name: str, tmp_path: Path) -> None:
    nodes, constants = CASES[name]
    proto = model(nodes, constants, (1, 3, 9, 9))
    x = real(1, 3, 9, 9)
    expected = reference(proto, x)
    graph = imported(proto, tmp_path)
    got = graph(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, np.reshape(expected, (1, -1)), rtol=1e-4, atol=1e-4)
    assert graph.shapes[graph.nodes[-1].name] == (*expected.shape[1:], 1, 1)[:3]


def test_channels_last_at_the_borders(tmp_path: Path) -> None:
    proto = model(
        [node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
         node("Conv", "t w1 b1", "c1", auto_pad="SAME_UPPER", strides=[2, 2]),
         node("Relu", "c1", "r1"), node("Transpose", "r1", "back", perm=[0, 2, 3, 1]),
         node("Reshape", "back s", "f"), node("MatMul", "f k", "y")],
        {**C1, "s": ints(1, -1), "k": real(100, 5)}, (1, 9, 9, 3))
    x = real(1, 9, 9, 3)
    expected = reference(proto, x)
    graph = imported(proto, tmp_path)
    assert graph.input_shape == (3, 9, 9)
    assert graph.notes == ("The model takes images with the channels last; here they come first.",)
    got = graph(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4, atol=1e-4)
    assert graph.nodes[0].padding == (1, 1, 1, 1)


def test_layers_of_a_residual_block(tmp_path: Path) -> None:
    nodes, constants = CASES["subsampled and padded shortcut"]
    graph = imported(model(nodes, constants, ("batch", 3, 9, 9)), tmp_path)
    names = [n.name for n in graph.nodes]
    assert names == ["c1_node", "c2_node", "half_node", "c3_node"]
    *_, shortcut, last = graph.nodes
    assert (last.input, last.residual, last.relu) == ("c2_node", "half_node", True)
    assert shortcut.exact
    assert shortcut.stride == 2
    assert shortcut.weights is not None
    torch.testing.assert_close(shortcut.weights[:, :, 0, 0], torch.eye(8)[:, 2:6])


def test_softmax_at_the_end_is_left_out(tmp_path: Path) -> None:
    nodes, constants = CASES["global pool and Gemm"]
    graph = imported(model([*nodes, node("Softmax", "y", "p")], constants, (1, 3, 9, 9)), tmp_path)
    assert graph.notes == (
        "Softmax at the end is left out: the order of the classes is the same.",)
    assert graph.nodes[-1].name == "y_node"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("name", "size"), [
    ("resnet8", 28), ("resnet20", 32), pytest.param("resnet50", 64, marks=pytest.mark.slow),
])
def test_torch_exports_come_back(name: str, size: int, tmp_path: Path) -> None:
    network = build_network(name)
    seeded_weights(network, 1)
    images = noise_images((network.spec.input_shape[0], size, size), 2, 2)
    path = tmp_path / f"{name}.onnx"
    torch.onnx.export(network, (images[:1],), str(path), dynamo=False)
    graph = import_model(path)
    with torch.no_grad():
        torch.testing.assert_close(graph(images), network(images), rtol=1e-3, atol=1e-4)
    expected = float_graph(network, (size, size))
    assert [n.name for n in graph.nodes] == [n.name for n in expected.nodes]
    assert graph.shapes == expected.shapes
    assert ([(n.input, n.residual, n.relu) for n in graph.nodes]
            == [(n.input, n.residual, n.relu) for n in expected.nodes])


def test_resnet50_of_the_onnx_wheel() -> None:
    path = Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx"
    start = time.monotonic()
    graph = import_onnx(path)
    assert time.monotonic() - start < 20
    expected = float_graph(build_network("resnet50"))
    assert list(graph.shapes.values()) == list(expected.shapes.values())
    assert [n.stride for n in graph.nodes] == [n.stride for n in expected.nodes]
    assert [n.name for n in graph.nodes[2:6]] == [
        "res2_0_branch2a", "res2_0_branch2b", "res2_0_branch1", "res2_0_branch2c"]


UNSUPPORTED: dict[str, tuple[list[NodeProto], Constants, list[str]]] = {
    "operators": (
        [node("Conv", "x w1", "c", group=3), node("Gelu_", "c", "g"), node("LSTM", "g", "h"),
         node("Gelu_", "h", "y")], {"w1": real(3, 1, 3, 3)}, [
            "operator Gelu_ (node 'g_node' and 1 more) is not supported",
            "operator LSTM (node 'h_node') is not supported",
            "Conv 'c_node': groups must be 1, not 3"]),
    "all that follows": (
        [node("Conv", "x w1", "c", dilations=[2, 2]), node("Relu", "c", "r"),
         node("MaxPool", "r", "m", kernel_shape=[2, 2], strides=[3, 3]),
         node("Clip", "m zero six", "y")],
        {**C1, "zero": np.array(0, np.float32), "six": np.array(6, np.float32)}, [
            "Conv 'c_node': dilation must be 1, not (2, 2)",
            "MaxPool 'm_node': stride must be 1 or 2, not 3",
            "Clip 'y_node': the bounds must be 0 and infinity, not 0.0 and 6.0"]),
    "stride": ([node("Conv", "x w1", "y", strides=[2, 1])], C1, [
        "Conv 'y_node': stride must be the same in both directions, not (2, 1)"]),
    "prepared images": ([node("Sub", "x m", "s"), node("Conv", "s w1", "y")],
                        {**C1, "m": real(1, 3, 1, 1)}, [
        "Sub 's_node': a constant can only be added to the output of a convolution or linear "
        "layer; prepare images before the network"]),
    "normalisation first": (
        [*START, node("BatchNormalization", "r1 b1 b1 b1 b1", "y")], C1, [
            "BatchNormalization 'y_node': it must directly follow a convolution or linear layer "
            "whose output nothing else takes"]),
    "softmax within": ([node("Conv", "x w1", "c"), node("Softmax", "c", "s"),
                        node("Relu", "s", "y")], C1, [
        "Softmax 's_node': it is supported only at the end, where it is left out"]),
    "average pool": ([node("AveragePool", "x", "y", kernel_shape=[3, 3])], {}, [
        "AveragePool 'y_node': an average pool must cover the whole map of 9×9 without padding, "
        "not 3×3 with padding (0, 0, 0, 0)"]),
    "padding at the end": ([*START, node("Pad", "r1 p", "y")], {
        **C1, "p": ints(0, 0, 1, 1, 0, 0, 1, 1)}, [
        "the output: padding must be followed by a convolution or a pool"]),
    "zeros before a max pool": (
        [node("Conv", "x w1", "c"), node("Pad", "c p", "q"),
         node("MaxPool", "q", "y", kernel_shape=[2, 2])],
        {**C1, "p": ints(0, 0, 1, 1, 0, 0, 1, 1)}, [
            "MaxPool 'y_node': padding before a max pool must be minus infinity, or zeros around a "
            "map without negative numbers, not 0.0"]),
    "join": ([*START, node("Concat", "r1 r1", "y", axis=1)], C1, [
        "Concat 'y_node': it must add channels of zeros to one tensor, not join 2"]),
    "slice": ([*START, node("Slice", "r1 s e a", "y")], {
        **C1, "s": ints(1), "e": ints(3), "a": ints(2)}, [
        "Slice 'y_node': a slice must keep every other row or column of a map from the first, "
        "not 1:3:1 of axis 2"]),
    "shapes": ([*START, node("Conv", "r1 w2", "c2"), node("Add", "r1 c2", "y")], {**C1, **C2}, [
        "Add 'y_node': both operands must have the same shape, not (1, 4, 9, 9) and "
        "(1, 4, 7, 7)"]),
    "channels": ([*START, node("Conv", "r1 w1", "y")], C1, [
        "Conv 'y_node': y_node: input must have 3 channels, not 4"]),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_all_problems_are_told_at_once(name: str, tmp_path: Path) -> None:
    nodes, constants, problems = UNSUPPORTED[name]
    proto = model(nodes, constants, (1, 3, 9, 9))
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.MonkeyPatch.context() as patch:
        # The checker refuses operators that ONNX itself does not know.
        patch.setattr(onnx.checker, "check_model", lambda _: None)
        with pytest.raises(UnsupportedModel) as error:
            import_onnx(path)
    assert list(error.value.problems) == problems
    assert str(error.value).startswith("net cannot be imported")


def test_signs_are_told_where_to_come_from(tmp_path: Path) -> None:
    proto = model([node("Sign", "x", "s"), node("Conv", "s w1", "y")], C1, (1, 3, 9, 9))
    with pytest.raises(UnsupportedModel, match=(
            r"^net cannot be imported: operator Sign \(node 's_node'\) is not supported: binary "
            r"activations have no zero; they are those of drop-in layers of the form bnn, in a "
            r"module or a built-in network; supported are ")):
        imported(proto, tmp_path)


def test_message_of_one_problem_is_one_line(tmp_path: Path) -> None:
    proto = model([node("Softplus", "x", "s"), node("Conv", "s w1", "y")], C1, (1, 3, 9, 9))
    with pytest.raises(UnsupportedModel, match=(
            r"^net cannot be imported: operator Softplus \(node 's_node'\) is not supported; "
            r"supported are Add, AveragePool, .*Unsqueeze$")):
        imported(proto, tmp_path)


def refused(proto: ModelProto, folder: Path) -> str:
    with pytest.raises(NetworkError) as error:
        imported(proto, folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_sizes_must_be_fixed(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w1", "y")]
    assert refused(model(nodes, C1, ("n", 3, "h", 9)), tmp_path) == (
        "net: the size of input 'x' must be fixed but for the batch, not n×3×h×9; export the "
        "model for one image size")
    assert refused(model([node("Relu", "x", "y")], {}, (1, 3, 9)), tmp_path) == (
        "net cannot be imported: input 'x' must be images (batch, channels, height, width), not "
        "of shape 1×3×9")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    whole = model([node("Conv", "x w1", "y")], C1, (1, 3, 9, 9)).SerializeToString()
    path = tmp_path / "net.onnx"
    for content in (b"", whole[:len(whole) // 2], b"\xff" * 100, b"<html>"):
        path.write_bytes(content)
        with pytest.raises(NetworkError, match=(
                f"^{re.escape(str(path))} is not a whole and valid ONNX file; export or copy it "
                "again: .+$")):
            import_onnx(path)
    path.unlink()
    with pytest.raises(NetworkError, match=(
            f"^cannot read model {re.escape(str(path))}: No such file or directory$")):
        import_model(path)
    with pytest.raises(NetworkError, match=r"^a model must be a file .onnx or .pt2, not 'a.h5'$"):
        import_model(Path("a.h5"))
