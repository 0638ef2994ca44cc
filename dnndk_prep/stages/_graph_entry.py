"""Takes a TensorFlow graph of the user's in: at keras_2_tf with its checkpoint, at freeze_graph where it is frozen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.config import Config
from dnndk_prep.errors import ModelFileError, UsageError, nearest
from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec
from dnndk_prep.graph.fixed_batch import with_batch
from dnndk_prep.graph.foreign import ForeignGraph, foreign_graph, variable_names
from dnndk_prep.graph.kinds import checkpoint_prefix
from dnndk_prep.graph.names import Found, op_names_text, rename
from dnndk_prep.graph.probe import probe_batch
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.graph.sources import GraphSource, read_source, saved_keys
from dnndk_prep.graph.wanted import Wanted
from dnndk_prep.keras_io.checkpoint import CHECKPOINT, RestoredRunner, read_checkpoint, write_checkpoint
from dnndk_prep.said import first_line
from dnndk_prep.stages._model import SOURCE_JSON
from dnndk_prep.stages._proof import Reference, Run, fitting_test_part, make_reference
from dnndk_prep.stages.context import StageContext

Values = Mapping[str, np.ndarray]


def take_in(ctx: StageContext) -> tuple[ForeignGraph, dict[str, np.ndarray], Reference]:
    """The inference graph, the values of its variables by their nodes, and what the graph gives as it came.

    Writes op_names.txt, source.json and reference.npz. Raises what foreign_graph raises, and ModelFileError where the
    checkpoint is not there or lacks a variable.
    """
    model = ctx.cfg.model
    assert model.path is not None
    source = read_source(model.path, model.tag, model.signature)
    foreign = _fixed(ctx.cfg, _renamed(ctx.cfg, source, foreign_graph(source, _wanted(ctx.cfg))))
    stored = stored_values(ctx.cfg, source, foreign)
    _write_names(ctx, foreign)
    facts = {"files": [{"name": model.path.name, "saved_as": None, "sha256": None}], "kind": source.kind}
    (ctx.out / SOURCE_JSON).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    reference = _reference(ctx, foreign, stored)
    reference.save(ctx.out)
    for note in foreign.notes:
        ctx.say(f"{ctx.out.name.removeprefix('.new-')}: {note}")
    return foreign, {new: stored[old] for new, old in foreign.keys.items()}, reference


def facts_of(foreign: ForeignGraph, ctx: StageContext) -> dict[str, Any]:
    """What stage.json tells of a graph that was taken in."""
    assert ctx.cfg.model.path is not None
    layers = {"inputs": list(foreign.input_layers), "outputs": list(foreign.output_layers)}
    return {"taken_in": ctx.cfg.model.path.name, "cut": list(foreign.notes), "layers": layers}


def _wanted(cfg: Config) -> Wanted:
    inputs = cfg.model.inputs
    shapes = dict(inputs) if isinstance(inputs, dict) else dict.fromkeys(inputs)
    return Wanted(shapes, cfg.model.outputs, cfg.model.constants)


def stored_values(cfg: Config, source: GraphSource, foreign: ForeignGraph) -> dict[str, np.ndarray]:
    """The values of all variables that the graph or its reference reads, by their nodes in the file."""
    nodes = dict.fromkeys([*foreign.keys.values(), *variable_names(foreign.reference)])
    if not nodes:
        return {}
    prefix = checkpoint_prefix(cfg.model.checkpoint) if cfg.model.checkpoint else source.checkpoint
    if prefix is None:
        raise ModelFileError(
            f"{source.file} has variables, and no checkpoint beside it",
            expected="the values of its variables",
            found=f"{len(nodes)} variables: {', '.join(list(nodes)[:3])} ...",
            remedy="give them: model.checkpoint: model.ckpt-1000",
        )
    keys = source.keys or saved_keys(source.graph_def)
    checkpoint = read_checkpoint(prefix, {keys[name].key for name in nodes})
    missing = [keys[name].key for name in nodes if keys[name].key not in checkpoint]
    if missing:
        raise ModelFileError(
            f"the checkpoint {prefix} lacks {len(missing)} variable(s) of the graph",
            expected="a value for each variable that the outputs need",
            found=f"none for {', '.join(missing[:5])}",
            remedy="give the checkpoint that was saved with this graph",
        )
    return {name: keys[name].of(checkpoint[keys[name].key]) for name in nodes}


def _reference(ctx: StageContext, foreign: ForeignGraph, stored: Values) -> Reference:
    """The graph as it came, run by TensorFlow before anything is rewritten."""
    folder = ctx.scratch / "reference"
    graph_def: GraphDef = foreign.reference
    if variable_names(graph_def):
        graph_def = write_checkpoint(folder / CHECKPOINT, graph_def, stored)
    names = dict(zip((spec.name for spec in foreign.inputs), foreign.reference_inputs, strict=True))
    with _runner(graph_def, foreign, folder) as runner:

        def run(feeds: Values) -> list[np.ndarray]:
            try:
                return runner.run({**{names[name]: value for name, value in feeds.items()}, **foreign.constants})
            except tf.errors.OpError as error:
                raise ModelFileError(
                    f"TensorFlow cannot run the graph in {ctx.cfg.model.path} on this machine",
                    expected="ops that TensorFlow has a CPU kernel for; those of images take NHWC",
                    found=first_line(error),
                    remedy="export the graph with channels_last, or give inputs of a size that it takes: model.inputs",
                ) from error

        return _made(ctx, run, foreign)


def _runner(graph_def: GraphDef, foreign: ForeignGraph, folder: Any) -> GraphRunner:
    return RestoredRunner(graph_def, foreign.reference_outputs, folder / CHECKPOINT)


def _made(ctx: StageContext, run: Run, foreign: ForeignGraph) -> Reference:
    probe = probe_batch(foreign.inputs, ctx.cfg.seed, foreign.graph_def)
    return make_reference(ctx.cfg, run, probe, foreign.inputs, fitting_test_part(ctx.cfg, foreign.inputs))


def _write_names(ctx: StageContext, foreign: ForeignGraph) -> None:
    text = op_names_text(foreign.graph_def, foreign.found_inputs, foreign.found_outputs)
    notes = "".join(f"cut     {note}\n" for note in foreign.notes)
    (ctx.out / "op_names.txt").write_text(notes + text, encoding="utf-8")


def _renamed(cfg: Config, source: GraphSource, foreign: ForeignGraph) -> ForeignGraph:
    """New names for inputs and outputs: graph.inputs and graph.outputs, by the name in the file, its key, or ours."""
    names = {
        **_new_names("graph.inputs", cfg.graph.inputs, _called(foreign.inputs, source.inputs, foreign, "inputs")),
        **_new_names("graph.outputs", cfg.graph.outputs, _called(foreign.outputs, source.outputs, foreign, "outputs")),
    }
    if not names:
        return foreign

    def new(name: str) -> str:
        return names.get(name, name)

    return replace(
        foreign,
        graph_def=rename(foreign.graph_def, names),
        inputs=tuple(replace(spec, name=new(spec.name)) for spec in foreign.inputs),
        outputs=tuple(replace(spec, name=new(spec.name)) for spec in foreign.outputs),
        found_inputs=tuple(_told(one, new(one.name)) for one in foreign.found_inputs),
        found_outputs=tuple(_told(one, new(one.name)) for one in foreign.found_outputs),
    )


def _fixed(cfg: Config, foreign: ForeignGraph) -> ForeignGraph:
    if cfg.graph.batch is None:
        return foreign
    graph_def, inputs, outputs = with_batch(foreign.graph_def, foreign.inputs, foreign.outputs, cfg.graph.batch)
    return replace(foreign, graph_def=graph_def, inputs=inputs, outputs=outputs)


def _told(found: Found, name: str) -> Found:
    """The choice under its new name, with the one that the file has."""
    if name == found.name or " in the file, " in found.reason:
        return Found(name, found.reason)
    return Found(name, f"{found.name} in the file, {found.reason}")


def _called(
    specs: tuple[TensorSpec, ...], signature: Mapping[str, str], foreign: ForeignGraph, what: str
) -> dict[str, str]:
    """The ends by all that people call them: their layers, the signature's keys, the names in the file, and ours."""
    in_file = foreign.reference_inputs if what == "inputs" else foreign.reference_outputs
    layers = foreign.input_layers if what == "inputs" else foreign.output_layers
    names = [spec.name for spec in specs]
    known = dict(zip(layers, names, strict=True))
    known |= dict(zip((name.removesuffix(":0") for name in in_file), names, strict=True))
    keys = {key: known[name.removesuffix(":0")] for key, name in signature.items() if name.removesuffix(":0") in known}
    return known | keys | {name: name for name in names}


def _new_names(key: str, wanted: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    for name in wanted:
        if name not in known:
            names = list(dict.fromkeys(known.values()))
            raise UsageError(
                f"{key}: the graph has no {name!r}",
                expected=", ".join(names),
                found=name,
                remedy=f"did you mean {', '.join(nearest(name, known)) or names[0]}?",
                code="K2D-0004",
            )
    return {known[name]: new for name, new in wanted.items()}


def artifact_of(foreign: ForeignGraph, graph_def: GraphDef, reader: str) -> GraphArtifact:
    """The graph with the ends of `foreign`."""
    return GraphArtifact(graph_def, foreign.inputs, foreign.outputs, reader)
