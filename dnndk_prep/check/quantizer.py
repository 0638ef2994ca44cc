"""Which operators a quantizer quantizes; what stays in float is computed by the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dnndk_prep.check.fusion import WEIGHTED, Group, producers
from dnndk_prep.check.network import Network, Op
from dnndk_prep.check.words import words

FAMILIES = {"tf1": "vai_q_tensorflow", "tf2": "vai_q_tensorflow2"}
# vai_q_tensorflow 3.5: these are quantized whatever they read, and so is what a layer reads.
ALWAYS = {
    "tf1": words("max_pool avg_pool global_pool softmax input"),
    "tf2": words("max_pool avg_pool global_pool pad reshape softmax input add multiply scale concat resize"),
}
# ... and these only where all that they read is quantized: what has more than one input, a constant counted.
IF_READS = {
    "tf1": words("add multiply concat resize reshape reduce_max pad scale shift argmax"),
    "tf2": words("argmax"),
}
# The same of ops that no engine of the DPU computes.
OPS_IF_READS = {
    "tf1": words("MirrorPad Transpose Mean Max Sum AddN DepthToSpace Maximum StridedSlice"),
    "tf2": words("Transpose"),
}
# Activations as operators of their own.
FORMS_ALWAYS = {"tf1": words("relu relu_six"), "tf2": words("leaky_relu prelu hsigmoid hswish")}
FORMS_IF_READS = {
    "tf1": words("hsigmoid hswish swish leaky_relu relu_n clip"),
    # It writes both in their hard form.
    "tf2": words("sigmoid swish"),
}


@dataclass(frozen=True)
class Float:
    """Why an operator stays in float: nothing quantizes it, or it reads `reads`, which is in float itself."""

    reads: str | None = None


def in_float(network: Network, groups: Sequence[Group], family: str) -> dict[str, Float]:
    """The operators, by their main nodes, that the quantizer of `family` leaves in float."""
    owner = {name: one for one in groups for name in one.members}
    layered = {maker.main for one in groups if one.kind in WEIGHTED for _, maker in producers(network, one, owner)}
    found: dict[str, Float] = {}
    for one in groups:
        if one.kind in ("constant", "pass", "unread", "sizes"):
            continue
        reason = _reason(network, one, owner, found, family, layered)
        if reason is not None:
            found[one.main] = reason
    return found


def has_known_size(network: Network, op: Op) -> bool:
    """Whether the quantizer knows the form in which the size of a transposed convolution is given.

    A constant, or Pack(slice, slice * number, slice * number, number), as Keras wrote it in TensorFlow 1.15.
    """
    sizes = network.maker(op.inputs[0])
    if sizes.op == "Pack":
        return [network.maker(name).op for name in sizes.inputs] == ["StridedSlice", "Mul", "Mul", "Const"]
    return sizes.op == "Const"


def _is_rescaling(network: Network, op: Op) -> bool:
    """A product with one number for all: no batch norm, but a Rescaling, which vai_q_tensorflow2 leaves in float."""
    return op.op == "Mul" and any(
        shape is not None and all(size == 1 for size in shape) for shape in map(network.constant_shape, op.inputs)
    )


def _reason(
    network: Network,
    one: Group,
    owner: dict[str, Group],
    found: Mapping[str, Float],
    family: str,
    layered: set[str],
) -> Float | None:
    op = network.ops[one.main]
    if op.dtype != "float32" and one.kind not in ("argmax", "input"):
        return Float()
    if one.kind == "transposed" and family == "tf1" and not has_known_size(network, op):
        return Float()
    if family == "tf2" and one.kind == "scale" and _is_rescaling(network, op):
        return Float()
    if one.kind in WEIGHTED or one.kind in ALWAYS[family]:
        return None
    needs_reads = one.kind in IF_READS[family] or (one.kind == "other" and op.op in OPS_IF_READS[family])
    if one.kind == "activation" and one.activation is not None:
        if one.activation.kind in FORMS_ALWAYS[family]:
            return None
        needs_reads = one.activation.kind in FORMS_IF_READS[family]
    if not needs_reads:
        return Float()
    for _, maker in producers(network, one, owner):
        if maker.main in found and maker.main not in layered:
            return Float(maker.end)
    return None
