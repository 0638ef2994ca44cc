"""Pooling as the DPU computes it: means as average pools, large kernels in two steps, averages by shifts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from dnndk_prep.errors import StageError
from dnndk_prep.quant.matching import ANY, CONST, Match, Replacement, op, replace_all
from dnndk_prep.quant.network import Node, const, node

# The area from which a kernel is split, and the side up to which an average gets a scale.
LARGE_AREA, LARGEST_SIDE = 512, 256
# Square kernels for which the DPU has a factor k / 2^n of its own.
FACTORS = {3: (7, 64), 5: (10, 256), 6: (7, 256), 7: (21, 1024), 14: (21, 4096)}
SPLIT = "_viti_split"

Shape = Callable[[str], list[int | None] | None]


def means_as_pools(nodes: Sequence[Node], shape: Shape) -> list[Node]:
    """Mean over the axes 1 and 2 as AvgPool of that name, without kept dimensions a Squeeze behind it.

    `shape` tells the static shape of a tensor. Raises StageError where it has no height or width.
    """

    def make(match: Match, read: frozenset[str]) -> Replacement:
        mean, source, axes = match.node, match.inputs[0].node, match.inputs[1].node
        if axes.array.reshape(-1).tolist() != [1, 2]:
            return Replacement([source, axes, mean])
        pool = _pool(mean.name, "AvgPool", mean.inputs[0], _sides(mean.name, shape(mean.inputs[0])), "VALID")
        if mean.attrs["keep_dims"].b:
            return Replacement([source, pool])
        squeeze = node(f"{mean.name}/squeeze", "Squeeze", mean.name, squeeze_dims=[1, 2])
        return Replacement([source, pool, squeeze], {mean.name: squeeze.name}, frozenset([squeeze.name]))

    return replace_all(nodes, op("Mean", ANY, CONST), make)


def split_large(nodes: Sequence[Node], notes: list[str]) -> list[Node]:
    """A pool of a large kernel as two, each with the kernel as its stride."""

    def make(match: Match, read: frozenset[str]) -> Replacement:
        pool = match.node
        height, width = _kernel(pool)
        if height * width < LARGE_AREA:
            return Replacement([pool])
        (first_h, second_h), (first_w, second_w) = _factors(height), _factors(width)
        padding = pool.attrs["padding"].s.decode()
        if tuple(pool.attrs["strides"].list.i)[1:3] != (height, width):
            notes.append(
                f"{pool.name}: vai_q_tensorflow splits this pool in two without its strides, and so is it here; "
                "the float result is another one"
            )
        first = _pool(f"{pool.name}{SPLIT}", pool.op, pool.inputs[0], (first_h, first_w), padding)
        return Replacement([first, _pool(pool.name, pool.op, first.name, (second_h, second_w), padding)])

    return replace_all(nodes, op("MaxPool AvgPool"), make)


def scaled(nodes: Sequence[Node], scale_all: bool) -> list[Node]:
    """AvgPool with a factor behind it: the DPU divides by the area with a product and a shift.

    Raises StageError for an average over channels first, which the quantizer aborts at.
    """

    def make(match: Match, read: frozenset[str]) -> Replacement:
        pool = match.node
        layout = pool.attrs.get("data_format")
        if layout is not None and layout.s != b"NHWC":
            raise StageError(
                f"the average pool {pool.name} has its channels first",
                expected="NHWC: the quantizer takes no other",
                found=layout.s.decode(),
                remedy="convert the model with channels last",
            )
        factor = scale_factor(*_kernel(pool), scale_all=scale_all)
        if factor is None:
            return Replacement([pool])
        value, product = f"{pool.name}/scale_value", f"{pool.name}/mul"
        made = [pool, const(value, np.array([factor], np.float32)), node(product, "Mul", pool.name, value)]
        return Replacement(made, {pool.name: product}, frozenset([product]))

    return replace_all(nodes, op("AvgPool"), make)


def scale_factor(height: int, width: int, scale_all: bool) -> np.float32 | None:
    """Area times the k / 2^n that the DPU uses for 1 / area; None for no scale at all."""
    area = height * width
    if height == width and height in FACTORS:
        k, power = FACTORS[height]
        return np.float32(float(area) * k / power)
    if not scale_all or max(height, width) > LARGEST_SIDE:
        return None
    factor, least = np.float32(1), np.float32(1)
    for n in range(math.ceil(math.log2(area * 128))):
        k = max(1, math.floor(2**n / area + 0.5))
        difference = np.float32(abs(k / 2**n - 1 / area))
        if difference < least:
            factor, least = np.float32(k / 2**n) * np.float32(area), difference
    return factor


def _kernel(pool: Node) -> tuple[int, int]:
    size = pool.attrs["ksize"].list.i
    return size[1], size[2]


def _sides(name: str, shape: list[int | None] | None) -> tuple[int, int]:
    if shape is None or len(shape) != 4 or shape[1] is None or shape[2] is None:
        raise StageError(
            f"the mean {name} is over images of a size that nobody knows",
            expected="an image with a known height and width",
            found="no shape" if shape is None else str(shape),
            remedy="give the placeholder a size",
        )
    return shape[1], shape[2]


def _factors(number: int) -> tuple[int, int]:
    """Two factors, the first one the largest that is not above the root."""
    first = math.isqrt(number)
    while first > 1 and number % first:
        first -= 1
    return first, number // first


def _pool(name: str, kind: str, source: str, kernel: tuple[int, int], padding: str) -> Node:
    size = [1, *kernel, 1]
    return node(name, kind, source, ksize=size, strides=size, padding=padding, data_format="NHWC")
