"""Any frozen graph as a function from the model's inputs to one output, its ends found where nobody names them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dnndk_prep.errors import UsageError
from dnndk_prep.graph.artifact import GRAPH_JSON, TensorSpec
from dnndk_prep.graph.ends import find_constants, find_inputs, find_outputs, without_flags
from dnndk_prep.graph.fix_neurons import without_fix_neurons
from dnndk_prep.graph.infer import Inference
from dnndk_prep.graph.names import tensor_specs
from dnndk_prep.graph.safety import refuse_unsafe
from dnndk_prep.graph.sources import GraphSource
from dnndk_prep.graph.topology import node_of


class Classifier:
    """The first output of a graph, or the one that is named. Training's flags are fed with their value in inference."""

    def __init__(self, source: GraphSource, inputs: Sequence[str] = (), output: str | None = None) -> None:
        """Raises what Inference raises, and UsageError where several outputs could be meant."""
        # The ends are those of the graph as it came: a FixNeuron may be one.
        plain = replace(source, graph_def=without_fix_neurons(source.graph_def, source.file))
        refuse_unsafe(plain.graph_def, source.file)
        told_inputs, told_outputs = _told(source)
        names = list(inputs) or told_inputs or [found.name for found in find_inputs(source.graph_def)]
        self.output = output or self._one(
            source, told_outputs or [found.name for found in find_outputs(source.graph_def, names)]
        )
        self._constants = {name: value for name, (value, _) in find_constants(source.graph_def, names).items()}
        self._inference = Inference(plain, [*names, *self._constants], [self.output])
        specs = tensor_specs(plain.graph_def, [node_of(name) for name in names])
        self.inputs: tuple[TensorSpec, ...] = specs
        self._names = dict(zip((spec.name for spec in specs), names, strict=True))

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The output for one batch, by the names of `inputs`."""
        given = {self._names[name]: value for name, value in feeds.items()}
        return self._inference.run({**given, **self._constants})

    @staticmethod
    def _one(source: GraphSource, names: Sequence[str]) -> str:
        if len(names) > 1:
            raise UsageError(
                f"{source.file} has {len(names)} outputs",
                expected="one that gives a score for each class",
                found=", ".join(names),
                remedy=f"name it: --output {names[0]}",
            )
        return names[0]

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *error: object) -> None:
        self._inference.__exit__()


def _told(source: GraphSource) -> tuple[list[str], list[str]]:
    """The ends as the file's signature or the graph.json beside it tells them."""
    if source.outputs:
        told = without_flags(source.graph_def, source.inputs)
        return list(told.values()), list(source.outputs.values())
    beside = Path(source.file).with_name(GRAPH_JSON)
    if not beside.is_file():
        return [], []
    facts = json.loads(beside.read_text(encoding="utf-8"))
    nodes = {node.name for node in source.graph_def.node}
    inputs, outputs = ([spec["name"] for spec in facts.get(key, [])] for key in ("inputs", "outputs"))
    return (inputs, outputs) if nodes.issuperset(map(node_of, [*inputs, *outputs])) else ([], [])
