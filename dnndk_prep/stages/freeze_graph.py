"""freeze_graph: variables to constants, only what the outputs need, at the reader's level."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dnndk_prep.errors import UsageError
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.freeze import freeze
from dnndk_prep.graph.readers import for_reader
from dnndk_prep.graph.topology import node_of
from dnndk_prep.graph.weights import weights_apart
from dnndk_prep.keras_io.checkpoint import (
    CHECKPOINT,
    match_variables,
    read_checkpoint,
    saved_variables,
    write_checkpoint,
)
from dnndk_prep.stages._graph_entry import artifact_of, facts_of, take_in
from dnndk_prep.stages._proof import prove_artifact
from dnndk_prep.stages.context import StageContext

FROZEN_GRAPH = "frozen_graph.pb"


@weights_apart()
def run(ctx: StageContext) -> dict[str, Any]:
    """Write frozen_graph.pb and graph.json; of a frozen graph of the user's also op_names.txt and reference.npz."""
    if "keras_2_tf" not in ctx.inputs:
        return _take_in(ctx)
    folder, options = ctx.inputs["keras_2_tf"], ctx.cfg.freeze_graph
    source = GraphArtifact.load(folder)
    variables = (
        match_variables(source.graph_def, read_checkpoint(folder / CHECKPOINT))
        if saved_variables(source.graph_def)
        else {}
    )
    graph_def = freeze(
        source.graph_def,
        variables,
        source.output_names,
        options.keep_vars,
        options.clear_devices,
        source.input_names,
    )
    keep = frozenset(node_of(name) for name in [*source.input_names, *source.output_names])
    reader = ctx.cfg.graph.reader
    artifact = replace(source, graph_def=for_reader(graph_def, reader, keep), reader=reader)
    artifact.save(ctx.out, FROZEN_GRAPH)
    facts = prove_artifact(ctx.cfg, artifact, folder)
    nodes = {"before": len(source.graph_def.node), "after": len(artifact.graph_def.node)}
    return {**facts, "nodes": nodes, "reader": reader, "kept_variables": list(options.keep_vars)}


def _take_in(ctx: StageContext) -> dict[str, Any]:
    foreign, variables, _ = take_in(ctx)
    options, reader = ctx.cfg.freeze_graph, ctx.cfg.graph.reader
    names = [spec.name for spec in foreign.outputs]
    inputs = [spec.name for spec in foreign.inputs]
    _refuse_kept(ctx, list(variables))
    graph_def = freeze(foreign.graph_def, variables, names, options.keep_vars, options.clear_devices, inputs)
    if options.keep_vars:
        write_checkpoint(ctx.out / CHECKPOINT, foreign.graph_def, variables)
    artifact = artifact_of(foreign, for_reader(graph_def, reader, frozenset([*inputs, *names])), reader)
    artifact.save(ctx.out, FROZEN_GRAPH)
    facts = prove_artifact(ctx.cfg, artifact, ctx.out)
    nodes = {"before": len(foreign.reference.node), "after": len(artifact.graph_def.node)}
    return {
        **facts,
        **facts_of(foreign, ctx),
        "nodes": nodes,
        "reader": reader,
        "kept_variables": list(options.keep_vars),
    }


def _refuse_kept(ctx: StageContext, variables: list[str]) -> None:
    """A graph that was frozen elsewhere has no variables that could be kept."""
    missing = [name for name in ctx.cfg.freeze_graph.keep_vars if name not in variables]
    if missing and ctx.cfg.model.path is not None:
        raise UsageError(
            f"freeze_graph.keep_vars: {', '.join(missing)} is no variable of {ctx.cfg.model.path.name}",
            expected=", ".join(variables[:10]) or "no names: the graph is frozen already, and holds constants alone",
            found=", ".join(missing),
            remedy="give the graph from before it was frozen, with its checkpoint, or empty freeze_graph.keep_vars",
        )
