"""The shapes that the layers of a Keras 2 model give, from their configs alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dnndk_prep.keras_io.architecture import Config, layers_of
from dnndk_prep.keras_io.layer_graph import LayerGraph

# The batch axis first; None for a size, or for a whole shape, that is not known.
Shape = tuple[int | None, ...] | None
Sizes = Sequence[int | None]

CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "SeparableConv1D", "SeparableConv2D", "DepthwiseConv2D")
TRANSPOSED = ("Conv2DTranspose", "Conv3DTranspose")
LOCAL = ("LocallyConnected1D", "LocallyConnected2D")
POOLINGS = tuple(f"{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3))
GLOBAL_POOLINGS = tuple(f"Global{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3))
UPSAMPLINGS = ("UpSampling1D", "UpSampling2D", "UpSampling3D")
PADDINGS = ("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
CROPPINGS = ("Cropping1D", "Cropping2D", "Cropping3D")
# Layers that look at neighbours and at channels: data_format tells which axis is which.
SPATIAL = (*CONVOLUTIONS, *TRANSPOSED, *LOCAL, *POOLINGS, *GLOBAL_POOLINGS, *UPSAMPLINGS, *PADDINGS, *CROPPINGS)

ELEMENTWISE = (
    *("Activation", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianNoise"),
    *("GaussianDropout", "AlphaDropout", "ActivityRegularization", "ReLU", "LeakyReLU", "ELU", "ThresholdedReLU"),
)
NORMALIZATIONS = ("LayerNormalization", "GroupNormalization", "UnitNormalization", "Normalization")
MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")


def shapes_of(graph: LayerGraph) -> list[Shape]:
    """The shape of what each call gives."""
    result: list[Shape] = []
    for call in graph.calls:
        inputs = [result[number] for number, _ in call.inputs]
        result.append(shape_after(call.leaf.kind, call.leaf.config, inputs))
    return result


def shape_after(kind: str, config: Config, inputs: Sequence[Shape]) -> Shape:
    """The shape that a layer gives for its inputs'; None for layers and inputs that are not known."""
    if kind == "InputLayer":
        return tuple(config["batch_input_shape"])
    if kind == "Reshape" and -1 not in config["target_shape"]:
        return None, *config["target_shape"]
    if not inputs or any(shape is None for shape in inputs):
        return None
    first: tuple[int | None, ...] = inputs[0]  # type: ignore[assignment]
    if kind in SPATIAL:
        return _spatial(kind, config, first)
    if kind in (*ELEMENTWISE, *NORMALIZATIONS, "BatchNormalization", "PReLU", "Softmax", "Rescaling"):
        return first
    if kind in ("Resizing", "CenterCrop"):
        # Of Keras 2: channels last, whatever stands around it.
        return *first[:-3], config["height"], config["width"], first[-1]
    if kind == "TimeDistributed":
        inner = shape_after(config["layer"]["class_name"], config["layer"]["config"], [(first[0], *first[2:])])
        return None if inner is None else (first[0], first[1], *inner[1:])
    if kind in MERGES:
        return first if len(set(inputs)) == 1 else None
    if kind == "Concatenate":
        return _concatenated(config, inputs)
    if kind == "Flatten":
        return first[0], _product(first[1:])
    if kind == "Dense":
        return *first[:-1], config["units"]
    if kind == "Permute":
        return first[0], *(first[axis] for axis in config["dims"])
    if kind == "Reshape":
        return _reshaped(first, config["target_shape"])
    return None


def numbers(value: Any, count: int) -> list[int]:
    """A setting that may be one number for all axes or a list of them."""
    return [int(value)] * count if isinstance(value, int | float) else [int(number) for number in value]


def window(config: Config, rank: int) -> tuple[list[int], list[int]]:
    """The size of the window, dilation counted, and the strides, for each of `rank` axes."""
    sizes = numbers(config.get("kernel_size") or config.get("pool_size") or 2, rank)
    dilation = numbers(config.get("dilation_rate") or 1, rank)
    strides = numbers(config.get("strides") or (sizes if "pool_size" in config else 1), rank)
    if min(*sizes, *dilation, *strides) < 1:
        raise ValueError(f"a window of {sizes} with strides {strides} and dilation {dilation}")
    return [(size - 1) * step + 1 for size, step in zip(sizes, dilation, strict=True)], strides


def is_channels_first(config: Config) -> bool:
    return config.get("data_format") == "channels_first"


def says_channels_first(kind: str, config: Config) -> bool:
    """Whether the layer, or one inside it (of a TimeDistributed), takes channels first."""
    settings: list[Any] = [layer.get("config") for layer in layers_of({"class_name": kind, "config": config})]
    return any(isinstance(one, dict) and is_channels_first(one) for one in settings)


def _spatial(kind: str, config: Config, shape: Sequence[int | None]) -> Shape:
    """Channels put last for the computation, and back."""
    first = is_channels_first(config)
    sizes, channels = (shape[2:], shape[1]) if first else (shape[1:-1], shape[-1])
    if kind in GLOBAL_POOLINGS and not config.get("keepdims"):
        return shape[0], channels
    new = _sizes(kind, config, sizes)
    if kind == "DepthwiseConv2D":
        channels = None if channels is None else channels * config.get("depth_multiplier", 1)
    elif "filters" in config:
        channels = config["filters"]
    return (shape[0], channels, *new) if first else (shape[0], *new, channels)


def _sizes(kind: str, config: Config, sizes: Sizes) -> list[int | None]:
    rank = len(sizes)
    if kind in GLOBAL_POOLINGS:
        return [1] * rank
    if kind in UPSAMPLINGS:
        return _each(lambda size, factor: size * factor, sizes, numbers(config["size"], rank))
    if kind in PADDINGS:
        return _each(lambda size, more: size + more, sizes, _sums(config["padding"], rank))
    if kind in CROPPINGS:
        return _each(lambda size, less: size - less, sizes, _sums(config["cropping"], rank))
    kernel, strides = window(config, rank)
    if kind in TRANSPOSED:
        extra = config.get("output_padding")
        if config["padding"] == "same" and extra is None:
            return _each(lambda size, stride: size * stride, sizes, strides)
        cut = [2 * (k // 2) if config["padding"] == "same" else 0 for k in kernel]
        # Without output_padding the window's rest counts only where it is longer than the stride.
        rest = [max(k, s) for k, s in zip(kernel, strides, strict=True)] if extra is None else kernel
        more = numbers(extra if extra is not None else 0, rank)
        parts = zip(sizes, strides, rest, cut, more, strict=True)
        return [None if n is None else (n - 1) * s + r - c + m for n, s, r, c, m in parts]
    if config.get("padding") in ("same", "causal"):
        return _each(lambda size, stride: math.ceil(size / stride), sizes, strides)
    pairs = list(zip(kernel, strides, strict=True))
    return [None if n is None else (n - k) // s + 1 for n, (k, s) in zip(sizes, pairs, strict=True)]


def _each(work: Callable[[int, int], int], sizes: Sizes, others: Sequence[int]) -> list[int | None]:
    return [None if size is None else work(size, other) for size, other in zip(sizes, others, strict=True)]


def _sums(value: Any, rank: int) -> list[int]:
    """How much is added or cut on each axis; one axis has a plain pair."""
    if isinstance(value, int):
        return [2 * value] * rank
    if rank == 1:
        return [sum(value)]
    return [2 * pair if isinstance(pair, int) else sum(pair) for pair in value]


def _concatenated(config: Config, inputs: Sequence[Shape]) -> Shape:
    shapes = [shape for shape in inputs if shape is not None]
    axis = config.get("axis", -1) % len(shapes[0])
    sizes = [shape[axis] for shape in shapes]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    return (*shapes[0][:axis], total, *shapes[0][axis + 1 :])


def _reshaped(shape: Sequence[int | None], target: Sequence[int]) -> Shape:
    total = _product(shape[1:])
    known = math.prod(size for size in target if size != -1)
    rest = None if total is None or not known else total // known
    return shape[0], *(rest if size == -1 else size for size in target)


def _product(sizes: Sizes) -> int | None:
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


RANKS: Mapping[str, int] = {kind: int(kind.replace("Transpose", "")[-2]) for kind in SPATIAL}
