"""keras_2_tf: the Keras model as a TensorFlow 1 checkpoint, an inference graph and a list of op names."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec
from dnndk_prep.graph.names import op_names_text
from dnndk_prep.graph.safety import refuse_unsafe
from dnndk_prep.keras_io.checkpoint import CHECKPOINT, INFER_GRAPH, RestoredRunner, write_checkpoint, write_graph
from dnndk_prep.keras_io.inference import build_inference, chosen, fixed, renamed
from dnndk_prep.keras_io.load import KerasSource
from dnndk_prep.keras_io.predict import Predictor, probe_batch
from dnndk_prep.stages._graph_entry import artifact_of, facts_of, take_in
from dnndk_prep.stages._model import custom_objects, read_source
from dnndk_prep.stages._proof import Reference, fitting_test_part, make_reference, prove
from dnndk_prep.stages.context import StageContext


def run(ctx: StageContext) -> dict[str, Any]:
    """Write tf_chkpt.ckpt.*, checkpoint, tf_infer_graph.pb and .pbtxt, op_names.txt, graph.json, reference.npz.

    A TensorFlow graph of the user's with its checkpoint, or a SavedModel, gives the same files.
    """
    if "train_save" not in ctx.inputs:
        return _take_in(ctx)
    source, form = read_source(ctx.inputs["train_save"], ctx.cfg.keras_2_tf.source, custom_objects(ctx.cfg))
    made = build_inference(source, unroll=ctx.cfg.keras_2_tf.unroll, kept=ctx.cfg.freeze_graph.keep_vars)
    # The scan of the file let nothing else in; the user's own layers are the user's own code.
    if not source.custom.objects:
        refuse_unsafe(made.graph_def, source.file)
    built = fixed(renamed(made, ctx.cfg.graph.inputs, ctx.cfg.graph.outputs), ctx.cfg.graph.batch)
    graph_def = write_checkpoint(ctx.out / CHECKPOINT, built.graph_def, built.variables)
    # The checkpoint holds the weights now; large ones would stay in memory beside those of the reference.
    del made
    built = replace(built, variables={})
    # freeze_graph brings the graph to the reader's level.
    artifact = GraphArtifact(graph_def, built.inputs, built.outputs, tf.__version__)
    artifact.save(ctx.out, INFER_GRAPH)
    write_graph((ctx.out / INFER_GRAPH).with_suffix(".pbtxt"), graph_def)
    inputs, outputs = chosen(built)
    (ctx.out / "op_names.txt").write_text(op_names_text(graph_def, inputs, outputs))
    reference = _reference(ctx, source, built.inputs, built.largest)
    reference.save(ctx.out)
    # Keras' model refers to itself: its weights stay until somebody looks for such circles.
    gc.collect()
    with RestoredRunner(graph_def, artifact.output_names, ctx.out / CHECKPOINT) as runner:
        facts = prove(ctx.cfg, runner.run, built.inputs, artifact.output_names, reference)
    facts["warnings"] += built.notes
    if built.traced:
        facts["traced"] = built.traced
        ctx.say(f"keras_2_tf: traced by Keras 3, since {built.traced}")
    layers = {"inputs": built.input_layers, "outputs": built.output_layers}
    return {**facts, "layers": layers, "source": form, "keras": source.keras_version, "ops": len(graph_def.node)}


def _reference(ctx: StageContext, source: KerasSource, inputs: Sequence[TensorSpec], largest: int) -> Reference:
    """What Keras gives for the probe batch and the test images."""
    predictor, probe = Predictor(source), probe_batch(source, inputs, ctx.cfg.seed, largest)
    test = fitting_test_part(ctx.cfg, inputs)
    return make_reference(ctx.cfg, lambda feeds: predictor.predict(list(feeds.values())), probe, inputs, test)


def _take_in(ctx: StageContext) -> dict[str, Any]:
    foreign, variables, reference = take_in(ctx)
    graph_def = foreign.graph_def
    if variables:
        graph_def = write_checkpoint(ctx.out / CHECKPOINT, graph_def, variables)
    artifact = artifact_of(foreign, graph_def, tf.__version__)
    artifact.save(ctx.out, INFER_GRAPH)
    write_graph((ctx.out / INFER_GRAPH).with_suffix(".pbtxt"), graph_def)
    with RestoredRunner(graph_def, artifact.output_names, ctx.out / CHECKPOINT) as runner:
        facts = prove(ctx.cfg, runner.run, artifact.inputs, artifact.output_names, reference)
    return {**facts, **facts_of(foreign, ctx), "ops": len(graph_def.node)}
