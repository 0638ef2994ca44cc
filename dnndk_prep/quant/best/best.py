"""`mode: best`: the vendor's plan with other scales, positions and roundings, as they gain on held-out examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.fix_neurons import FIX_NEURON
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.quant.best.equalize import KINDS, Link, equalized, links
from dnndk_prep.quant.best.examples import Examples, divided
from dnndk_prep.quant.best.layerwise import Proposal, accepted, proposals
from dnndk_prep.quant.best.learning import affordable_updates, learned_state
from dnndk_prep.quant.best.search import Judge, Outputs, State, shifted_activations, start
from dnndk_prep.quant.best.trial import Trial, constants_of
from dnndk_prep.quant.calibration import Batch, calibrate
from dnndk_prep.quant.fixed import with_fix_neurons
from dnndk_prep.quant.network import Node, by_name
from dnndk_prep.quant.progress import bar
from dnndk_prep.quant.vai_q_tf1.adjust import Change
from dnndk_prep.quant.vai_q_tf1.places import locate
from dnndk_prep.quant.vendor import Plan, Quantization, quantize

# Batches by which equalizations and positions are tried.
TRIED, MOVED = 4, 2


@dataclass(frozen=True)
class Best:
    """The chosen quantization, whose `search` tells what was chosen by which gain, and the vendor's of this graph."""

    quantization: Quantization
    vendor: Quantization


@dataclass
class _Search:
    """One search: the examples, what the float graph makes of them, and what is told in the end."""

    graph_def: GraphDef
    plan: Plan
    examples: Examples
    outputs: Sequence[str]
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        logits, exact = _logits(self.plan), constants_of(self.plan.nodes)
        with (
            GraphRunner(self.graph_def, list(self.outputs)) as runner,
            Trial(self.plan.nodes, logits, is_float=True) as floats,
        ):

            def wanted(batch: Batch) -> Outputs:
                return [*runner.run(batch), *(floats.run(batch, exact, {}) if logits else ())]

            self.fit_targets = [wanted(batch) for batch in self.examples.fit]
            self.held_targets = [wanted(batch) for batch in self.examples.held]

    def held(self, judge: Judge, state: State) -> float:
        """The error on what was held out."""
        return judge.error(state, self.examples.held, self.held_targets)

    def tried(self, judge: Judge, state: State) -> float:
        """The error on a few of the batches that may be learned from."""
        return judge.error(state, self.examples.fit[:MOVED], self.fit_targets[:MOVED])


@dataclass
class _Candidate:
    kind: str
    judge: Judge
    state: State
    error: float
    found: list[Proposal] = field(default_factory=list)
    gains: Mapping[str, float | None] = field(default_factory=dict)


def best(
    graph_def: GraphDef, outputs: Sequence[str], plan: Plan, batches: Sequence[Batch], updates: int | None = None
) -> Best:
    """Quantize `plan`, made of `graph_def`, so that the outputs lose less than by the vendor's choices.

    `batches` are those of the calibration; `updates` are those of the learned rounding, else as many as a
    fixed amount of work allows. The result is never worse than the vendor's on the examples that are held out; where
    nothing is gained it is the vendor's. Raises StageError as the vendor's calibration does.
    """
    vendor = quantize(plan, bar(batches, "calibration", len(batches)))
    search = _Search(graph_def, plan, divided(plan.nodes, batches), outputs)
    with Trial(plan.nodes, _compared(plan)) as trial:
        before = search.held(Judge(plan, trial), State(vendor.positions, constants_of(plan.nodes)))
    candidate = _rounded(search, _equalized(search, vendor))
    candidate = _positioned(search, candidate)
    candidate = _learned(search, candidate, updates)
    search.facts |= {"examples": search.examples.counts, "error": {"vendor": before, "best": candidate.error}}
    if not candidate.error < before:
        search.facts["error"]["best"] = before
        return Best(replace(vendor, search=search.facts | {"chosen": "vendor", "layers": []}), vendor)
    made = _quantization(candidate, batches, vendor)
    candidate.judge.trial.close()
    return Best(replace(made, search=search.facts | {"chosen": "best", "layers": _layer_facts(candidate)}), vendor)


def _equalized(search: _Search, vendor: Quantization) -> _Candidate:
    """The equalization with which layer by layer rounding, on a few batches, loses least."""
    plan, found = search.plan, links(search.plan.prepared.nodes, search.plan.prepared.outputs)
    ranges = _ranges(search, found)
    without_relu6 = [link for link in found if not link.relu6]
    tries: dict[str, Plan] = {"none": plan}
    for kind in KINDS:
        for name, chosen in ((kind, found), (f"{kind}, Relu6 kept", without_relu6)):
            if chosen and (name == kind or len(chosen) < len(found)):
                nodes, _ = equalized(plan.prepared.nodes, chosen, ranges, kind)
                tries[name] = _replanned(plan, nodes)
    known = {"none": {name: one.position for name, one in vendor.seen.items()}}
    waiting = bar(tries.items(), "equalization", len(tries), "try")
    candidates = [_candidate(search, name, one, known.get(name)) for name, one in waiting]
    search.facts["equalization"] = {one.kind: one.error for one in candidates}
    chosen_one = min(candidates, key=lambda one: one.error)
    for one in candidates:
        if one is not chosen_one:
            one.judge.trial.close()
    search.facts["equalized"] = chosen_one.kind
    return chosen_one


def _candidate(search: _Search, kind: str, plan: Plan, positions: Mapping[str, int] | None) -> _Candidate:
    """positions: those of the calibration, where they are known already."""
    if positions is None:
        seen = calibrate(plan.nodes, plan.prepared.outputs, search.examples.fit[:TRIED])
        positions = {name: one.position for name, one in seen.items()}
    judge = Judge(plan, Trial(plan.nodes, _compared(plan)))
    state = start(plan, positions)
    state = state.moved(judge.final_positions(state))
    few = state
    for one in proposals(judge, state, search.examples.fit[:TRIED]):
        few = few.holding(one.constants).moved(one.positions)
    # The state itself is rounded once it is chosen, from all examples.
    return _Candidate(kind, judge, state, min(search.held(judge, state), search.held(judge, few)))


def _rounded(search: _Search, candidate: _Candidate) -> _Candidate:
    """With learned weights and corrected biases, layer by layer."""
    found = proposals(candidate.judge, candidate.state, search.examples.fit)
    state, error, gains = accepted(candidate.state, found, lambda one: search.held(candidate.judge, one))
    plain = search.held(candidate.judge, candidate.state)
    search.facts["rounded"] = {"before": plain, "after": min(plain, error)}
    if error > plain:
        return replace(candidate, error=plain)
    return replace(candidate, state=state, error=error, found=found, gains=gains)


def _positioned(search: _Search, candidate: _Candidate) -> _Candidate:
    """With activations at the positions that the network's outputs lose least by."""
    judge = candidate.judge
    state, error, moved = shifted_activations(
        judge, candidate.state, lambda one: search.tried(judge, one), lambda one: search.held(judge, one)
    )
    search.facts["moved"] = {"before": candidate.error, "after": error, "positions": moved}
    return replace(candidate, state=state, error=error)


def _learned(search: _Search, candidate: _Candidate, updates: int | None) -> _Candidate:
    """With roundings learned by the error of the whole network."""
    judge = candidate.judge
    if updates is None:
        updates = affordable_updates(judge, candidate.state, search.examples.fit[0])
    state, error = learned_state(
        judge,
        candidate.state,
        judge.trial.ends,
        search.examples.fit,
        search.fit_targets,
        updates,
        lambda one: search.held(judge, one),
    )
    search.facts["learned"] = {"updates": updates, "before": candidate.error, "after": error}
    return replace(candidate, state=state, error=error)


def _logits(plan: Plan) -> list[str]:
    """What a softmax reads: the outputs alone hang on the few examples that are nearly undecided."""
    named = by_name(plan.nodes)
    return [named[name].sources[0] for name in plan.prepared.outputs if named[name].op == "Softmax"]


def _compared(plan: Plan) -> list[str]:
    """The tensors whose errors are looked at."""
    return [*plan.ends, *_logits(plan)]


def _ranges(search: _Search, found: Sequence[Link]) -> dict[str, np.ndarray]:
    """The greatest absolute value of each channel between layers, in the float graph."""
    nodes, ends = search.plan.nodes, [link.end for link in found]
    if not ends:
        return {}
    ranges: dict[str, np.ndarray] = {}
    exact = constants_of(nodes)
    with Trial(nodes, ends, is_float=True) as trial:
        for batch in search.examples.fit[:TRIED]:
            for name, value in zip(ends, trial.run(batch, exact, {}), strict=True):
                most = np.abs(value.reshape(-1, value.shape[-1])).max(axis=0)
                ranges[name] = np.maximum(ranges.get(name, most), most)
    return ranges


def _replanned(plan: Plan, nodes: Sequence[Node]) -> Plan:
    prepared = replace(plan.prepared, nodes=tuple(nodes))
    places = locate(prepared.nodes, plan.settings)
    return Plan(plan.settings, prepared, places, tuple(with_fix_neurons(prepared, places.fixes)))


def _quantization(candidate: _Candidate, batches: Iterable[Batch], vendor: Quantization) -> Quantization:
    """The state as a quantization: constants on their grids, and beside its positions those that the vendor's tool
    would choose for this very graph."""
    judge = candidate.judge
    positions = judge.final_positions(candidate.state)
    values = judge.values(candidate.state, positions)
    stored = {judge.fixes[name].inputs[0]: value for name, value in values.items() if name in judge.trial.fixed}
    nodes = [item.holding(stored[item.name]) if item.name in stored else item for item in judge.plan.prepared.nodes]
    plan = _replanned(judge.plan, nodes)
    seen = calibrate(plan.nodes, plan.prepared.outputs, batches)
    changes = [
        Change("best", name, one.position, positions[name])
        for name, one in seen.items()
        if one.position != positions[name]
    ]
    return Quantization(plan, seen, positions, changes, vendor.notes)


def _layer_facts(candidate: _Candidate) -> list[dict[str, Any]]:
    """What was chosen for each layer, and what it gains."""
    nodes = {item.name for item in candidate.judge.plan.nodes if item.op != FIX_NEURON}
    return [
        {
            "layer": one.layer.name,
            "rounding": "nearest" if (gain := candidate.gains.get(one.layer.name)) is None else "learned",
            "layer_error": {"nearest": one.before, "learned": one.after},
            "gain": gain,
        }
        for one in candidate.found
        if one.layer.name in nodes
    ]
