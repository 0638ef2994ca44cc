"""What a layer's weights meet on the calibration data: second moments of its inputs, and with the wanted output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dnndk_prep.quant.best.rounding import Moments
from dnndk_prep.quant.best.trial import Trial
from dnndk_prep.quant.calibration import Batch, example_count
from dnndk_prep.quant.network import Node, by_name
from dnndk_prep.quant.progress import bar
from dnndk_prep.quant.vai_q_tf1.places import Group

# Places of the output, over all examples, for each weight of an output channel; no more are looked at than these.
PLACES_A_WEIGHT, LEAST_PLACES = 8, 8192
KNOWN = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "Mul")


@dataclass(frozen=True)
class Layer:
    """A layer whose weights can be learned: its node, and the FixNeurons of its weights and bias."""

    node: Node
    weights: str
    bias: str | None
    output: str
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def end(self) -> str:
        """The node whose output is compared: the layer itself; the bias is told by the means."""
        return self.node.name

    def parted(self, weights: np.ndarray) -> np.ndarray:
        """The weights as (parts, K, O): a part is what shares its inputs."""
        wide = weights.astype(np.float64)
        if self.node.op == "DepthwiseConv2dNative":
            height, width, channels, multiplier = wide.shape
            return wide.reshape(height * width, channels, multiplier).transpose(1, 0, 2)
        if self.node.op == "Mul":
            return wide.reshape(-1, 1, 1)
        return wide.reshape(1, -1, wide.shape[-1])

    def whole(self, parts: np.ndarray) -> np.ndarray:
        """The weights in their own shape again, as float32."""
        if self.node.op == "DepthwiseConv2dNative":
            parts = parts.transpose(1, 0, 2)
        return parts.reshape(self.shape).astype(np.float32)


def layers(nodes: Sequence[Node], groups: Iterable[Group]) -> list[Layer]:
    """The layers in the order of the graph."""
    named = by_name(nodes)
    order = {item.name: i for i, item in enumerate(nodes)}
    found = []
    for group in groups:
        item, weights = named[group.layer], f"{group.weights}/wquant"
        value = named[group.weights].value
        if item.op not in KNOWN or weights not in named or value is None or weights not in item.inputs:
            continue
        if item.op == "Mul" and (value.ndim != 1 or value.size == 1):
            continue
        if item.op == "MatMul" and (item.attrs["transpose_a"].b or item.attrs["transpose_b"].b):
            continue
        layout = item.attrs.get("data_format")
        if layout is not None and layout.s not in (b"NHWC", b""):
            continue
        bias = f"{group.bias}/wquant" if group.bias is not None and f"{group.bias}/wquant" in named else None
        ends = [fix for fix in (f"{group.output}/aquant",) if fix in named]
        found.append(Layer(item, weights, bias, ends[0] if ends else "", value.shape))
    return sorted(found, key=lambda one: order[one.name])


class Sums:
    """Moments of one layer, added up batch by batch."""

    def __init__(self, layer: Layer, seed: int) -> None:
        self.layer, self.count = layer, 0
        self._random = np.random.default_rng(seed)
        self._xx = self._xy = self._yy = self._x = self._y = None

    def add(self, x: np.ndarray, y: np.ndarray, examples: int) -> None:
        """x: what the layer reads in the quantized graph; y: its output in the float graph; `examples`: in all."""
        taken, wanted = self._rows(x, y, examples)
        self.count += taken.shape[1]
        transposed = taken.transpose(0, 2, 1)
        found = (
            np.matmul(transposed, taken),
            np.matmul(transposed, wanted),
            np.square(wanted).sum(axis=1),
            taken.sum(axis=1),
            wanted.sum(axis=1),
        )
        old = (self._xx, self._xy, self._yy, self._x, self._y)
        self._xx, self._xy, self._yy, self._x, self._y = (
            new.astype(np.float64) if before is None else before + new for before, new in zip(old, found, strict=True)
        )

    def moments(self) -> Moments:
        """Of one place of the output; centred where a bias can take the mean."""
        h, c, power, x, y = (np.asarray(part) / self.count for part in (self._xx, self._xy, self._yy, self._x, self._y))
        if self.layer.bias is not None:
            h = h - x[:, :, None] * x[:, None, :]
            c = c - x[:, :, None] * y[:, None, :]
            power = power - np.square(y)
        return Moments(h, c, power, x, y)

    def _rows(self, x: np.ndarray, y: np.ndarray, examples: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (parts, places, K) and outputs (parts, places, O) of some places, drawn at random."""
        op = self.layer.node.op
        if op == "MatMul":
            return x[None], y[None]
        if op == "Mul":
            channels = x.shape[-1]
            flat = x.reshape(-1, channels), y.reshape(-1, channels)
            chosen = self._places(len(flat[0]), 1, examples, len(x))
            return flat[0][chosen].T[:, :, None], flat[1][chosen].T[:, :, None]
        images, height, width = y.shape[:3]
        size = int(np.prod(self.layer.shape[:2])) * (1 if op != "Conv2D" else self.layer.shape[2])
        chosen = self._places(images * height * width, size, examples, images)
        image, row, column = np.unravel_index(chosen, (images, height, width))
        patches = _patches(self.layer, x, (height, width), image, row, column)
        wanted = y[image, row, column]
        if op == "Conv2D":
            return patches.reshape(1, len(chosen), -1), wanted[None]
        places, _, channels = patches.shape
        return patches.transpose(2, 0, 1), wanted.reshape(places, channels, -1).transpose(1, 0, 2)

    def _places(self, available: int, size: int, examples: int, images: int) -> np.ndarray:
        wanted = max(LEAST_PLACES, PLACES_A_WEIGHT * size) * images // max(1, examples) + 1
        if wanted >= available:
            return np.arange(available)
        return np.sort(self._random.choice(available, wanted, replace=False))


def collect(
    found: Sequence[Layer],
    exact: Trial,
    rounded: Trial,
    batches: Sequence[Batch],
    float_values: Mapping[str, np.ndarray],
    values: Mapping[str, np.ndarray],
    positions: Mapping[str, int],
) -> dict[str, Moments]:
    """The moments of each layer by its name, in one pass over the batches."""
    sums = {layer.name: Sums(layer, i) for i, layer in enumerate(found)}
    examples = sum(map(example_count, batches))
    for batch in bar(batches, "layers' outputs", len(batches)):
        inputs = rounded.run(batch, values, positions, [layer.node.inputs[0] for layer in found])
        outputs = exact.run(batch, float_values, {}, [layer.end for layer in found])
        for layer, x, y in zip(found, inputs, outputs, strict=True):
            sums[layer.name].add(x, y, examples)
    return {name: one.moments() for name, one in sums.items()}


def _patches(
    layer: Layer,
    x: np.ndarray,
    size: tuple[int, int],
    image: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
) -> np.ndarray:
    """What the kernel covers at the places: (places, height * width of the kernel, channels)."""
    attrs = layer.node.attrs
    strides = attrs["strides"].list.i[1:3]
    dilations = attrs["dilations"].list.i[1:3] if "dilations" in attrs else (1, 1)
    kernel = layer.shape[:2]
    pads = [(0, 0)] * 4
    for axis in range(2):
        covered = (kernel[axis] - 1) * dilations[axis] + 1
        needed = max(0, (size[axis] - 1) * strides[axis] + covered - x.shape[axis + 1])
        before = needed // 2
        padding = attrs["padding"].s
        if padding == b"EXPLICIT":
            explicit = attrs["explicit_paddings"].list.i
            before, needed = explicit[2 * axis + 2], explicit[2 * axis + 2] + explicit[2 * axis + 3]
        pads[axis + 1] = (before, needed - before)
    padded = np.pad(x, pads)
    rows = row[:, None] * strides[0] + np.arange(kernel[0]) * dilations[0]
    columns = column[:, None] * strides[1] + np.arange(kernel[1]) * dilations[1]
    taken = padded[image[:, None, None], rows[:, :, None], columns[:, None, :]]
    return taken.reshape(len(image), kernel[0] * kernel[1], -1)
