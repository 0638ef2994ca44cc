"""The graph as the quantizer prepares it, before it looks where to quantize."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from dnndk_prep.errors import StageError
from dnndk_prep.graph.topology import node_of, reachable
from dnndk_prep.quant.network import Node, attribute, by_name, shapes_of
from dnndk_prep.quant.settings import Settings
from dnndk_prep.quant.vai_q_tf1 import batch_norms, forms, pools
from dnndk_prep.quant.vai_q_tf1.constants import folded, with_own_constants, without_identities
from dnndk_prep.quant.vai_q_tf1.equalize import equalized

# What may go into the layer before; IdentityN is left out.
FOLDED = ("BiasAdd", "Add", "AddV2", "Mul", "Identity", "IdentityN", *batch_norms.NORMS)
# What takes an array; the default of the second one is for inputs that nobody names.
FED = ("Placeholder", "PlaceholderWithDefault")
# What gets nodes for the DPU behind it, and their names: averages, and the last step of a hard-sigmoid.
ADDED_BEHIND = {"AvgPool": ("mul", "squeeze"), "Mul": (forms.HARD_SIGMOID,), "RealDiv": (forms.HARD_SIGMOID,)}
Shapes = Mapping[str, Sequence[int | None]]


@dataclass(frozen=True)
class Prepared:
    """What lies between inputs and outputs, prepared, and what lies before inputs that are inner nodes."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    # What takes the arrays: the inputs, or the placeholders that inner ones are computed from.
    fed: tuple[str, ...]
    # As asked for; a node that was folded away has the name of the one that gives its value now.
    outputs: tuple[str, ...]
    upstream: tuple[Node, ...] = ()
    # The inner nodes that are inputs, as they are without the quantizer.
    inner: Mapping[str, Node] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def fed_for(nodes: dict[str, Any], inputs: Sequence[str]) -> list[str]:
    """The nodes that are fed where quantization begins at `inputs`: placeholders as they are, and for an inner node of
    the graph the placeholders that it needs, in the order of the graph; each once.

    `nodes` are those of a graph by name, as protobufs or as plain nodes. Raises StageError for an inner node that is
    computed from no placeholder.
    """
    found: dict[str, None] = {}
    for name in inputs:
        needed = reachable(nodes, [name])
        fed = [other for other in nodes if other in needed and nodes[other].op == "Placeholder"]
        if nodes[name].op in FED:
            fed = [name]
        if not fed:
            raise StageError(
                f"the input {name} is computed from no placeholder, so nothing can be fed",
                expected="a placeholder, or a node behind one",
                found=f"{name} ({nodes[name].op})",
                remedy="name other inputs",
            )
        found |= dict.fromkeys(fed)
    return list(found)


def prepare(
    nodes: Sequence[Node],
    inputs: Sequence[str],
    outputs: Sequence[str],
    fed: Shapes,
    settings: Settings,
    is_faithful: bool = True,
) -> Prepared:
    """What vai_q_tensorflow makes of a frozen graph; `fed` are the shapes of the placeholders, sizes free or not.

    Unless it `is_faithful`, a minimum stays one where its ceiling is not 6, and the factor behind an average or
    hard-sigmoid that is an output is part of it. Raises StageError for what it cannot prepare.
    """
    notes: list[str] = []
    _require_ends(nodes, inputs, outputs)
    constant = folded(nodes, inputs, outputs)
    main, upstream, inner = _parted(constant, inputs, outputs)
    shapes = {**fed, **_inner_shapes(constant, inner, fed)}
    plain = without_identities(main, {*inputs, *outputs})
    plain = with_own_constants(plain)
    plain = forms.relu6_of_minimum(plain, notes, is_faithful)
    ordered = forms.hard_swish_order(plain)
    exchanged = _exchanged(by_name(plain), by_name(ordered), outputs)
    plain = ordered
    merged = batch_norms.fold_products(batch_norms.fold(batch_norms.split(plain), notes), notes)
    notes += _left_norms(merged)
    if settings.do_cle:
        standing = [_given_by(name, merged, by_name(plain)) for name in outputs]
        merged = equalized(merged, inputs, standing, bool(settings.replace_relu6), notes)
    if settings.simulate_dpu:
        notes += _means_of_norms(merged, {item.name for item in plain if item.op in batch_norms.NORMS})
        merged = _as_on_dpu(merged, shapes, settings, notes)
    ends = _ends(merged, plain, outputs, notes)
    ends = [_whole(by_name(merged), name, exchanged, notes, is_faithful) for name in ends]
    feeds = fed_for(by_name(constant), inputs)
    return Prepared(tuple(merged), tuple(inputs), tuple(feeds), tuple(ends), tuple(upstream), inner, tuple(notes))


def _require_ends(nodes: Sequence[Node], inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Every placeholder that the outputs need is named or lies before an input; each output needs an input."""
    cut = {item.name: item.reading() if item.name in inputs else item for item in nodes}
    needed = reachable(cut, outputs)
    for name in outputs:
        if not reachable(cut, [name]) & {*inputs}:
            raise StageError(
                f"the output {name} does not depend on {', '.join(inputs)}",
                expected="outputs that are computed from the inputs",
                found=f"{name} ({cut[name].op})",
                remedy="name another output, or the inputs that it is computed from",
            )
    missing = [item.name for item in nodes if item.op == "Placeholder" and item.name in needed - {*inputs}]
    if missing:
        raise StageError(
            f"{', '.join(missing)} must be fed",
            expected="all placeholders that the outputs need among the inputs",
            found=", ".join(inputs),
            remedy="name them as inputs, or freeze the graph without them",
        )


def _parted(
    nodes: Sequence[Node], inputs: Sequence[str], outputs: Sequence[str]
) -> tuple[list[Node], list[Node], dict[str, Node]]:
    """The nodes from inputs to outputs, an inner input as a placeholder; the others; the inner inputs as they were."""
    named = by_name(nodes)
    needed, waiting = set(inputs), list(outputs)
    while waiting:
        name = waiting.pop()
        needed.add(name)
        if name not in inputs:
            waiting += [node_of(source) for source in named[name].inputs if node_of(source) not in needed]
    inner = {name: named[name] for name in inputs if named[name].op != "Placeholder"}
    stand_ins = {name: Node(name, "Placeholder", (), {"dtype": attribute(tf.float32)}) for name in inner}
    main = [stand_ins.get(item.name, item) for item in nodes if item.name in needed]
    return main, [item for item in nodes if item.name not in needed], inner


def _inner_shapes(nodes: Sequence[Node], inner: Mapping[str, Node], fed: Shapes) -> Shapes:
    """The static shapes of the inner nodes that are inputs."""
    if not inner:
        return {}
    tools = shapes_of(nodes, fed)
    return {name: sizes for name in inner if (sizes := tools.sizes(name)) is not None}


def _as_on_dpu(nodes: Sequence[Node], fed: Shapes, settings: Settings, notes: list[str]) -> list[Node]:
    current = pools.means_as_pools(nodes, shapes_of(nodes, fed).sizes)
    current = pools.scaled(pools.split_large(current, notes), bool(settings.scale_all_avgpool))
    current = forms.leaky_relus(current)
    if settings.replace_sigmoid:
        current = forms.sigmoids_as_hard_sigmoids(current)
    return forms.hard_sigmoids(current, notes)


def _left_norms(nodes: Sequence[Node]) -> list[str]:
    return [
        f"{name}: vai_q_tensorflow leaves this batch norm in float, since another one reads the same tensor"
        for name in batch_norms.unconverted(nodes)
    ]


def _means_of_norms(nodes: Sequence[Node], norms: set[str]) -> list[str]:
    return [
        f"{item.name}: vai_q_tensorflow crashes at this mean, since it reads the batch norm {item.sources[0]} itself"
        for item in nodes
        if item.op == "Mean" and item.sources[0] in norms
    ]


def _ends(nodes: Sequence[Node], before: Sequence[Node], outputs: Sequence[str], notes: list[str]) -> list[str]:
    """The outputs, and by which node they are given now, where the quantizer itself would not find them again."""
    ends = [_given_by(name, nodes, by_name(before)) for name in outputs]
    for name, end in zip(outputs, ends, strict=True):
        if end != name:
            notes.append(f"{name}: vai_q_tensorflow stops at an output that it folds away; {end} gives its value")
    return ends


def _whole(
    named: Mapping[str, Node], name: str, exchanged: Mapping[str, str], notes: list[str], is_faithful: bool
) -> str:
    """The node with all that belongs to the output `name`; the output itself, and a note, if it `is_faithful`."""
    last = exchanged.get(name) or _added_behind(named, name)
    if last == name or not is_faithful:
        return last
    if name in exchanged:
        what = f"this output is the gate of a hard-swish alone, since vai_q_tensorflow exchanges it with {last}"
    else:
        what = (
            "this output is what the graph computes without the DPU's scale and what else vai_q_tensorflow puts "
            f"behind it, up to {last}"
        )
    notes.append(f"{name}: {what}; name a later node as the output")
    return name


def _exchanged(before: Mapping[str, Node], after: Mapping[str, Node], outputs: Sequence[str]) -> dict[str, str]:
    """Outputs that are the division of a hard-swish, whose product gives the result once both are exchanged."""
    return {
        name: before[name].sources[0]
        for name in outputs
        if name in before and name in after and before[name].inputs != after[name].inputs
    }


def _given_by(name: str, nodes: Sequence[Node], old: Mapping[str, Node]) -> str:
    """The node that gives the value of one that was folded into what it read, or replaced by nodes named after it."""
    names = {item.name for item in nodes}
    end = name
    while end not in names:
        made = [item.name for item in nodes if item.name.startswith(f"{end}/h_sigmoid/")]
        if not made and old[end].op not in FOLDED:
            raise StageError(
                f"the output {name} lies inside of what the quantizer writes as one operator",
                expected="outputs behind activations",
                found=old[end].op,
                remedy="name the node behind it",
            )
        end = made[-1] if made else old[end].sources[0]
    return end


def _added_behind(named: Mapping[str, Node], name: str) -> str:
    """The last of the nodes that were added behind one for the DPU: they begin with its name."""
    last = name
    for added in (f"{name}/{part}" for part in ADDED_BEHIND.get(named[name].op, ())):
        if added in named and named[added].sources[0] == last:
            last = added
    return last
