"""What `export` writes beside the bundles for a board: a SavedModel, and the graph for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import StageError, UsageError
from dnndk_prep.export.saved_model import (
    ASSETS,
    SAVED_MODEL_PB,
    SavedModelSpec,
    run_saved_model,
    signature_names,
    write_saved_model,
)
from dnndk_prep.export.tensorboard import write_events
from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec
from dnndk_prep.graph.compare import require_same
from dnndk_prep.graph.freeze import freeze
from dnndk_prep.graph.readers import for_reader
from dnndk_prep.graph.training_branch import with_old_training_batch_norms
from dnndk_prep.keras_io.inference import LEARNING_PHASE, build_inference, fixed, renamed
from dnndk_prep.stages._model import custom_objects, read_source
from dnndk_prep.stages._proof import REFERENCE, Reference
from dnndk_prep.stages.context import StageContext
from dnndk_prep.workspace import STAGE_JSON

SAVED_MODEL, TENSORBOARD = "saved_model", "tensorboard"
# The training branch has ops that older ones lack (SelectV2), and no quantizer reads a SavedModel.
OLDEST_WITH_TRAINING = "1.15"


def write(ctx: StageContext, graph: GraphArtifact, name: str) -> dict[str, Any]:
    """Write what the configuration asks for, and give the facts; `name` is the model's."""
    facts: dict[str, Any] = {}
    if ctx.cfg.saved_model.wanted:
        facts[SAVED_MODEL] = _write_saved_model(ctx, graph, name)
    if ctx.cfg.tensorboard.wanted:
        write_events(ctx.out / TENSORBOARD, graph.graph_def, ctx.cfg.tensorboard.prefix)
        ctx.say(f"export: {TENSORBOARD}/; see it with: tensorboard --logdir {TENSORBOARD}")
        facts[TENSORBOARD] = {"prefix": ctx.cfg.tensorboard.prefix, "nodes": len(graph.graph_def.node)}
    return facts


def _write_saved_model(ctx: StageContext, graph: GraphArtifact, name: str) -> dict[str, Any]:
    options = ctx.cfg.saved_model
    source = _with_training_branch(ctx) if options.learning_phase else graph
    layers = layer_names(ctx)
    spec = SavedModelSpec(
        graph_def=source.graph_def,
        reader=source.reader,
        inputs=signature_names("inputs", source.inputs, _own(ctx, "inputs", source.inputs, layers), options.inputs),
        outputs=signature_names(
            "outputs", source.outputs, _own(ctx, "outputs", source.outputs, layers), options.outputs
        ),
        name=options.name or name,
        version=options.version,
        signature=options.signature,
        tags=options.tags,
        assets=_assets(ctx),
        learning_phase=options.learning_phase,
    )
    folder = write_saved_model(ctx.out / SAVED_MODEL, spec)
    place = str(folder.relative_to(ctx.out))
    ctx.say(f"export: {place}/ with the signature {spec.signature}")
    return {
        "folder": place,
        "signature": spec.signature,
        "tags": list(spec.tags),
        "inputs": {key: f"{tensor.name}:0" for key, tensor in spec.inputs.items()},
        "outputs": {key: f"{tensor.name}:0" for key, tensor in spec.outputs.items()},
        "learning_phase": f"{LEARNING_PHASE}:0" if spec.learning_phase else None,
        "assets": list(spec.assets),
        "proof": _proof(ctx, spec),
    }


def _proof(ctx: StageContext, spec: SavedModelSpec) -> dict[str, float] | None:
    """The SavedModel, loaded as a program loads it, against what the model gives for the probe batch."""
    # The stage in which the model came in keeps what the model itself gives.
    folder = next((folder for folder in ctx.inputs.values() if (folder / REFERENCE).is_file()), None)
    if folder is None:
        return None
    reference = Reference.load(folder)
    feeds = {key: np.asarray(reference.probe[tensor.name]) for key, tensor in spec.inputs.items()}
    place = ctx.out / SAVED_MODEL / spec.name / str(spec.version)
    got = run_saved_model(place, spec.tags, spec.signature, feeds)
    problem = "the SavedModel differs from what the model gives for the probe batch"
    return require_same(list(spec.outputs), [got[key] for key in spec.outputs], reference.outputs, problem)


def layer_names(ctx: StageContext) -> Mapping[str, Sequence[str]]:
    """The model's own names of inputs and outputs, in its order; nothing for a graph that came without any."""
    for folder in ctx.inputs.values():
        path = folder / STAGE_JSON
        if path.is_file() and (found := json.loads(path.read_text(encoding="utf-8"))["facts"].get("layers")):
            return found
    return {}


def _assets(ctx: StageContext) -> dict[str, Path]:
    """The files that go with the model, by their names in assets/: those of the SavedModel it came in, and the named.

    Raises UsageError for two files of one name.
    """
    path, named = ctx.cfg.model.path, ctx.cfg.saved_model.assets
    kept = path / ASSETS if path is not None and (path / SAVED_MODEL_PB).is_file() else None
    files = sorted(file for file in kept.rglob("*") if file.is_file()) if kept is not None else []
    result = {file.relative_to(kept).as_posix(): file for file in files if kept is not None}
    names = [*result, *(file.name for file in named)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"saved_model.assets: two files would be called {twice[0]!r}",
            expected="files, each with a name of its own",
            found=", ".join(names),
            remedy="rename one of them",
        )
    return result | {file.name: file for file in named}


def _own(
    ctx: StageContext, what: str, specs: Sequence[TensorSpec], layers: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """What tensors are called without `saved_model.inputs`: their name in graph.inputs, the layer's, or the op's."""
    new = set(getattr(ctx.cfg.graph, what).values())
    names = layers.get(what) or [spec.name for spec in specs]
    return tuple(spec.name if spec.name in new else name for spec, name in zip(specs, names, strict=True))


def _with_training_branch(ctx: StageContext) -> GraphArtifact:
    """The model with both branches as a graph of constants, keras_learning_phase choosing between them."""
    folder = ctx.inputs.get("train_save")
    if folder is None or not any(folder.iterdir()):
        raise StageError(
            "saved_model.learning_phase needs the Keras model",
            expected="a run that begins with train_save",
            found="a graph, in which the training branch is not there any more",
            remedy="give the Keras model as model.path, or leave out saved_model.learning_phase",
        )
    cfg = ctx.cfg
    source, _ = read_source(folder, cfg.keras_2_tf.source, custom_objects(cfg))
    made = build_inference(source, feed_learning_phase=True)
    built = fixed(renamed(made, cfg.graph.inputs, cfg.graph.outputs), cfg.graph.batch)
    names = [spec.name for spec in (*built.inputs, *built.outputs)]
    frozen: GraphDef = freeze(
        built.graph_def,
        built.variables,
        [spec.name for spec in built.outputs],
        inputs=[*(spec.name for spec in built.inputs), LEARNING_PHASE],
    )
    reader = max(OLDEST_WITH_TRAINING, cfg.graph.reader, key=lambda release: [int(n) for n in release.split(".")])
    graph_def = for_reader(with_old_training_batch_norms(frozen), reader, frozenset([*names, LEARNING_PHASE]))
    return GraphArtifact(graph_def, built.inputs, built.outputs, reader)
