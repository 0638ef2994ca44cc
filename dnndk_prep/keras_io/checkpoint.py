"""TensorFlow 1 checkpoints: written beside their inference graph, and read back.

The same model gives the same bytes, and no file names the folder it was written to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf import text_format  # type: ignore[import-untyped]
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

from dnndk_prep.errors import ModelFileError
from dnndk_prep.graph.artifact import serialize
from dnndk_prep.graph.freeze import VARIABLES
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.graph.saver import SavedVariable, free_prefix, saver_def, saver_nodes, saver_prefix
from dnndk_prep.keras_io.checkpoint_reader import CheckpointReader

CHECKPOINT = "tf_chkpt.ckpt"
INFER_GRAPH = "tf_infer_graph.pb"


def saved_variables(graph_def: GraphDef) -> list[SavedVariable]:
    """The variables of the graph, in its order."""
    return [SavedVariable.of(node) for node in graph_def.node if node.op in VARIABLES]


def with_saver(graph_def: GraphDef) -> GraphDef:
    """The graph with nodes that save and restore its variables."""
    prefix = free_prefix(node.name for node in graph_def.node)
    result = GraphDef()
    result.CopyFrom(graph_def)
    result.node.extend(saver_nodes(saved_variables(graph_def), prefix))
    return result


def write_checkpoint(prefix: Path, graph_def: GraphDef, variables: Mapping[str, np.ndarray]) -> GraphDef:
    """Write `prefix`.index, .data-00000-of-00001 and .meta, and the file `checkpoint` beside them.

    `variables` is keyed by the variable's node. Returns the graph with its Saver, as the .meta holds it; TF1's
    import_meta_graph and restore work with the files. Raises ModelFileError for a graph without variables.
    """
    if not saved_variables(graph_def):
        raise ModelFileError(
            "the model has no weights, and TensorFlow 1 has no checkpoint without variables",
            expected="a model with at least one layer that has weights",
            found="none",
            remedy="give the trained model, not its preprocessing alone",
        )
    prefix.parent.mkdir(parents=True, exist_ok=True)
    graph = with_saver(graph_def)
    values = {variable.key: variables[variable.node] for variable in saved_variables(graph_def)}
    keys = sorted(values)
    _save(prefix, keys, [values[key] for key in keys])
    meta = MetaGraphDef(graph_def=graph, saver_def=saver_def(saver_prefix(graph.node) or ""))
    meta.meta_info_def.tensorflow_version = tf.__version__
    prefix.with_name(prefix.name + ".meta").write_bytes(meta.SerializeToString(deterministic=True))
    # What tf.train.latest_checkpoint reads; a plain name is relative to this file.
    lines = [f'{key}: "{prefix.name}"' for key in ("model_checkpoint_path", "all_model_checkpoint_paths")]
    (prefix.parent / "checkpoint").write_text("\n".join(lines) + "\n")
    return graph


def _save(prefix: Path, keys: Sequence[str], values: Sequence[np.ndarray]) -> None:
    """In a session, which reads arrays where they lie; as eager tensors they would be copied twice."""
    with tf.Graph().as_default() as graph:
        tensors = [tf.compat.v1.placeholder(value.dtype, value.shape) for value in values]
        save = tf.raw_ops.SaveV2(
            prefix=str(prefix), tensor_names=keys, shape_and_slices=[""] * len(keys), tensors=tensors
        )
        with tf.compat.v1.Session(graph=graph) as session:
            session.run(save, dict(zip(tensors, values, strict=True)))


def write_graph(path: Path, graph_def: GraphDef) -> None:
    """Write a GraphDef: as text where the name ends in .pbtxt, else binary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".pbtxt":
        path.write_text(text_format.MessageToString(graph_def))
    else:
        path.write_bytes(serialize(graph_def))


def read_graph(path: Path, is_binary: bool = True) -> GraphDef:
    """Read a GraphDef, binary or text; ModelFileError if the file is none."""
    try:
        if is_binary:
            return GraphDef.FromString(path.read_bytes())
        return text_format.Parse(path.read_text(encoding="utf-8"), GraphDef())
    # DecodeError, ParseError and UnicodeDecodeError have no other base in common.
    except Exception as error:
        kind = "binary" if is_binary else "text"
        found = (str(error).splitlines() or [""])[0]
        raise ModelFileError(
            f"{path} is not a {kind} GraphDef",
            expected=f"a {kind} GraphDef",
            found=f"{type(error).__name__}: {found}",
            remedy="check the path, and whether the file is text (.pbtxt) or binary (.pb)",
        ) from error


def read_checkpoint(prefix: Path, keys: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Every variable of the checkpoint by its key, or those of `keys` that it has.

    Raises ModelFileError if there is no whole checkpoint.
    """
    reader = CheckpointReader(prefix)
    wanted = [key for key in sorted(reader.dtypes) if reader.dtypes[key] != tf.string and (keys is None or key in keys)]
    return {key: reader.tensor(key) for key in wanted}


def match_variables(graph_def: GraphDef, checkpoint: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The values of the graph's variables by their node; variables that the checkpoint lacks are left out."""
    return {
        variable.node: checkpoint[variable.key] for variable in saved_variables(graph_def) if variable.key in checkpoint
    }


class RestoredRunner(GraphRunner):
    """Runs a graph whose variables, if it has any, its own Saver has loaded from the checkpoint."""

    def __init__(self, graph_def: GraphDef, outputs: Sequence[str], checkpoint: Path) -> None:
        super().__init__(graph_def, outputs)
        prefix = saver_prefix(graph_def.node)
        if prefix is not None:
            saver = saver_def(prefix)
            restore = self._graph.get_operation_by_name(saver.restore_op_name)
            self._session.run(restore, {saver.filename_tensor_name: str(checkpoint)})
