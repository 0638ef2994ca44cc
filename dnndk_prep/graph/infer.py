"""Runs any graph by the names of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import ModelFileError, UsageError, nearest
from dnndk_prep.graph.fix_neurons import without_fix_neurons
from dnndk_prep.graph.foreign import refused_by_tensorflow
from dnndk_prep.graph.freeze import VARIABLES, prune
from dnndk_prep.graph.rewrites.mend_handles import mend_handles
from dnndk_prep.graph.run import GraphRunner, imported
from dnndk_prep.graph.safety import refuse_unsafe
from dnndk_prep.graph.sources import GraphSource
from dnndk_prep.graph.topology import by_name, node_of, reachable
from dnndk_prep.said import NO_ARRAYS, first_line


class Inference:
    """A session over what some tensors of a graph need; `run` feeds tensors by name and gives the fetched ones.

    A name is that of a node (`x`) or of a tensor (`x:0`, `x:1` for a second output), under `prefix` if there is one, as
    import_graph_def(name=prefix) gives them. The FixNeurons of a quantized graph are computed as the quantizer computes
    them.
    """

    def __init__(self, source: GraphSource, feeds: Sequence[str], fetches: Sequence[str], prefix: str = "") -> None:
        """Raises UsageError for a name that is not there, with the nearest; UnsafeFileError before anything runs."""
        self.file, self._prefix = source.file, prefix.strip("/")
        self._fetches = list(fetches)
        source = replace(source, graph_def=without_fix_neurons(source.graph_def, source.file))
        refuse_unsafe(source.graph_def, source.file)
        own = [self._own(source.graph_def, name) for name in (*feeds, *fetches)]
        part = self._part(source, [node_of(name) for name in own])
        with refused_by_tensorflow(source.file):
            self._graph = imported(part)
            self._tensors = {name: self._tensor(given) for name, given in zip((*feeds, *fetches), own, strict=True)}
            self._require_fed(part, own[len(feeds) :], own[: len(feeds)])
            self._runner = GraphRunner(part, [self._tensors[name].name for name in fetches])

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The fetched tensors in their order. Raises UsageError for an array that does not fit its tensor."""
        given = {self._tensors[name].name: self._fitting(name, value) for name, value in feeds.items()}
        try:
            return self._runner.run(given)
        except tf.errors.OpError as error:
            raise ModelFileError(
                f"TensorFlow cannot run the graph in {self.file} with these arrays",
                expected="arrays that its ops can work with",
                found=first_line(error),
                remedy="check the shapes and values that are fed",
            ) from error

    def _own(self, graph_def: GraphDef, name: str) -> str:
        """The name as the file has it."""
        nodes = by_name(graph_def)
        shown = [f"{self._prefix}/{node}" if self._prefix else node for node in nodes]
        inner = name.removeprefix(f"{self._prefix}/") if self._prefix else name
        has_prefix = not self._prefix or inner != name
        if node_of(inner) not in nodes or not has_prefix or name.startswith("^"):
            near = nearest(name.partition(":")[0], shown) or [one for one in shown if one.endswith(f"/{name}")][:3]
            raise UsageError(
                f"the graph in {self.file} has no tensor {name!r}",
                expected="a node (x), or a tensor (x:0, x:1)",
                found=name,
                remedy=f"nearest names: {', '.join(near) or 'none alike'}; all of them: dnndk-prep inspect {self.file}",
                code="K2D-0004",
            )
        return inner

    def _part(self, source: GraphSource, ends: Sequence[str]) -> GraphDef:
        part = mend_handles(prune(source.graph_def, ends), frozenset()).graph_def
        refuse_unsafe(part, source.file, ends)
        variables = [node.name for node in part.node if node.op in VARIABLES]
        if variables:
            raise ModelFileError(
                f"the graph in {source.file} has variables, which have no values without their checkpoint",
                expected="a frozen graph",
                found=f"{len(variables)} variables: {', '.join(variables[:3])}",
                remedy="freeze it: model.path and model.checkpoint in pipeline.yaml, then run --to freeze_graph",
            )
        return part

    def _tensor(self, name: str) -> tf.Tensor:
        operation = self._graph.get_operation_by_name(node_of(name))
        port = name.partition(":")[2] or "0"
        if not port.isdigit() or int(port) >= len(operation.outputs):
            raise UsageError(
                f"{node_of(name)} has no output {port}",
                expected=f"0 to {len(operation.outputs) - 1}" if operation.outputs else "a node with outputs",
                found=name,
                remedy="correct the number behind the colon",
            )
        return operation.outputs[int(port)]

    def _require_fed(self, part: GraphDef, fetches: Sequence[str], feeds: Sequence[str]) -> None:
        nodes = by_name(part)
        fed = {node_of(name) for name in feeds}
        # What lies behind a fed tensor is not computed.
        open_nodes = {n: nodes[n] for n in nodes}
        for name in fed:
            placeholder = type(nodes[name])()
            placeholder.CopyFrom(nodes[name])
            del placeholder.input[:]
            open_nodes[name] = placeholder
        needed = reachable(open_nodes, [node_of(name) for name in fetches])
        missing = [name for name in nodes if name in needed and nodes[name].op == "Placeholder" and name not in fed]
        if missing:
            shown = [f"{self._prefix}/{name}" if self._prefix else name for name in missing]
            raise UsageError(
                f"{', '.join(shown)} must be fed",
                expected="an array for each placeholder that the fetched tensors need",
                found=f"fed: {', '.join(feeds) or 'nothing'}",
                remedy=f"--feed {shown[0]}=FILE.npy",
            )

    def _fitting(self, name: str, value: np.ndarray) -> np.ndarray:
        tensor = self._tensors[name]
        dtype = tensor.dtype.base_dtype.as_numpy_dtype
        if not tensor.shape.is_compatible_with(value.shape) or not _can_be(value, np.dtype(dtype)):
            raise UsageError(
                f"the array for {name} does not fit",
                expected=f"{np.dtype(dtype).name} {tensor.shape}",
                found=f"{value.dtype.name} {value.shape}",
                remedy="convert the array, or feed another tensor",
            )
        return value.astype(dtype)

    def __enter__(self) -> Inference:
        self._runner.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.__exit__(None, None, None)


def read_array(path: Path) -> np.ndarray:
    """An .npy file, read without pickle: a stranger's file may hold no objects. Raises ModelFileError for any other."""
    try:
        value = np.load(path, allow_pickle=False)
    except NO_ARRAYS as error:
        raise ModelFileError(
            f"{path} is no array that can be fed",
            expected="an .npy file of numbers, as numpy.save writes it",
            found=first_line(error),
            remedy="save the array again: numpy.save('x.npy', x)",
        ) from error
    if not isinstance(value, np.ndarray):
        raise ModelFileError(f"{path} holds several arrays", expected="an .npy file", found="an .npz file")
    return value


def _can_be(value: np.ndarray, dtype: np.dtype) -> bool:
    """Whether the numbers may become `dtype`: floats other floats, whole numbers anything wide enough."""
    if value.dtype.kind in "iu" and dtype.kind in "iu" and value.size:
        limits = np.iinfo(dtype)
        return bool(limits.min <= value.min() and value.max() <= limits.max)
    return value.dtype == dtype or np.can_cast(value.dtype, dtype, "same_kind")
