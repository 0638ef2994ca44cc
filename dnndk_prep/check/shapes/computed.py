"""Shapes of what computes: element by element, by windows, by matrices, by reductions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dnndk_prep.check.shapes.inference import Inference, Rule, Shapes, Size
from dnndk_prep.check.windows import full_size, output_size, padding_of, spatial
from dnndk_prep.check.words import words

if TYPE_CHECKING:
    from dnndk_prep.check.network import Op, Shape

SAME_AS_FIRST = words(
    "Abs Acos Acosh AddN Asin Asinh Atan Atanh BatchNormWithGlobalNormalization BiasAdd BiasAddV1 Cast Ceil "
    "CheckNumerics ClipByValue Cos Cosh Cumprod Cumsum Digamma Elu Erf Erfc Exp Expm1 FakeQuantWithMinMaxArgs "
    "FakeQuantWithMinMaxVars FixNeuron Floor FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Identity IdentityN "
    "IsInf IsNan LRN LeakyRelu Lgamma Log Log1p LogSoftmax LogicalNot MatrixBandPart Neg OnesLike "
    "PlaceholderWithDefault PreventGradient Reciprocal Relu Relu6 Reverse ReverseV2 Rint Roll Round Rsqrt Selu "
    "Sigmoid Sign Sin Sinh Snapshot Softmax Softplus Softsign Sqrt Square StopGradient Tan Tanh ZerosLike"
)
BROADCAST = words(
    "Add AddV2 Sub Mul MulNoNan RealDiv Div DivNoNan Maximum Minimum Pow SquaredDifference FloorDiv FloorMod Mod "
    "TruncateDiv TruncateMod Greater GreaterEqual Less LessEqual Equal NotEqual LogicalAnd LogicalOr Atan2 Xlogy "
    "Xdivy SelectV2 LeftShift RightShift BitwiseAnd BitwiseOr"
)
REDUCTIONS = words("Mean Sum Max Min Prod All Any EuclideanNorm")
WINDOWS = ("Conv2D", "DepthwiseConv2dNative", "Conv3D", "MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D", "MaxPoolV2")


def _first(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    return [inputs[0]]


def broadcast(*shapes: Shape | None) -> Shape | None:
    """The shape of an element-wise result; None where one is not known."""
    if any(shape is None for shape in shapes):
        return None
    rank = max(len(shape) for shape in shapes if shape is not None)
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes if shape is not None]
    return tuple(_common(sizes) for sizes in zip(*padded, strict=True))


def _common(sizes: tuple[Size, ...]) -> Size:
    large = [size for size in sizes if size != 1]
    # Something above 1 wins over what is free: both must be equal, or the free one be 1.
    return next((size for size in large if size is not None), None) if large else 1


def _broadcast(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    return [broadcast(*inputs)]


def _window(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    image, axes = inputs[0], spatial(op, len(inputs[0]))
    channel = 1 if axes[0] == 2 else len(image) - 1
    result: list[Size] = list(image)
    if op.op in ("Conv2D", "Conv3D", "DepthwiseConv2dNative"):
        kernel = inputs[1]
        if kernel is None:
            return [None]
        window = list(kernel[: len(axes)])
        depthwise = op.op == "DepthwiseConv2dNative"
        result[channel] = kernel[-1] * kernel[-2] if depthwise and None not in kernel[-2:] else kernel[-1]
    else:
        window = [op.attrs["ksize"][axis] for axis in axes] if "ksize" in op.attrs else [None] * len(axes)
    for n, axis in enumerate(axes):
        stride = op.attrs.get("strides", [1] * len(image))[axis]
        dilation = (op.attrs.get("dilations") or [1] * len(image))[axis]
        result[axis] = output_size(image[axis], full_size(window[n], dilation), stride, padding_of(op, axis))
    return [tuple(result)]


def _transposed(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    known = of.numbers(op.inputs[0])
    kernel, image = inputs[1], inputs[2]
    if known is not None:
        return [tuple(known)]
    return [None] if kernel is None or image is None else [(image[0], None, None, kernel[2])]


def _mat_mul(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    a, b = inputs
    if b is None:
        return [None]
    # MatMul has transpose_a, BatchMatMul adj_x.
    rows = a[-1] if op.attrs.get("transpose_a") or op.attrs.get("adj_x") else a[-2]
    columns = b[-2] if op.attrs.get("transpose_b") or op.attrs.get("adj_y") else b[-1]
    batch = broadcast(a[:-2], b[:-2]) or ()
    return [(*batch, rows, columns)]


def _reduction(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    axes = of.axes(op.inputs[1], max(1, len(inputs[0])))
    if axes is None:
        return [None]
    if op.attrs.get("keep_dims"):
        return [tuple(1 if axis in axes else size for axis, size in enumerate(inputs[0]))]
    return [tuple(size for axis, size in enumerate(inputs[0]) if axis not in axes)]


def _resize(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    size = of.numbers(op.inputs[1]) or [None, None]
    return [(inputs[0][0], *size, inputs[0][3])]


def _arg(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    axes = of.axes(op.inputs[1], len(inputs[0]))
    return [None] if axes is None else [tuple(s for axis, s in enumerate(inputs[0]) if axis not in axes)]


def _norm(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    # The third version keeps space for the GPU in its last output.
    return [inputs[0], *([inputs[1]] * 4), *([None] if op.op == "FusedBatchNormV3" else [])]


def _all(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    return inputs


def _second(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    return [inputs[1]]


def _top(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    count = of.numbers(op.inputs[1])
    shape = (*inputs[0][:-1], count[0] if count else None)
    return [shape, shape]


COMPUTED: dict[str, Rule] = {
    **dict.fromkeys(SAME_AS_FIRST, _first),
    **dict.fromkeys(BROADCAST, _broadcast),
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(WINDOWS, _window),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), _norm),
    "IdentityN": _all,
    "TopKV2": _top,
    "Select": _second,
    "Conv2DBackpropInput": _transposed,
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2"), _mat_mul),
    **dict.fromkeys(("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea"), _resize),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
}
