"""What joins, moves or picks values: sums and products, concat, resize, reshape, pad, softmax, argmax."""

from __future__ import annotations

from dnndk_prep.check.fusion import Group, producers
from dnndk_prep.check.rules.numbers import numbers_of
from dnndk_prep.check.rules.rule import FILTER, PYXIR, TARGET_FILE, UG1414, AtMost, Broken, Case, Rule

ON_CPU = {
    "softmax": "it is the CPU's, or the softmax core's where the board has one; the graph may end before it",
    "argmax": "take it on the CPU: it reads what the DPU gives",
}


def eltwise(case: Case) -> Broken | None:
    """Sums and products of two maps."""
    wanted = {"add": "add", "multiply": "mult"}[case.group.kind]
    if wanted in case.dpu.eltwise:
        return None
    remedy = "a DPU with products of maps (ISA1, or an ISA0 built as _EM), or a sum in its place"
    return Broken(f"{case.group.kind}.engine", ", ".join(case.dpu.eltwise) or "none", wanted, remedy)


CONCAT = Rule(
    "concat.channels",
    "channels of the result",
    lambda dpu: AtMost(dpu.channel_limit[0]),
    lambda case: [case.numbers.channels[1]],
    lambda case, value, limit: "a 1x1 convolution in each branch that brings the sum of their channels down",
    f"{UG1414} (256 * channel_parallel); {FILTER}",
)


def concat(case: Case) -> Broken | None:
    """What comes from the CPU can be joined along the channels of 4-D maps alone."""
    network, op, placed = case.network, case.network.ops[case.group.main], case.placed or {}
    from_cpu = [
        maker.end for _, maker in producers(network, case.group, dict(case.owner or {})) if _is_cpu(maker, placed)
    ]
    if not from_cpu:
        return None
    axis = network.constant(op.inputs[-1 if op.op == "ConcatV2" else 0])
    shape = network.shape(op.name)
    if shape is not None and len(shape) == 4 and axis is not None and int(axis) in (3, -1):
        return None
    remedy = "join along the channels, or remove what puts its input on the CPU"
    return Broken("concat.inputs", "channels of 4-D maps, where an input comes from the CPU", from_cpu[0], remedy)


def _is_cpu(maker: Group, placed: object) -> bool:
    return isinstance(placed, dict) and placed.get(maker.end) == "cpu"


def _scale(case: Case) -> tuple[float, float] | None:
    image, result = case.numbers.image, case.numbers.result
    if None in image or None in result:
        return None
    return (result[0] or 0) / (image[0] or 1), (result[1] or 0) / (image[1] or 1)


RESIZE = Rule(
    "resize.channels",
    "channels",
    lambda dpu: AtMost(dpu.channel_limit[0]),
    lambda case: [case.numbers.channels[0]],
    lambda case, value, limit: "fewer channels, by a 1x1 convolution before",
    f"{FILTER} (256 * channel_parallel)",
)


def resize(case: Case) -> Broken | None:
    """Nearest by whole numbers; bilinear by 2, 4 or 8, as a transposed depthwise convolution."""
    op, scale = case.network.ops[case.group.main], _scale(case)
    if op.attrs.get("align_corners"):
        return Broken("resize.corners", "align_corners=False", "True", "resize with align_corners=False")
    if scale is None:
        return None
    shown = f"{scale[0]:g} x {scale[1]:g}"
    if op.op == "ResizeNearestNeighbor":
        if any(not factor.is_integer() or factor < 1 for factor in scale):
            remedy = "enlarge by a whole number, and crop or convolve to the size"
            return Broken("resize.factor", "whole numbers", shown, remedy)
        return None
    allowed = (2, 4) if op.attrs.get("half_pixel_centers") else (2, 4, 8)
    if scale[0] != scale[1] or scale[0] not in allowed:
        text = f"{', '.join(map(str, allowed))}, the same in both directions"
        return Broken("resize.factor", text, shown, "enlarge by 2 or 4, or use nearest, or a transposed convolution")
    kernel = int(2 * scale[0])
    if case.dpu.depthwise is None or kernel not in case.dpu.depthwise.kernel:
        limit = "none" if case.dpu.depthwise is None else str(case.dpu.depthwise.kernel)
        remedy = "use nearest, or a transposed convolution"
        return Broken("resize.depthwise", f"depthwise kernel: {limit}", f"{kernel}x{kernel}", remedy)
    return None


def reshape(case: Case) -> Broken | None:
    """Free as long as it does not move values between images of the batch."""
    op = case.network.ops[case.group.main]
    before, after = case.network.shape(op.inputs[0]), case.network.shape(op.name)
    if before is None or after is None or (before and after and before[0] == after[0]):
        return None
    remedy = "keep the batch as the first axis; fold other axes into the channels"
    return Broken("reshape.batch", f"batch {_sizes(before[:1])}", f"batch {_sizes(after[:1])}", remedy)


def _sizes(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "none"


def pad(case: Case) -> Broken | None:
    """Zeros in height and width before a convolution or a pool, as many as that takes itself."""
    network, op = case.network, case.network.ops[case.group.main]
    sides = network.constant(op.inputs[1])
    if sides is None or sides.shape != (4, 2):
        return Broken("pad.constant", "constant zeros around a 4-D map", "computed", "constant paddings")
    if sides[0].any() or sides[3].any():
        return Broken(
            "pad.axes", "height and width", "batch or channels", "pad the channels by a convolution's weights"
        )
    for name in network.read_by(op.name):
        reader = (case.owner or {}).get(name)
        if reader is None or reader.kind not in TAKES_ZEROS:
            remedy = "put the zeros directly before a convolution or a pool"
            return Broken("pad.reader", "a convolution or a pool reads it", network.ops[name].op, remedy)
        broken = _too_many(case, reader, [int(side) for side in sides[1:3].reshape(-1)])
        if broken is not None:
            return broken
    return None


TAKES_ZEROS = ("conv", "depthwise", "max_pool", "avg_pool")


def _too_many(case: Case, reader: Group, sides: list[int]) -> Broken | None:
    numbers = numbers_of(case.network, reader)
    for n, (extra, own) in enumerate(zip(sides, numbers.pads, strict=True)):
        kernel, rate = numbers.kernel[n // 2], numbers.dilation[n // 2]
        if kernel is not None and extra + own > (most := (kernel - 1) * rate):
            text = f"at most {most} zeros for {reader.main}"
            return Broken("pad.size", text, str(extra + own), "fewer zeros, or a larger kernel behind them")
    return None


def softmax(case: Case) -> Broken | None:
    """No DPU has it."""
    return Broken("softmax", "not in the DPU", None, ON_CPU["softmax"])


def argmax(case: Case) -> Broken | None:
    """The save engine of some finds the largest channel."""
    op = case.network.ops[case.group.main]
    axis, shape = case.network.constant(op.inputs[1]), case.network.shape(op.inputs[0])
    if not case.dpu.argmax:
        return Broken("argmax.engine", "a save engine with argmax (Vitis AI 3.0 and later)", "none", ON_CPU["argmax"])
    if axis is None or shape is None or int(axis) not in (-1, len(shape) - 1):
        return Broken("argmax.axis", "the channels", "another axis", "ArgMax over the last axis")
    return None


# Rows of the table of operators that are no numbers in a range: id, what, its limit in words, source.
IN_WORDS: tuple[tuple[str, str, str, str], ...] = (
    ("add.engine", "sum of two maps", "where the DPU has it", f"{TARGET_FILE} (eltwise types)"),
    ("multiply.engine", "product of two maps", "where the DPU has it", f"{TARGET_FILE} (eltwise types)"),
    ("concat.inputs", "inputs from the CPU", "along the channels of 4-D maps alone", f"{FILTER}; {PYXIR}"),
    ("resize.corners", "align_corners", "False", FILTER),
    ("resize.factor", "factor, nearest", "whole numbers", f"{FILTER}; {PYXIR}"),
    ("resize.factor", "factor, bilinear", "2, 4, without half pixels 8; the same in both directions", FILTER),
    ("resize.depthwise", "bilinear: 2 x factor", "a kernel of the depthwise engine", FILTER),
    ("reshape.batch", "first axis", "stays the batch", FILTER),
    ("pad.constant", "zeros", "constant, around a 4-D map", PYXIR),
    ("pad.axes", "axes", "height and width", PYXIR),
    ("pad.reader", "what reads it", "convolutions and pools", PYXIR),
    ("pad.size", "zeros, those of the reader with them", "(kernel - 1) x dilation", f"{PYXIR}; {UG1414}"),
    ("softmax", "softmax", "on the CPU or a softmax core", "DCF, xdputil query"),
    ("argmax.engine", "argmax", "where the save engine has it", f"{TARGET_FILE} (save_argmax)"),
    ("argmax.axis", "axis", "the channels", f"{TARGET_FILE} (save_argmax)"),
)
