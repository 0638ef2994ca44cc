"""Batch norms become Mul and BiasAdd, which go into the layer before, in single precision as the quantizer does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from dnndk_prep.errors import StageError
from dnndk_prep.quant.matching import ANY, CONST, Make, Match, Pattern, Replacement, op, replace_all
from dnndk_prep.quant.network import Node, const, node

ADD = "BiasAdd Add AddV2"
FUSED = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
# The second inputs of both kinds, in their order.
GLOBAL_ORDER = ("mean", "variance", "beta", "gamma")
FUSED_ORDER = ("gamma", "beta", "mean", "variance")
NORMS = ("BatchNormWithGlobalNormalization", *FUSED)
BATCH_NORM = op(" ".join(NORMS), ANY, CONST, CONST, CONST, CONST)

CONV = op("Conv2D MatMul DepthwiseConv2dNative", ANY.named("input"), CONST.named("weights"), role="conv")
# A transposed convolution has three inputs: the size first.
TRANSPOSED = op("Conv2DBackpropInput", op("Pack", role="size"), CONST.named("weights"), ANY.named("input"), role="conv")
ATROUS = op(
    "BatchToSpaceND",
    op(
        "Conv2D DepthwiseConv2dNative",
        op("SpaceToBatchND", ANY.named("input"), ANY.named("block"), ANY.named("paddings"), role="to_batch"),
        CONST.named("weights"),
        role="conv",
    ),
    ANY.named("block_back"),
    ANY.named("crops"),
    role="to_space",
)
RESHAPED = op("Reshape", op("MatMul", ANY.named("input"), CONST.named("weights"), role="conv"), ANY)
# The axis of the weights that a scale belongs to.
SCALED_AXIS = {"Conv2D": 3, "DepthwiseConv2dNative": 2, "Conv2DBackpropInput": 2}


def split(nodes: Sequence[Node]) -> list[Node]:
    """Each batch norm with constant parameters as Mul with <name>/scale and BiasAdd with <name>/offset."""

    def make(match: Match, read: frozenset[str]) -> Replacement:
        norm, source = match.node, match.inputs[0].node
        order, eps = (FUSED_ORDER, "epsilon") if norm.op in FUSED else (GLOBAL_ORDER, "variance_epsilon")
        value = {name: inner.node.array for name, inner in zip(order, match.inputs[1:], strict=True)}
        _require_vectors(norm, value)
        scale = np.float32(1) / np.sqrt(value["variance"] + np.float32(norm.attrs[eps].f))
        if norm.op in FUSED or norm.attrs["scale_after_normalization"].b:
            scale = scale * value["gamma"]
        offset = -value["mean"] * scale + value["beta"]
        return Replacement(
            [
                source,
                const(f"{norm.name}/scale", scale),
                node(f"{norm.name}/mul", "Mul", norm.inputs[0], f"{norm.name}/scale"),
                const(f"{norm.name}/offset", offset),
                node(norm.name, "BiasAdd", f"{norm.name}/mul", f"{norm.name}/offset"),
            ]
        )

    return replace_all(nodes, BATCH_NORM, make, may_drop=True)


def fold(nodes: Sequence[Node], notes: list[str]) -> list[Node]:
    """Scales and offsets behind a layer that nothing else reads are worked into its weights and bias.

    `notes` gets a sentence for each that the quantizer stops at; it is left where it is.
    """
    current = list(nodes)
    for layer, has_bias, overlapping in (
        (CONV, True, True),
        (CONV, False, False),
        (TRANSPOSED, True, False),
        (TRANSPOSED, False, False),
        (RESHAPED, False, False),
        (ATROUS, True, False),
        (ATROUS, False, False),
    ):
        pattern = _scaled(layer, has_bias)
        make = _with_bias(notes) if has_bias else _without_bias(layer, notes)
        current = replace_all(current, pattern, make, overlapping, may_drop=True, repeat=True)
    return current


def fold_products(nodes: Sequence[Node], notes: list[str]) -> list[Node]:
    """A constant that the sum of layer and bias is multiplied with goes into both.

    `notes` gets a sentence for each that the quantizer aborts at: behind dense layers.
    """
    biased = op(ADD, CONV, CONST.named("bias"), role="add")
    current = list(nodes)
    for pattern in (op("Mul", biased, CONST.named("scale")), op("Mul", CONST.named("scale"), biased)):
        current = replace_all(current, pattern, partial(_product, notes), may_drop=True, repeat=True)
    return current


def _require_vectors(norm: Node, value: Mapping[str, np.ndarray]) -> None:
    wrong = [name for name, array in value.items() if array.shape != value["gamma"].shape or array.ndim != 1]
    if wrong:
        raise StageError(
            f"the batch norm {norm.name} is in its training form",
            expected="one number a channel for each parameter: the quantizer stops at anything else",
            found=", ".join(f"{name} {list(value[name].shape)}" for name in wrong),
            remedy="freeze the graph for inference: model.path in pipeline.yaml does so",
        )


def _scaled(layer: Pattern, has_bias: bool) -> Pattern:
    biased = op(ADD, layer, CONST.named("bias"), role="add") if has_bias else layer
    return op(ADD, op("Mul", biased, CONST.named("scale"), role="mul"), CONST.named("offset"))


def _with_bias(notes: list[str]) -> Make:
    """The sum with the bias stays, and what came behind goes."""

    def make(match: Match, read: frozenset[str]) -> Replacement | None:
        alone = ["conv", "weights", "scale"]
        if "to_space" not in match.roles:
            alone += ["add", "bias"] if "size" in match.roles else ["add", "bias", "mul"]
        weights = None if _is_read(match, read, alone) else _scaled_weights(match, notes)
        if weights is None:
            return None
        scale, offset, bias = match["scale"].array, match["offset"].array, match["bias"].array
        size = bias.size
        value = (bias.reshape(-1) * scale.reshape(-1)[:size] + offset.reshape(-1)[:size]).reshape(bias.shape)
        made = [*_layer(match, weights), match["bias"].holding(value), match["add"]]
        return Replacement(made, {match.node.name: match["add"].name})

    return make


def _without_bias(layer: Pattern, notes: list[str]) -> Make:
    """The offset becomes the bias <weights>/biases, which the last node adds under its own name."""

    def make(match: Match, read: frozenset[str]) -> Replacement | None:
        alone = ["weights", "scale"] if layer is RESHAPED else ["conv", "weights", "scale"]
        weights = None if _is_read(match, read, alone) else _scaled_weights(match, notes)
        if weights is None:
            return None
        if "to_space" in match.roles:
            offset = match["offset"]
            add = node(match.node.name, "BiasAdd", match["to_space"].name, offset.name)
        else:
            scope = match["weights"].name.removesuffix("/weights").removesuffix("/depthwise_weights")
            offset = const(f"{scope}/biases", match["offset"].array)
            add = match.node.reading(match["conv"].name, offset.name)
        return Replacement([*_layer(match, weights), offset, add])

    return make


def _is_read(match: Match, read: frozenset[str], roles: Sequence[str]) -> bool:
    return any(match[role].name in read for role in roles)


def _layer(match: Match, weights: Node) -> list[Node]:
    """The layer's own nodes, in the order in which the quantizer writes them."""
    if "to_space" in match.roles:
        head = [match[role] for role in ("input", "paddings", "block", "to_batch")]
        return [*head, weights, match["conv"], *(match[role] for role in ("block_back", "crops", "to_space"))]
    size = [match["size"]] if "size" in match.roles else []
    return [weights, *size, match["input"], match["conv"]]


def _scaled_weights(match: Match, notes: list[str]) -> Node | None:
    """The weights times the scale, or None where it has not one number a channel."""
    conv, weights, scale = match["conv"], match["weights"], match["scale"].array
    axis = SCALED_AXIS.get(conv.op, 1)
    shape = [1] * weights.array.ndim
    shape[axis] = -1
    if (
        axis >= weights.array.ndim
        or scale.size != weights.array.shape[axis]
        or (scale.ndim != 1 and conv.op != "MatMul")
    ):
        notes.append(
            f"{match.node.name}: vai_q_tensorflow stops at this batch norm, whose scale has the shape "
            f"{list(scale.shape)} behind {conv.name} (weights {list(weights.array.shape)}); it is quantized by itself"
        )
        return None
    return weights.holding(weights.array * scale.reshape(shape))


def _product(notes: list[str], match: Match, read: frozenset[str]) -> Replacement | None:
    if _is_read(match, read, ["conv", "weights", "scale", "add", "bias"]):
        return None
    if match["conv"].op == "MatMul":
        notes.append(
            f"{match.node.name}: vai_q_tensorflow aborts at this product behind the dense layer {match['conv'].name}, "
            "whose weights it takes for those of a convolution; here it goes into them"
        )
    weights, bias, scale = match["weights"], match["bias"], match["scale"].array.reshape(-1)
    channels = weights.array.shape[2] if match["conv"].op == "DepthwiseConv2dNative" else weights.array.shape[-1]
    if scale.size not in (1, channels) or scale.size not in (1, bias.array.size):
        return None
    axis = 2 if match["conv"].op == "DepthwiseConv2dNative" else weights.array.ndim - 1
    shape = [1] * weights.array.ndim
    shape[axis] = -1
    made = [
        weights.holding(weights.array * scale.reshape(shape)),
        match["input"],
        match["conv"],
        bias.holding((bias.array.reshape(-1) * scale).reshape(bias.array.shape)),
        match["add"],
    ]
    return Replacement(made, {match.node.name: match["add"].name})


def unconverted(nodes: Sequence[Node]) -> list[str]:
    """The batch norms that are left: the quantizer converts only one of several that read the same tensor."""
    return [item.name for item in nodes if item.op in FUSED]
