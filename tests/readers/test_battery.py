"""The battery in the real old TensorFlows: each model within 1e-5 of its Keras, or refused with the stated reason."""

from __future__ import annotations

import pytest
from battery import PATTERNS
from battery.cases import case
from battery.patterns import Pattern
from conversion import assert_within

from dnndk_prep.dpu.levels import PRODUCERS
from dnndk_prep.errors import StageError
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.readers import registry_of

RUNS = [(pattern, spelling) for pattern in PATTERNS for spelling in pattern.spellings]
IDS = [f"{pattern.name} [{spelling}]".replace(" ", "_") for pattern, spelling in RUNS]
# A residual sum is the only thing that may be either; every other addition of a vector is a bias.
LOOPS = ("Enter", "LoopCond")


@pytest.mark.parametrize(("pattern", "spelling"), RUNS, ids=IDS)
def test_the_model_is_frozen_and_optimized_for_the_reader(reader, pattern: Pattern, spelling: str):
    model = case(pattern, spelling)
    reason = pattern.refused.get(reader.version)
    if reason is not None:
        with pytest.raises(StageError, match=reason) as caught:
            model.frozen(reader.version)
        assert caught.value.exit_code == 4
        return
    for artifact in (model.frozen(reader.version), model.optimized(reader.version)):
        assert_known(artifact, reader.version)
        assert_within(reader.run(artifact, model.feeds), model.predicted)


def assert_known(artifact: GraphArtifact, version: str) -> None:
    """No library, no version above the reader's, no op, attribute or name that it or the quantizers do not take."""
    graph_def, registry = artifact.graph_def, registry_of(version)
    assert not graph_def.library.function
    assert graph_def.versions.producer <= PRODUCERS[version]
    for node in graph_def.node:
        assert set(node.attr) <= set(registry[node.op]["attrs"]), node.name
    assert artifact.output_names == list(dict.fromkeys(artifact.output_names))


@pytest.mark.parametrize(("pattern", "spelling"), RUNS, ids=IDS)
def test_the_optimized_graph_has_the_canonical_form(pattern: Pattern, spelling: str):
    """What holds for every model whose sizes are known but the batch; loops and free sizes compute with shapes."""
    if "1.9" in pattern.refused:
        pytest.skip("refused")
    graph_def = case(pattern, spelling).optimized("1.9").graph_def
    nodes = {node.name: node for node in graph_def.node}
    flat = {name.replace("/", "_") for name in nodes}
    assert len(flat) == len(nodes)
    if any(node.op in LOOPS for node in graph_def.node) or pattern.has_free_sizes or pattern.computes_sizes:
        return
    assert not {"Shape", "Pack", "GatherV2", "Prod"} & _ops_of_sizes(graph_def), pattern.name
    for node in graph_def.node:
        assert node.op not in ("Einsum", "SelectV2", "FusedBatchNormV3"), node.name
        if node.op == "Reshape":
            assert nodes[node.input[1]].op == "Const", node.name
        if node.op == "ConcatV2":
            assert node.attr["T"].type == 1, f"{node.name} joins whole numbers"


def _ops_of_sizes(graph_def) -> set[str]:
    """The ops that give whole numbers or read a Shape."""
    return {node.op for node in graph_def.node if node.op in ("Shape", "Prod") or node.attr["T"].type == 3}
