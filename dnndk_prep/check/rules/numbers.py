"""The numbers of an operator that its limits are about."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from dnndk_prep.check.fusion import Group
from dnndk_prep.check.network import Network, Op, Shape
from dnndk_prep.check.windows import full_size, padding_of, spatial, zeros

Size = int | None
Pair = tuple[Size, Size]
# Top, bottom, left, right.
Sides = tuple[int, int, int, int]
NO_SIDES: Sides = (0, 0, 0, 0)


@dataclass(frozen=True)
class Numbers:
    """Height and width of kernel, stride, dilation and image, the zeros around it, and the channels in and out.

    None stands for what the graph does not tell. result: height and width of what comes out.
    """

    kernel: Pair = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: Sides = NO_SIDES
    image: Pair = (None, None)
    result: Pair = (None, None)
    channels: Pair = (None, None)

    @property
    def is_whole(self) -> bool:
        """Whether the kernel covers the image, so that it moves nowhere."""
        return None not in self.kernel and self.kernel == self.image

    @property
    def area(self) -> Size:
        """How many numbers one window covers."""
        height, width = self.kernel
        return None if height is None or width is None else height * width


def numbers_of(network: Network, one: Group) -> Numbers:
    """The numbers of any operator; those that it has not keep their defaults."""
    op = network.ops[one.main] if one.nodes else network.maker(one.main)
    if one.kind in ("conv", "depthwise", "max_pool", "avg_pool"):
        return _window(network, one, op)
    if one.kind == "transposed":
        return _transposed(network, op)
    if one.kind == "dense":
        return _dense(network, op)
    image = network.shape(op.inputs[0]) if op.inputs else None
    if one.kind in ("global_pool", "reduce_max") and image is not None:
        reduced = network.constant(op.inputs[1])
        axes = [] if reduced is None else [int(axis) for axis in reduced.reshape(-1)]
        kernel = tuple(image[axis] if axis in axes else 1 for axis in (1, 2))
        return Numbers(kernel=(kernel[0], kernel[1]), image=(image[1], image[2]), channels=(image[3], image[3]))
    result = network.shape(one.end)
    return Numbers(image=_plane(image), result=_plane(result), channels=(_last(image), _last(result)))


def _window(network: Network, one: Group, op: Op) -> Numbers:
    image, result = network.shape(op.inputs[0]), network.shape(op.name)
    if image is None or len(image) != 4:
        return Numbers()
    axes = spatial(op, 4)
    channel = 1 if axes[0] == 2 else 3
    if one.kind in ("conv", "depthwise"):
        kernel = network.constant_shape(op.inputs[1]) or (None, None, None, None)
    else:
        kernel = tuple(op.attrs["ksize"][axis] for axis in axes)
    stride = _pair(op.attrs.get("strides", [1] * 4), axes)
    dilation, pads = _pair(op.attrs.get("dilations") or [1] * 4, axes), NO_SIDES
    if one.nodes and network.ops[one.nodes[0]].op == "SpaceToBatchND":
        first = network.ops[one.nodes[0]]
        image, result = network.shape(first.inputs[0]) or image, network.shape(one.nodes[2])
        dilation, pads = _atrous(network, first)
    else:
        sides = [
            zeros(image[axis], full_size(size, rate), step, padding_of(op, axis))
            for axis, size, rate, step in zip(axes, kernel[:2], dilation, stride, strict=True)
        ]
        pads = (*sides[0], *sides[1])
    channels_out = result[channel] if result is not None else None
    return Numbers(
        kernel=(kernel[0], kernel[1]),
        stride=stride,
        dilation=dilation,
        pads=pads,
        image=(image[axes[0]], image[axes[1]]),
        result=_plane(result),
        channels=(image[channel], channels_out),
    )


def _atrous(network: Network, first: Op) -> tuple[tuple[int, int], Sides]:
    """The dilation and the zeros of SpaceToBatchND; the zeros behind also fill up the last block."""
    block, sides = (network.constant(name) for name in first.inputs[1:3])
    if block is None or block.size != 2:
        return (1, 1), NO_SIDES
    rates = int(block[0]), int(block[1])
    if sides is None:
        return rates, NO_SIDES
    top, _, left, _ = (int(size) for size in sides.reshape(-1))
    return rates, (top, top, left, left)


def _transposed(network: Network, op: Op) -> Numbers:
    kernel = network.constant_shape(op.inputs[1]) or (None, None, None, None)
    image, result = network.shape(op.inputs[2]), network.shape(op.name)
    stride = _pair(op.attrs["strides"], [1, 2])
    return Numbers(
        kernel=(kernel[0], kernel[1]),
        stride=stride,
        pads=_transposed_pads(op, kernel, stride) if op.attrs.get("padding") != "EXPLICIT" else _explicit(op),
        image=_plane(image),
        result=_plane(result),
        channels=(kernel[3], kernel[2]),
    )


def _transposed_pads(op: Op, kernel: Shape, stride: tuple[int, int]) -> Sides:
    """What is cut off the full result, (image - 1) * stride + kernel, to give image * stride."""
    if op.attrs.get("padding") != "SAME":
        return NO_SIDES
    cut = [max(0, (size or 0) - step) for size, step in zip(kernel[:2], stride, strict=True)]
    return (cut[0] // 2, cut[0] - cut[0] // 2, cut[1] // 2, cut[1] - cut[1] // 2)


def _explicit(op: Op) -> Sides:
    top, bottom, left, right = (int(size) for size in op.attrs["explicit_paddings"][2:6])
    return top, bottom, left, right


def _dense(network: Network, op: Op) -> Numbers:
    """A dense layer as the convolution that the compiler makes of it: the kernel is the map that was flattened."""
    weights = network.constant_shape(op.inputs[1]) or (None, None)
    rows, columns = reversed(weights) if op.attrs.get("transpose_b") else weights
    before = _flattened(network, op.inputs[0])
    if before is not None and len(before) == 4 and None not in before[1:] and prod(n or 0 for n in before[1:]) == rows:
        return Numbers(
            kernel=(before[1], before[2]), image=(before[1], before[2]), channels=(before[3], columns), result=(1, 1)
        )
    return Numbers(image=(1, 1), result=(1, 1), channels=(rows, columns))


def _flattened(network: Network, reference: str) -> Shape | None:
    """The shape that a value had before the reshapes in front of it."""
    op = network.maker(reference)
    while op.op in ("Reshape", "Squeeze", "Relu", "Relu6") and op.op != "Const":
        reference = op.inputs[0]
        op = network.maker(reference)
        shape = network.shape(reference)
        if shape is not None and len(shape) == 4:
            return shape
    return network.shape(reference)


def _pair(values: list[int], axes: list[int]) -> tuple[int, int]:
    return int(values[axes[0]]), int(values[axes[1]])


def _plane(shape: Shape | None) -> Pair:
    return (shape[1], shape[2]) if shape is not None and len(shape) == 4 else (None, None)


def _last(shape: Shape | None) -> Size:
    return shape[-1] if shape else None
