"""The cases of the operator check: each with the row of the limits that it is about, just inside and just outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from check_networks import LAYER, Build, Make

ISA0, ISA0_EM = "DPUCZDX8G_ISA0_B4096_MAX_BG2@vitis-ai-2.0", "DPUCZDX8G_ISA0_B4096_MAX_EM"
ISA0_OLD = "DPUCZDX8G_ISA0_B4096_MAX_BG2@vitis-ai-1.3"
ISA1, ISA1_OLD = "DPUCZDX8G_ISA1_B4096@vitis-ai-3.5", "DPUCZDX8G_ISA1_B4096@vitis-ai-2.5"
SMALL, ZED, VEK = "DPUCZDX8G_ISA1_B1152", "zedboard@dnndk-3.1", "vek280"
# Where the limits stand.
LIMITS = "limits of DPUCZDX8G (UG1414, target files, dpu_op_filter.py): "
LAYERS = "Keras layers on the DPU (vai_q_tensorflow2 README, table 4): "
DCF = "DCF of DNNDK 3.1: "
MEASURED = "vai_q_tensorflow 3.5 as measured: "
TF2 = "vai_q_tensorflow2 3.5 as measured: "
# What stands before the row in a source: a document and a colon, or one of these.
ELSEWHERE = ("Xilinx/Vitis-AI issue", "dnndk_prep/dpu/dpus.csv, ", "Vitis-AI v3.5, ", "UG1414")
SOURCES = (LIMITS, LAYERS, DCF, MEASURED, TF2, *ELSEWHERE)


@dataclass(frozen=True)
class Row:
    """One limit: a network whose node `layer` keeps it, and one whose `layer` breaks it.

    inside, outside: what `make` gets, or the DPU where that is what differs.
    """

    rule: str
    source: str
    make: Callable[..., Make]
    inside: dict[str, Any]
    outside: dict[str, Any]
    target: str = ISA1
    outside_target: str | None = None
    family: str = "tf1"
    outside_family: str | None = None
    # What the CPU gets with it, as the check shows it.
    value: str | None = None

    @property
    def id(self) -> str:
        return f"{self.rule}-{self.target}-{self.outside}"


def conv(size: Any = 32, kind: str = "Conv2D", channels: tuple[int, int] = (3, 8), **options: Any) -> Make:
    return lambda b: b.conv(b.image(size, channels[0]), kind=kind, channels=channels, name=LAYER, **options)


def depthwise(size: Any = 32, channels: tuple[int, int] = (8, 1), **options: Any) -> Make:
    return conv(size, "DepthwiseConv2dNative", channels, **options)


def explicit(before: int, after: int, kind: str = "Conv2D", **options: Any) -> Make:
    sides = [0, 0, before, after, 0, 0, 0, 0]
    return conv(kind=kind, padding="EXPLICIT", explicit_paddings=sides, **options)


def across(before: int, after: int, size: Any = (8, 600), **options: Any) -> Make:
    """Zeros left and right of a depthwise convolution."""
    sides = [0, 0, 0, 0, before, after, 0, 0]
    return depthwise(size, padding="EXPLICIT", explicit_paddings=sides, **options)


def dense(rows: int | tuple[int, int, int], columns: int = 8) -> Make:
    def make(b: Build) -> None:
        if isinstance(rows, int):
            b.op("MatMul", b.input(None, rows), b.weights(rows, columns), name=LAYER)
            return
        height, width, channels = rows
        flat = b.op("Reshape", b.input(None, *rows), b.ints(-1, height * width * channels))
        b.op("MatMul", flat, b.weights(height * width * channels, columns), name=LAYER)

    return make


def transposed(
    kernel: int = 2,
    stride: int = 2,
    size: int = 8,
    out: int | None = None,
    channels: tuple[int, int] = (8, 8),
    **more: Any,
) -> Make:
    def make(b: Build) -> None:
        image = b.image(size, channels[0], batch=1)
        sizes = b.ints(1, out or size * stride, out or size * stride, channels[1])
        weights = b.weights(kernel, kernel, channels[1], channels[0])
        options = {"padding": "SAME", **more}
        b.op("Conv2DBackpropInput", sizes, weights, image, name=LAYER, strides=[1, stride, stride, 1], **options)

    return make


def pool(kind: str, kernel: Any, size: Any = 600, **options: Any) -> Make:
    return lambda b: b.op("Relu", b.conv(b.pool(b.image(size), kind, kernel, **options), kernel=1))


def reduced(kind: str, size: Any) -> Make:
    def make(b: Build) -> None:
        x = b.op(kind, b.image(size), b.ints(1, 2), name=LAYER, keep_dims=False)
        b.op("MatMul", x, b.weights(3, 4))

    return make


def joined(kind: str) -> Make:
    return lambda b: b.op(kind, b.image(), b.image(), name=LAYER)


def concat(channels: tuple[int, int] = (8, 8), axis: int = 3, cpu: bool = False) -> Make:
    def make(b: Build) -> None:
        left, right = b.image(8, channels[0]), b.image(8, channels[1])
        b.op("ConcatV2", b.op("Tanh", left) if cpu else left, right, b.ints(axis), name=LAYER)

    return make


def resize(method: str, factor: float = 2, channels: int = 8, **options: Any) -> Make:
    size = int(12 * factor)
    kind = f"Resize{method}"
    return lambda b: b.op(kind, b.image(12, channels), b.ints(size, size), name=LAYER, **options)


def reshape(shape: tuple[int, ...]) -> Make:
    return lambda b: b.op("Reshape", b.image(4, 8, batch=2), b.ints(*shape), name=LAYER)


def pad(sides: Any, reader: str = "Conv2D", computed: bool = False) -> Make:
    def make(b: Build) -> None:
        around = b.op("Pack", b.ints(0)) if computed else b.ints(sides)
        x = b.op("Pad", b.image(), around, name=LAYER)
        if reader == "Conv2D":
            b.conv(x, padding="VALID")
        else:
            b.op(reader, x, b.image(34))

    return make


def around(top: int) -> list[list[int]]:
    return [[0, 0], [top, 1], [1, 1], [0, 0]]


def argmax(axis: int = -1) -> Make:
    return lambda b: b.op("ArgMax", b.biased(b.image()), b.ints(axis), name=LAYER)


def activation(kind: str, core: str = "conv", **attrs: Any) -> Make:
    """`layer` is the activation behind an operator."""

    def make(b: Build) -> None:
        x = b.image(channels=8)
        behind = {
            "conv": lambda: b.biased(x, channels=(8, 8)),
            "depthwise": lambda: b.conv(x, kind="DepthwiseConv2dNative", channels=(8, 1)),
            "add": lambda: b.op("Add", x, b.image(channels=8)),
            "max_pool": lambda: b.pool(x, "MaxPool", 2, name=None),
            "concat": lambda: b.op("ConcatV2", x, b.image(channels=8), b.ints(3)),
        }[core]()
        b.op(kind, behind, name=LAYER, **attrs)

    return make


def ceiling(number: float, clip: bool = False) -> Make:
    """min(relu(x), c), or max(min(x, c), 0)."""

    def make(b: Build) -> None:
        x = b.biased(b.image())
        if clip:
            b.op("Maximum", b.op("Minimum", x, b.const(number)), b.const(0.0), name=LAYER)
        else:
            b.op("Minimum", b.op("Relu", x), b.const(number), name=LAYER)

    return make


def gate(form: str) -> Make:
    """hsigmoid, hswish, swish or sigmoid behind a convolution."""

    def make(b: Build) -> None:
        x = b.biased(b.image())
        if form in ("sigmoid", "swish"):
            inner = b.op("Sigmoid", x, name=LAYER if form == "sigmoid" else None)
        else:
            last = LAYER if form == "hsigmoid" else None
            inner = b.op("Mul", b.op("Relu6", b.op("Add", x, b.const(3.0))), b.const(1 / 6), name=last)
        if form in ("swish", "hswish"):
            b.op("Mul", x, inner, name=LAYER)

    return make


def prelu(slopes: tuple[float, ...]) -> Make:
    """Keras' own spelling: with one slope for all it is a LeakyReLU."""

    def make(b: Build) -> None:
        x = b.biased(b.image())
        negative = b.op("Mul", b.const(slopes), b.op("Relu", b.op("Neg", x)))
        b.op("Add", b.op("Relu", x), negative, name=LAYER)

    return make


def scale(shape: tuple[int, ...]) -> Make:
    return lambda b: b.op("Mul", b.pool(b.image(channels=8), "MaxPool", 2, name=None), b.weights(*shape), name=LAYER)


def shifted(kind: str) -> Make:
    """A batch norm as a product and a sum, or a difference."""

    def make(b: Build) -> None:
        scaled = b.op("Mul", b.pool(b.image(channels=8), "MaxPool", 2, name=None), b.weights(8))
        b.op(kind, scaled, b.weights(8), name=LAYER)

    return make


def with_format(data_format: str) -> Make:
    return conv(size=(32, 32), channels=(32, 8) if data_format == "NCHW" else (3, 8), data_format=data_format)


def sums(shape: tuple[int | None, ...]) -> Make:
    return lambda b: b.op("Add", b.input(*shape), b.input(*shape), name=LAYER)


def entrance(shape: tuple[int | None, ...], dtype: str = "float32") -> Make:
    def make(b: Build) -> None:
        x = b.input(*shape, name=LAYER, dtype=dtype)
        b.conv(x, channels=(3, 8)) if len(shape) == 4 else b.op("MatMul", x, b.weights(shape[-1] or 1, 4))

    return make


def of_dtype(dtype: str) -> Make:
    return lambda b: b.op("Add", b.image(), b.image(), name=LAYER, dtype=dtype)


def gated(kind: str) -> Make:
    """A product with what the quantizer quantizes, or leaves in float."""

    def make(b: Build) -> None:
        x = b.biased(b.image())
        b.op("Mul", x, b.op(kind, b.biased(b.image())), name=LAYER)

    return make


def bias(behind: str) -> Make:
    def make(b: Build) -> None:
        x = b.conv(b.image()) if behind == "conv" else b.pool(b.image(channels=8), "MaxPool", 2, name=None)
        b.op("BiasAdd", x, b.weights(8), name=LAYER)

    return make


def mirror(kind: str) -> Make:
    return lambda b: b.conv(b.op(kind, b.image(), b.ints(around(1)), name=LAYER), padding="VALID")


def last(kind: str) -> Make:
    return lambda b: b.op(kind, b.op("MatMul", b.input(None, 8), b.weights(8, 4)), name=LAYER)


ROWS: tuple[Row, ...] = (
    Row("conv.kernel", LIMITS + "conv2d kernel w,h", conv, {"kernel": 16}, {"kernel": 17}, value="17"),
    Row("conv.kernel", LIMITS + "conv2d kernel w,h", conv, {"kernel": (1, 16)}, {"kernel": (1, 17)}, ISA0, value="17"),
    Row("conv.stride", LIMITS + "conv2d stride", conv, {"stride": 8}, {"stride": 9}, value="9"),
    Row(
        "conv.stride",
        LIMITS + "no stride limit when kernel = input size",
        conv,
        {"size": 12, "kernel": 12, "stride": 12, "padding": "VALID"},
        {"size": 13, "kernel": 12, "stride": 12, "padding": "VALID"},
    ),
    Row(
        "conv.weights",
        LIMITS + "conv2d size",
        conv,
        {"kernel": 8, "channels": (512, 8)},
        {"kernel": 8, "channels": (513, 8)},
        value="2112",
    ),
    Row(
        "conv.weights",
        LIMITS + "conv2d size, cp 12",
        conv,
        {"kernel": 8, "channels": (384, 8)},
        {"kernel": 8, "channels": (385, 8)},
        SMALL,
    ),
    Row(
        "conv.channels_in",
        LIMITS + "conv2d channels",
        conv,
        {"kernel": 1, "channels": (4096, 8)},
        {"kernel": 1, "channels": (4097, 8)},
        value="4097",
    ),
    Row(
        "conv.channels_in",
        LIMITS + "conv2d channels, cp 12",
        conv,
        {"kernel": 1, "channels": (3072, 8)},
        {"kernel": 1, "channels": (3073, 8)},
        SMALL,
    ),
    Row("conv.channels_out", LIMITS + "conv2d channels", conv, {"channels": (3, 4096)}, {"channels": (3, 4097)}),
    Row(
        "conv.dilation",
        LIMITS + "dilation",
        conv,
        {"channels": (512, 8), "dilation": 8},
        {"channels": (513, 8), "dilation": 8},
        value="4104",
    ),
    Row("conv.dilated_stride", LIMITS + "dilation, stride 1", conv, {"dilation": 2}, {"dilation": 2, "stride": 2}),
    Row("conv.padding", LIMITS + "padding", explicit, {"before": 2, "after": 2}, {"before": 3, "after": 2}),
    Row("dense.kernel", LIMITS + "FC / MatMul", dense, {"rows": (16, 16, 1)}, {"rows": (17, 17, 1)}, value="17"),
    Row("dense.weights", LIMITS + "FC / MatMul, conv2d size", dense, {"rows": (7, 7, 656)}, {"rows": (7, 7, 657)}),
    Row("dense.channels_in", LIMITS + "FC / MatMul, conv2d channels", dense, {"rows": 4096}, {"rows": 4097}),
    Row(
        "dense.channels_out",
        LIMITS + "FC / MatMul, Cout",
        dense,
        {"rows": 8, "columns": 4096},
        {"rows": 8, "columns": 4097},
    ),
    Row("depthwise.kernel", LIMITS + "depthwise kernel, ISA0", depthwise, {"kernel": 16}, {"kernel": 17}, ISA0),
    Row(
        "depthwise.kernel",
        LIMITS + "depthwise kernel, ISA1",
        depthwise,
        {"size": (8, 600), "kernel": (1, 256), "padding": "VALID"},
        {"size": (8, 600), "kernel": (1, 257), "padding": "VALID"},
    ),
    Row("depthwise.stride", LIMITS + "depthwise stride, ISA0", depthwise, {"stride": 8}, {"stride": 9}, ISA0),
    Row(
        "depthwise.stride",
        LIMITS + "depthwise stride, ISA1",
        depthwise,
        {"size": 600, "stride": 256, "padding": "VALID"},
        {"size": 600, "stride": 257, "padding": "VALID"},
    ),
    Row(
        "depthwise.weights",
        LIMITS + "depthwise size, ISA0",
        depthwise,
        {"kernel": 8, "channels": (512, 1)},
        {"kernel": 8, "channels": (513, 1)},
        ISA0,
    ),
    Row(
        "depthwise.weights",
        LIMITS + "depthwise size, ISA1",
        depthwise,
        {"size": 64, "kernel": 45, "padding": "VALID"},
        {"size": 64, "kernel": 46, "padding": "VALID"},
    ),
    Row(
        "depthwise.channels",
        LIMITS + "conv2d channels",
        depthwise,
        {"kernel": 1, "channels": (4096, 1)},
        {"kernel": 1, "channels": (4097, 1)},
    ),
    Row(
        "depthwise.dilation",
        LIMITS + "dilation",
        depthwise,
        {"channels": (512, 1), "dilation": 8},
        {"channels": (513, 1), "dilation": 8},
    ),
    Row(
        "depthwise.dilation_equal",
        "Xilinx/Vitis-AI issue 813",
        depthwise,
        {"dilation": 2},
        {"dilation": (2, 3)},
    ),
    Row(
        "depthwise.padding",
        LIMITS + "padding",
        explicit,
        {"before": 2, "after": 2, "kind": "DepthwiseConv2dNative", "channels": (8, 1)},
        {"before": 3, "after": 2, "kind": "DepthwiseConv2dNative", "channels": (8, 1)},
    ),
    Row(
        "depthwise.pad_before",
        LIMITS + "depthwise pad, ISA1",
        depthwise,
        {"size": 64, "kernel": 31},
        {"size": 64, "kernel": 33},
        value="16",
    ),
    Row(
        "depthwise.pad_after",
        LIMITS + "depthwise pad, ISA1",
        across,
        {"before": 0, "after": 255, "kernel": (1, 129), "dilation": 2},
        {"before": 0, "after": 256, "kernel": (1, 129), "dilation": 2},
    ),
    Row("depthwise.engine", DCF + "ZedBoard", depthwise, {}, {"kernel": 3}, ISA1, ZED),
    Row(
        "transposed.ratio",
        LIMITS + "transposed conv",
        transposed,
        {"kernel": 16, "stride": 1},
        {"kernel": 17, "stride": 1},
    ),
    Row(
        "transposed.ratio",
        LIMITS + "transposed conv, floor",
        transposed,
        {"kernel": 2, "stride": 2},
        {"kernel": 1, "stride": 2},
        value="0",
    ),
    Row(
        "transposed.channels_in",
        LIMITS + "transposed conv",
        transposed,
        {"channels": (4096, 8)},
        {"channels": (4097, 8)},
    ),
    Row(
        "transposed.channels_out",
        LIMITS + "transposed conv",
        transposed,
        {"channels": (8, 4096)},
        {"channels": (8, 4097)},
    ),
    Row(
        "transposed.padding",
        LIMITS + "transposed conv, pad <= kernel",
        transposed,
        {"kernel": 3, "stride": 1, "out": 4, "padding": "EXPLICIT", "explicit_paddings": [0, 0, 3, 3, 3, 3, 0, 0]},
        {"kernel": 3, "stride": 1, "out": 3, "padding": "EXPLICIT", "explicit_paddings": [0, 0, 4, 3, 3, 3, 0, 0]},
    ),
    Row(
        "transposed.output_padding",
        LIMITS + "output_padding must be 0",
        transposed,
        {"out": 16, "padding": "VALID"},
        {"out": 17, "padding": "VALID"},
    ),
    Row(
        "max_pool.kernel",
        LIMITS + "max pool, ISA0",
        pool,
        {"kind": "MaxPool", "kernel": 8},
        {"kind": "MaxPool", "kernel": 9},
        ISA0,
        value="9",
    ),
    Row(
        "max_pool.kernel",
        LIMITS + "max pool, 2-8 in 1.3",
        pool,
        {"kind": "MaxPool", "kernel": 2},
        {"kind": "MaxPool", "kernel": (1, 101)},
        ISA0_OLD,
    ),
    Row(
        "max_pool.kernel",
        LIMITS + "max_reduce",
        pool,
        {"kind": "MaxPool", "kernel": (2, 100)},
        {"kind": "MaxPool", "kernel": (2, 101)},
        ISA0,
    ),
    Row(
        "max_pool.kernel",
        LIMITS + "max pool, ISA1",
        pool,
        {"kind": "MaxPool", "kernel": (3, 170)},
        {"kind": "MaxPool", "kernel": (4, 257)},
        ISA1,
    ),
    Row(
        "max_pool.stride",
        LIMITS + "max pool, ISA0",
        pool,
        {"kind": "MaxPool", "kernel": 3, "stride": 8},
        {"kind": "MaxPool", "kernel": 3, "stride": 9},
        ISA0,
    ),
    Row(
        "max_pool.stride",
        LIMITS + "max pool, ISA1",
        pool,
        {"kind": "MaxPool", "kernel": 3, "stride": 256},
        {"kind": "MaxPool", "kernel": 3, "stride": 257},
    ),
    Row(
        "max_pool.pad_before",
        LIMITS + "depthwise pad, ISA1 (the ALU's)",
        pool,
        {"kind": "MaxPool", "kernel": (1, 31), "padding": "SAME"},
        {"kind": "MaxPool", "kernel": (1, 33), "padding": "SAME"},
    ),
    Row(
        "avg_pool.kernel",
        LIMITS + "avg pool, ISA0",
        pool,
        {"kind": "AvgPool", "kernel": 8},
        {"kind": "AvgPool", "kernel": 9},
        ISA0,
    ),
    Row(
        "avg_pool.kernel",
        LIMITS + "avg pool, ISA0, low",
        pool,
        {"kind": "AvgPool", "kernel": 2},
        {"kind": "AvgPool", "kernel": 1},
        ISA0,
    ),
    Row(
        "avg_pool.square",
        LIMITS + "avg pool, square",
        pool,
        {"kind": "AvgPool", "kernel": (3, 3)},
        {"kind": "AvgPool", "kernel": (3, 5)},
        ISA0,
        value="3x5",
    ),
    Row(
        "avg_pool.square",
        LIMITS + "avg pool, rectangular ok on ISA1",
        pool,
        {"kind": "AvgPool", "kernel": (3, 5)},
        {"kind": "AvgPool", "kernel": (3, 5)},
        ISA1,
        ISA0,
    ),
    Row(
        "avg_pool.stride",
        LIMITS + "avg pool, ISA0",
        pool,
        {"kind": "AvgPool", "kernel": 3, "stride": 8},
        {"kind": "AvgPool", "kernel": 3, "stride": 9},
        ISA0,
    ),
    Row(
        "avg_pool.pad_before",
        LIMITS + "depthwise pad, ISA1 (the ALU's)",
        pool,
        {"kind": "AvgPool", "kernel": (1, 31), "padding": "SAME"},
        {"kind": "AvgPool", "kernel": (1, 33), "padding": "SAME"},
    ),
    Row(
        "avg_pool.engine",
        "dnndk_prep/dpu/dpus.csv, DPUCZDX8G_ISA0_B4096_MIN",
        pool,
        {"kind": "AvgPool", "kernel": 2},
        {"kind": "AvgPool", "kernel": 3},
        ISA0,
        "DPUCZDX8G_ISA0_B4096_MIN",
    ),
    Row(
        "global_pool.kernel",
        LIMITS + "global pool, ISA0",
        reduced,
        {"kind": "Mean", "size": 8},
        {"kind": "Mean", "size": 9},
        ISA0,
        value="9",
    ),
    Row(
        "global_pool.kernel",
        LIMITS + "global pool, ISA1",
        reduced,
        {"kind": "Mean", "size": (2, 256)},
        {"kind": "Mean", "size": (2, 257)},
        family="tf2",
    ),
    Row(
        "global_pool.kernel",
        MEASURED + "pools with area >= 512 are split",
        reduced,
        {"kind": "Mean", "size": 56},
        {"kind": "Mean", "size": 22},
        ISA0,
    ),
    Row(
        "reduce_max.kernel",
        LIMITS + "max_reduce",
        reduced,
        {"kind": "Max", "size": (2, 100)},
        {"kind": "Max", "size": (2, 101)},
        ISA0,
    ),
    Row("multiply.engine", LIMITS + "eltwise mult", joined, {"kind": "Mul"}, {"kind": "Mul"}, ISA0_EM, ISA0),
    Row("concat.channels", LIMITS + "concat", concat, {"channels": (4000, 96)}, {"channels": (4000, 97)}),
    Row(
        "concat.inputs",
        LIMITS + "concat, inputs from the CPU",
        concat,
        {"axis": 3, "cpu": True},
        {"axis": 1, "cpu": True},
        family="tf2",
    ),
    Row(
        "resize.channels",
        LIMITS + "upsample, Cin",
        resize,
        {"method": "NearestNeighbor", "channels": 4096},
        {"method": "NearestNeighbor", "channels": 4097},
    ),
    Row(
        "resize.corners",
        LIMITS + "upsample, no align_corners",
        resize,
        {"method": "NearestNeighbor", "align_corners": False},
        {"method": "NearestNeighbor", "align_corners": True},
    ),
    Row(
        "resize.factor",
        "Xilinx/Vitis-AI issue 802",
        resize,
        {"method": "NearestNeighbor", "factor": 3},
        {"method": "NearestNeighbor", "factor": 1.5},
    ),
    Row(
        "resize.factor",
        LIMITS + "upsample, bilinear x2/x4",
        resize,
        {"method": "Bilinear", "factor": 4},
        {"method": "Bilinear", "factor": 3},
    ),
    Row(
        "resize.factor",
        LIMITS + "upsample, x8 without half-pixel",
        resize,
        {"method": "Bilinear", "factor": 8},
        {"method": "Bilinear", "factor": 8, "half_pixel_centers": True},
    ),
    Row(
        "resize.depthwise",
        LIMITS + "upsample, transposed depthwise",
        resize,
        {"method": "Bilinear"},
        {"method": "Bilinear"},
        ISA1,
        ZED,
    ),
    Row("reshape.batch", LIMITS + "reshape/flatten", reshape, {"shape": (-1, 128)}, {"shape": (4, 64)}),
    Row("pad.size", LIMITS + "pad op", pad, {"sides": around(2)}, {"sides": around(3)}, value="3"),
    Row("pad.reader", LIMITS + "pad op", pad, {"sides": around(1)}, {"sides": around(1), "reader": "Add"}),
    Row("pad.axes", LIMITS + "pad op", pad, {"sides": around(1)}, {"sides": [[0, 0], [1, 1], [1, 1], [0, 1]]}),
    Row("pad.constant", LIMITS + "pad op", pad, {"sides": around(1)}, {"sides": None, "computed": True}, family="tf2"),
    Row("softmax", LIMITS + "softmax", last, {"kind": "Relu"}, {"kind": "Softmax"}),
    Row("argmax.engine", LIMITS + "argmax, since 3.0", argmax, {}, {"axis": -1}, ISA1, ISA1_OLD),
    Row("argmax.axis", LIMITS + "argmax", argmax, {"axis": 3}, {"axis": 1}),
    Row(
        "activation.conv",
        DCF + "ZedBoard, ReLU types",
        activation,
        {"kind": "LeakyRelu", "alpha": 0.1},
        {"kind": "LeakyRelu", "alpha": 0.1},
        ISA1,
        ZED,
        value="leaky_relu",
    ),
    Row(
        "activation.depthwise",
        LIMITS + "depthwise act, ISA0",
        activation,
        {"kind": "Relu6", "core": "depthwise"},
        {"kind": "LeakyRelu", "core": "depthwise", "alpha": 0.1},
        ISA0,
    ),
    Row(
        "activation.add",
        LIMITS + "eltwise add, ReLU",
        activation,
        {"kind": "Relu", "core": "add"},
        {"kind": "Relu6", "core": "add"},
    ),
    Row(
        "activation.max_pool",
        "Vitis-AI v3.5, create_target_v2.cpp",
        activation,
        {"kind": "Relu", "core": "max_pool"},
        {"kind": "Relu6", "core": "max_pool"},
        ISA0,
    ),
    Row(
        "activation.alone",
        TF2 + "standalone ReLU",
        activation,
        {"kind": "Relu", "core": "conv"},
        {"kind": "Relu", "core": "concat"},
    ),
    Row(
        "activation.alone",
        "dnndk_prep/dpu/dpus.csv, alu_types",
        activation,
        {"kind": "LeakyRelu", "core": "concat", "alpha": 0.1},
        {"kind": "LeakyRelu", "core": "concat", "alpha": 0.1},
        ISA1,
        ISA0,
    ),
    Row(
        "leaky_relu.slope",
        LIMITS + "LeakyReLU alpha",
        activation,
        {"kind": "LeakyRelu", "alpha": 26 / 256},
        {"kind": "LeakyRelu", "alpha": 0.2},
        value="0.2",
    ),
    Row(
        "leaky_relu.slope",
        MEASURED + "alpha 0.1 -> 26/256 (within 1e-5)",
        activation,
        {"kind": "LeakyRelu", "alpha": 0.10001},
        {"kind": "LeakyRelu", "alpha": 0.10002},
    ),
    Row(
        "leaky_relu.slope",
        TF2 + "0.1 (+-1e-7)",
        activation,
        {"kind": "LeakyRelu", "alpha": 0.1},
        {"kind": "LeakyRelu", "alpha": 0.10001},
        family="tf2",
    ),
    Row("relu.ceiling", LIMITS + "ReLU6", ceiling, {"number": 6}, {"number": 5}, value="5"),
    Row(
        "relu.ceiling", LIMITS + "ReLU6", ceiling, {"number": 6}, {"number": 6, "clip": True}, value="max(min(x, 6), 0)"
    ),
    Row(
        "activation.hsigmoid",
        LIMITS + "conv activation, hard-sigmoid",
        gate,
        {"form": "hsigmoid"},
        {"form": "hsigmoid"},
        ISA1,
        ISA0,
    ),
    Row(
        "activation.hswish",
        LIMITS + "conv activation, hard-swish",
        gate,
        {"form": "hswish"},
        {"form": "hswish"},
        ISA1,
        ISA0,
    ),
    Row(
        "activation.prelu",
        LAYERS + "PReLU: quantized but CPU",
        prelu,
        {"slopes": (-26 / 256,)},
        {"slopes": (-0.1, -0.2, -0.1, -0.1, -0.1, -0.1, -0.1, -0.1)},
    ),
    Row(
        "activation.sigmoid",
        LAYERS + "sigmoid converted by the TF2 quantizer",
        gate,
        {"form": "sigmoid"},
        {"form": "sigmoid"},
        family="tf2",
        outside_family="tf1",
    ),
    Row(
        "activation.swish",
        LAYERS + "swish converted by the TF2 quantizer",
        gate,
        {"form": "swish"},
        {"form": "swish"},
        family="tf2",
        outside_family="tf1",
    ),
    Row(
        "activation.hsigmoid",
        TF2 + "sigmoid becomes hard-sigmoid",
        gate,
        {"form": "sigmoid"},
        {"form": "sigmoid"},
        ISA1,
        ISA0,
        family="tf2",
    ),
    Row("activation.tanh", LAYERS + "CPU subgraphs: sigmoid/tanh", activation, {"kind": "Relu"}, {"kind": "Tanh"}),
    Row("scale.shape", LIMITS + "mul by constant", scale, {"shape": (8,)}, {"shape": (16, 16, 8)}),
    Row(
        "scale.engine",
        LIMITS + "mul by constant; " + DCF + "ZedBoard",
        scale,
        {"shape": (8,)},
        {"shape": (8,)},
        ISA1,
        ZED,
    ),
    Row("layout.channels", MEASURED + "NHWC only", with_format, {"data_format": "NHWC"}, {"data_format": "NCHW"}),
    Row("layout.rank", LAYERS + "a reshape that breaks 4-D", sums, {"shape": (None, 4, 4, 8)}, {"shape": (None, 4, 8)}),
    Row(
        "input.rank",
        "Xilinx/Vitis-AI issues 626, 1077",
        entrance,
        {"shape": (None, 8, 8, 3)},
        {"shape": (None, 16)},
        value="2 axes",
    ),
    Row(
        "input.size",
        "Xilinx/Vitis-AI issues 626, 1077",
        entrance,
        {"shape": (2, 8, 8, 3)},
        {"shape": (None, None, None, 3)},
    ),
    Row(
        "input.dtype",
        MEASURED + "non-float32 placeholder",
        entrance,
        {"shape": (2, 8, 8, 3)},
        {"shape": (2, 8, 8, 3), "dtype": "uint8"},
    ),
    Row(
        "quantizer.pattern",
        MEASURED + "not recognised: Sub",
        shifted,
        {"kind": "BiasAdd"},
        {"kind": "Sub"},
    ),
    Row(
        "quantizer.pattern",
        TF2 + "Rescaling stays float",
        scale,
        {"shape": (8,)},
        {"shape": ()},
        family="tf2",
    ),
    Row("quantizer.pattern", MEASURED + "not recognised: Sub", joined, {"kind": "Add"}, {"kind": "Sub"}, value="Sub"),
    Row(
        "quantizer.input",
        MEASURED + "other patterns only if their inputs are",
        gated,
        {"kind": "Relu"},
        {"kind": "Tanh"},
    ),
    Row("quantizer.dtype", MEASURED + "only float32", of_dtype, {"dtype": "float32"}, {"dtype": "float64"}),
    Row("operator", LIMITS + "pad op: zeros alone", mirror, {"kind": "Pad"}, {"kind": "MirrorPad"}),
    Row("control_flow", "Xilinx/Vitis-AI issue 719", last, {"kind": "Relu"}, {"kind": "Exit"}),
    Row("shift", LIMITS + "mul by constant, no sum", bias, {"behind": "conv"}, {"behind": "pool"}),
)
