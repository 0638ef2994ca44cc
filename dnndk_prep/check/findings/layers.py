"""Findings about layers with weights: biases, batch norms, sizes, channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from dnndk_prep.check.findings.scene import ERROR, INFO, WARNING, Finding, Scene
from dnndk_prep.check.forms import scalar
from dnndk_prep.check.fusion import BATCH_NORMS, WEIGHTED, Group
from dnndk_prep.check.network import node_of
from dnndk_prep.check.quantizer import has_known_size
from dnndk_prep.check.rules.rule import ceil_div


def depthwise_multiplier(scene: Scene) -> Iterator[Finding]:
    for one in scene.of_kind("depthwise"):
        shape = scene.network.constant_shape(scene.network.ops[one.main].inputs[1])
        norm = any(scene.network.ops[name].op in BATCH_NORMS for name in one.nodes)
        if shape is not None and (shape[-1] or 1) > 1 and norm:
            yield Finding(
                "depthwise_multiplier",
                ERROR,
                one.main,
                f"the quantizer stops at a batch norm behind a depthwise convolution of multiplier {shape[-1]}: "
                "'Mul constant NHWC input to batch norm has bad shape'",
                "optimize the graph first: the batch norm is folded into the weights",
            )


def bias_before_add(scene: Scene) -> Iterator[Finding]:
    """Add alone, not AddV2: so vai_q_tensorflow 3.5 was measured."""
    for op in scene.ops("Add"):
        makers = [scene.owner[scene.network.maker(name).name] for name in op.inputs]
        bare = [one for one in makers if one.kind in WEIGHTED and len(one.nodes) == 1 and one.activation is None]
        sums = [one for one in makers if scene.network.ops[one.end].op == "Add" and one.kind == "add"]
        if bare and sums:
            yield Finding(
                "bias_before_add",
                WARNING,
                op.name,
                f"{bare[0].main} has no bias, so the quantizer takes the other side, {sums[0].end}, for one: it is "
                "rounded as weights are, and `dump` stops",
                f"give {bare[0].main} a bias (zeros keep every number), or write the graph for TensorFlow 1.15 (AddV2)",
                "zero_bias",
                True,
            )


def left_batch_norm(scene: Scene) -> Iterator[Finding]:
    for one in scene.of_kind("scale"):
        before = scene.before(one)
        if len(before) != 1 or before[0].kind == "input" or not _is_norm(scene, one):
            continue
        follows = before[0].activation.kind if before[0].activation is not None else before[0].kind
        if follows in ("relu", "relu_six", "leaky_relu"):
            remedy = "move BN before ReLU: layer, batch norm, ReLU folds to nothing; train again"
        elif follows in ("add", "concat"):
            remedy = f"move BN before the {follows}: behind each layer that feeds it, where it folds; train again"
        else:
            remedy = "put the batch norm directly behind a convolution or dense layer that nothing else reads"
        movable = _can_move(scene, one, before[0])
        yield Finding(
            "left_batch_norm",
            WARNING,
            one.main,
            f"a batch norm behind {before[0].end} ({follows}) folds into no layer: it becomes a depthwise convolution "
            "of its own, its scale and offset rounded to 8 bits",
            remedy,
            "norm_before_add" if movable else None,
            movable,
        )


def _can_move(scene: Scene, one: Group, before: Group) -> bool:
    """Whether the batch norm is one op behind a sum of two layers that nothing else reads."""
    if scene.network.ops[one.main].op not in BATCH_NORMS or before.kind != "add" or before.activation is not None:
        return False
    makers = scene.before(before)
    alone = scene.is_read_once(before.end) and len(makers) == 2
    return alone and all(
        maker.kind in WEIGHTED and maker.activation is None and scene.is_read_once(maker.end) for maker in makers
    )


def _is_norm(scene: Scene, one: Group) -> bool:
    """A batch norm as one op, or as a product and a sum of one number a channel."""
    op = scene.network.ops[one.main]
    if op.op in BATCH_NORMS:
        return True
    return len(one.nodes) > 1 and not any(scalar(scene.network, name) is not None for name in op.inputs)


def bias_name(scene: Scene) -> Iterator[Finding]:
    for one in scene.groups:
        if one.kind not in WEIGHTED or one.activation is not None:
            continue
        for op in (scene.network.ops[name] for name in one.nodes):
            names = [scene.network.maker(name).name for name in op.inputs]
            if op.op == "AddV2" and not any("bias" in name for name in names):
                yield Finding(
                    "bias_name",
                    WARNING,
                    op.name,
                    "without a ReLU behind it the quantizer takes an AddV2 for a bias by its constant's name alone, "
                    "which must hold 'bias': else layer and sum are rounded apart",
                    "optimize the graph: the sum becomes a BiasAdd",
                )


def transposed_batch(scene: Scene) -> Iterator[Finding]:
    for op in scene.ops("Conv2DBackpropInput"):
        if not has_known_size(scene.network, op):
            yield Finding(
                "transposed_batch",
                WARNING,
                op.name,
                "the size of the result is computed in a form that the quantizer does not know: the layer stays in "
                "float, unsaid",
                "padding='same' with a whole stride, or a graph for a fixed number of images: graph.batch",
            )


def shared_layer(scene: Scene) -> Iterator[Finding]:
    kernels = Counter(
        node_of(scene.network.source(scene.network.ops[one.main].inputs[1]))
        for one in scene.groups
        if one.kind in WEIGHTED
    )
    for one in scene.groups:
        if one.kind in WEIGHTED:
            kernel = node_of(scene.network.source(scene.network.ops[one.main].inputs[1]))
            if kernels[kernel] > 1:
                yield Finding(
                    "shared_layer",
                    INFO if scene.family == "tf1" else WARNING,
                    one.main,
                    "a layer that is used more than once: vai_q_tensorflow copies its weights, vai_q_tensorflow2 "
                    "neither folds nor fuses it",
                    "copies of its own for each use: optimize_for_inference.unshare: true",
                )


def idle_channels(scene: Scene) -> Iterator[Finding]:
    """Where more than a third of the last pass over the output channels is idle."""
    for one in scene.of_kind("conv"):
        channels, parallel = scene.numbers(one).channels[1], scene.dpu.output_channel_parallel
        if channels is None:
            continue
        full = ceil_div(channels, parallel) * parallel
        if 3 * (full - channels) > full:
            yield Finding(
                "idle_channels",
                INFO,
                one.main,
                f"{channels} channels take as long as {full}: the DPU computes {parallel} at once",
                f"pad to {full} channels",
            )
