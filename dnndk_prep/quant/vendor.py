"""The vendor's quantization of a frozen graph, from end to end: what vai_q_tensorflow would choose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.topology import require
from dnndk_prep.quant.calibration import Batch, Seen, calibrate
from dnndk_prep.quant.fixed import computed, ends_of, positioned, with_fix_neurons
from dnndk_prep.quant.network import Node, by_name, from_graph_def
from dnndk_prep.quant.settings import Settings
from dnndk_prep.quant.vai_q_tf1.adjust import Change, adjusted
from dnndk_prep.quant.vai_q_tf1.places import Places, locate
from dnndk_prep.quant.vai_q_tf1.prepare import Prepared, Shapes, prepare

# The ops that compute with weights.
LAYERS = ("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "MatMul", "Conv3D")
# An eighth of the range is left.
LARGE_MOVE = 3


@dataclass(frozen=True)
class Plan:
    """A prepared graph and where FixNeurons stand in it, before any data were looked at.

    `nodes` is the whole graph with FixNeurons that have no position yet.
    """

    settings: Settings
    prepared: Prepared
    places: Places
    nodes: tuple[Node, ...]

    @property
    def ends(self) -> list[str]:
        """The nodes that give the outputs."""
        return ends_of(self.nodes, self.prepared.outputs)


@dataclass(frozen=True)
class Quantization:
    """A plan with positions by FixNeuron: what each one saw, what it got in the end, and what was changed between."""

    plan: Plan
    seen: Mapping[str, Seen]
    positions: Mapping[str, int]
    changes: Sequence[Change]
    # One sentence each for what the vendor's tool does unsaid.
    notes: tuple[str, ...]
    # What a search for a better one chose, and by which gain.
    search: Mapping[str, Any] | None = None

    @property
    def nodes(self) -> list[Node]:
        """The graph with positions in its FixNeurons."""
        return positioned(self.plan.nodes, self.positions)


def plan(
    graph_def: GraphDef,
    inputs: Sequence[str],
    outputs: Sequence[str],
    fed: Shapes,
    settings: Settings,
    is_faithful: bool = True,
) -> Plan:
    """The prepared graph and the places of its FixNeurons; `fed` are the shapes of the placeholders, sizes free or not.

    Unless it `is_faithful`, what the vendor's tool gets wrong is left right: the numbers of outputs and of ceilings.

    Raises StageError for a name that is not there, and for what cannot be prepared.
    """
    known = [item.name for item in graph_def.node]
    require([*inputs, *outputs, *settings.ignore_nodes], known, "node")
    prepared = prepare(from_graph_def(graph_def), inputs, outputs, fed, settings, is_faithful)
    # FixNeurons stand behind nodes of the quantizer's own, too: the factor of an average, say.
    known += [item.name for item in prepared.nodes]
    require([*settings.nodes_bit, *settings.nodes_method], known, "node")
    places = locate(prepared.nodes, settings)
    return Plan(settings, prepared, places, tuple(with_fix_neurons(prepared, places.fixes)))


def quantize(made: Plan, batches: Iterable[Batch]) -> Quantization:
    """Calibrate a plan and adjust what came out. Raises StageError for values that are not finite."""
    outputs = made.prepared.outputs
    seen = calibrate(made.nodes, outputs, batches)
    calibrated = {name: item.position for name, item in seen.items()}
    positions, changes = adjusted(made.nodes, made.places.groups, outputs, made.settings, calibrated)
    notes = (*made.prepared.notes, *made.places.notes, *_left_layers(made), *_unsaid(made, seen, changes))
    return Quantization(made, seen, positions, changes, notes)


def _left_layers(made: Plan) -> list[str]:
    """Layers that no pattern of the tool's takes, though it knows their ops."""
    named, fixes = by_name(made.prepared.nodes), made.places.fixes
    left = [
        item.name
        for item in made.prepared.nodes
        if item.op in LAYERS
        and item.is_float
        and named[item.sources[1]].value is not None
        and item.sources[1] not in fixes
    ]
    return [
        f"{name}: vai_q_tensorflow leaves this layer in float, and does not say so"
        for name in left
        if name not in made.settings.ignore_nodes
    ]


def _unsaid(made: Plan, seen: Mapping[str, Seen], changes: Sequence[Change]) -> list[str]:
    """What is wrong with a result though the vendor's tool says nothing."""
    running = computed(made.nodes, made.prepared.outputs)
    idle = [name for name in seen if name not in running]
    notes = [f"{name}: nothing reads this FixNeuron, so it has the position 0 and tells nothing" for name in idle]
    taken: dict[str, str] = {}
    for name in seen:
        other = taken.setdefault(name.replace("/", "_"), name)
        if other != name:
            notes.append(f"{name}: vai_q_tensorflow aborts, since its file for this FixNeuron is that of {other}")
    if not seen:
        notes.append("nothing of this graph is quantized: vai_q_tensorflow knows float32 alone, and reports success")
    for change in changes:
        if change.step == "adjust_shift_cut" and (lost := _lost(change, by_name(made.nodes)[change.fix])):
            notes.append(
                f"{change.fix}: the DPU's shift moves these weights from position {change.before} to {change.after}, "
                f"where most of them are {lost}"
            )
    return notes


def _lost(change: Change, fix: Node) -> str:
    """What becomes of values whose position was moved that far: their bits are all below the grid, or beyond it."""
    if change.before - change.after >= fix.attrs["bit_width"].i:
        return "zero"
    return "cut off" if change.after - change.before >= LARGE_MOVE else ""
