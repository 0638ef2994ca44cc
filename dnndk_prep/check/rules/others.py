"""What no engine of a DPU computes, whatever its numbers, and the layout that all operators have to have."""

from __future__ import annotations

from dnndk_prep.check.quantizer import FAMILIES, Float
from dnndk_prep.check.rules.rule import FILTER, Broken, Case
from dnndk_prep.check.windows import CHANNELS_FIRST

LIST = "Xilinx/Vitis-AI, vai_q_tensorflow and DPU operator lists"
MOVE = "move it before the network or behind it, where the CPU works anyway"
# Op: what to do instead. Any other op gets MOVE.
REMEDIES = {
    "Transpose": "keep the channels last throughout, so that nothing has to be transposed",
    "StridedSlice": "crop by a convolution, or before the network",
    "Slice": "crop by a convolution, or before the network",
    "Split": "one convolution for each part in place of a grouped convolution or of a split",
    "SplitV": "one convolution for each part in place of a grouped convolution or of a split",
    "Sub": "the sum with a map whose layer has its weights negated",
    "RealDiv": "a product with the reciprocal: divide the weights before by the number",
    "Maximum": "ReLU, where the other side is 0; else the CPU",
    "Minimum": "ReLU6, where the other side is 6; else the CPU",
    "Mean": "a mean over height and width, [1, 2], is a global pool; other axes are the CPU's",
    "Max": "a maximum over height or width is a pool; other axes are the CPU's",
    "Sum": "a global average pool, its factor in the weights of the layer behind it",
    "GatherV2": "look embeddings up before the network: it begins with the vectors",
    "Gather": "look embeddings up before the network: it begins with the vectors",
    "Conv3D": "two-dimensional convolutions, the third axis folded into the channels",
    "BatchMatMul": "weights that are constant: products of two computed maps run on the CPU",
    "BatchMatMulV2": "weights that are constant: products of two computed maps run on the CPU",
    "LRN": "a batch norm before a ReLU, which folds away",
    "MirrorPad": "zeros in place of mirrored edges",
    "PadV2": "zeros in place of another number",
    "DepthToSpace": "a transposed convolution, or nearest resize and a convolution",
    "SpaceToDepth": "a convolution with stride",
    "Shape": "a fixed batch, height and width: then no shape is computed",
    "FixNeuron": "give the float graph: this one is quantized",
}


def layout(case: Case) -> Broken | None:
    """Maps have the channels last, four axes or, behind them, two."""
    op = case.network.ops[case.group.main]
    if op.attrs.get("data_format") in CHANNELS_FIRST:
        remedy = "build the model with data_format='channels_last'"
        return Broken("layout.channels", "NHWC", str(op.attrs["data_format"]), remedy)
    shape = case.network.shape(op.name)
    if shape is not None and len(shape) not in (2, 4) and case.group.kind not in ("reshape", "argmax"):
        remedy = (
            "reshape to [batch, height, width, channels] before, for example a sequence to [batch, 1, steps, channels]"
        )
        return Broken("layout.rank", "4 axes, or 2", f"{len(shape)} axes", remedy)
    return None


def input_layout(case: Case) -> Broken | None:
    """An input is [batch, height, width, channels], the batch free or fixed, the others known."""
    op = case.network.ops[case.group.main]
    shape = case.network.shape(op.name)
    if shape is None:
        return Broken(
            "input.rank", "4 axes: batch, height, width, channels", "none told", "give the Placeholder a shape"
        )
    if len(shape) != 4:
        sizes = shape[1:] if len(shape) > 1 else shape
        text = ", ".join("?" if size is None else str(size) for size in ((1,) * (3 - len(sizes)) + tuple(sizes))[:3])
        remedy = f"feed [batch, {text}] and reshape to {list(shape)[1:]} inside, or before the network"
        return Broken("input.rank", "4 axes: batch, height, width, channels", f"{len(shape)} axes", remedy)
    if None in shape[1:]:
        remedy = "a fixed height and width: Input((224, 224, 3)), or model.inputs in the YAML for a graph"
        return Broken("input.size", "known height, width and channels", _text(shape), remedy)
    if op.dtype != "float32":
        remedy = "a float32 input: the quantizer scales it to 8 bits itself"
        return Broken("input.dtype", "float32", op.dtype, remedy)
    return None


def _text(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape)


def not_quantized(case: Case, reason: Float) -> Broken:
    """What the quantizer leaves in float."""
    op, tool = case.network.ops[case.group.main], FAMILIES[case.family]
    if op.dtype != "float32":
        return Broken(
            "quantizer.dtype",
            f"{tool}: float32",
            op.dtype,
            REMEDIES.get(op.op, "a float32 model, of a fixed batch and size"),
        )
    if reason.reads is not None:
        remedy = "replace what it reads by something that is quantized: it is listed with its own remedy"
        return Broken("quantizer.input", f"{tool}: all inputs quantized", f"{reason.reads} is float", remedy)
    return Broken("quantizer.pattern", f"no pattern of {tool}", op.op, REMEDIES.get(op.op, MOVE))


def unknown(case: Case) -> Broken:
    """An operator that no published list has."""
    op = case.network.ops[case.group.main]
    return Broken("operator", "no operator of the DPU", op.op, REMEDIES.get(op.op, MOVE))


def control_flow(case: Case) -> Broken:
    """Loops, branches and what they keep their values in."""
    op = case.network.ops[case.group.main]
    remedy = (
        "no DPU runs loops: keras_2_tf.unroll: true writes them out, and recurrent parts stay on the CPU all the same"
    )
    return Broken("control_flow", "no loops or branches", f"{op.op} of a loop or branch", remedy)


def shift(case: Case) -> Broken:
    """A constant that is added to a map, with no layer before it."""
    op = case.network.ops[case.group.main]
    remedy = "make it the bias of the layer before, or add it before the network"
    return Broken("shift", "a sum with a constant is a layer's bias", op.op, remedy)


# Rows of the table of operators: id, what, its limit in words, source.
IN_WORDS: tuple[tuple[str, str, str, str], ...] = (
    ("layout.channels", "layout", "NHWC", "UG1414; vai_q_tensorflow 3.5 as measured"),
    ("layout.rank", "axes", "4, or 2 behind a dense layer", "UG1414"),
    ("input.rank", "axes of an input", "4: batch, height, width, channels", "vai_q_tensorflow 3.5 as measured"),
    ("input.size", "height, width, channels of an input", "known", "UG1414"),
    ("input.dtype", "dtype of an input", "float32", "vai_q_tensorflow 3.5 as measured"),
    ("quantizer.dtype", "dtype", "float32", "vai_q_tensorflow 3.5 as measured"),
    ("quantizer.pattern", "operator", "one of the quantizer's patterns", LIST),
    (
        "quantizer.input",
        "inputs of sums, products, concat, resize, reshape",
        "quantized",
        "vai_q_tensorflow 3.5 as measured",
    ),
    ("operator", "operator", "one that an engine of the DPU computes", FILTER),
    ("control_flow", "loops and branches", "none", LIST),
    ("shift", "sum with a constant", "the bias of the layer before", FILTER),
)
