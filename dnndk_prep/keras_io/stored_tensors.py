"""The weights that TensorFlow 1 stored: tensors of a checkpoint, or constants of a frozen graph."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.checkpoint import read_graph
from dnndk_prep.keras_io.match_weights import Shape, Tensor

SUFFIX = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
# What TensorFlow's reader raises, which translates its own errors by their texts (py_checkpoint_reader.py).
UNREADABLE = (ValueError, RuntimeError, IndexError, TypeError, MemoryError, tf.errors.OpError)
# Names of tensors that only training needs, and what they are; the first that fits counts.
_SLOTS = "Adam|AdamW|Adamax|Nadam|Momentum|RMSProp|Adagrad|AdagradDA|Adadelta|Ftrl|Ftrl-linear|LAMB|Lars"
LEFT_OUT: Mapping[str, re.Pattern[str]] = {
    "moving averages of weights": re.compile(r"(/|^)ExponentialMovingAverage(_\d+)?$|/(biased|local_step)$"),
    "optimizer slots": re.compile(
        rf"/({_SLOTS})(_\d+)?$|(^|/)(training|optimizer|optimizer_weights)/|^({_SLOTS}|SGD|adam|sgd|rmsprop)/"
    ),
    "counters": re.compile(
        r"(^|/)(global_step|beta[12]_power|iterations|iter|num_updates|save_counter|learning_rate|decay|loss_scale)(_\d+)?$"
    ),
}


@dataclass(frozen=True)
class StoredTensors:
    """Tensors by name, without their values; `read` gives one. left_out: those of training, by what they are."""

    file: str
    tensors: Mapping[str, Tensor]
    left_out: Mapping[str, tuple[str, ...]]
    read: Callable[[str], np.ndarray]

    @property
    def candidates(self) -> list[Tensor]:
        """The tensors that can be weights."""
        training = {name for names in self.left_out.values() for name in names}
        return [tensor for name, tensor in self.tensors.items() if name not in training]

    @property
    def numbers(self) -> int:
        return sum(int(np.prod(tensor.shape)) for tensor in self.candidates)


def open_tensors(path: Path) -> StoredTensors:
    """The tensors at `path`: a checkpoint (prefix, one of its files, or folder), a SavedModel, or a frozen graph.

    Raises ModelFileError where there is none that can be read.
    """
    if path.suffix in (".pb", ".pbtxt") and path.is_file():
        return _of_graph(path)
    prefix = _prefix(path)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    except UNREADABLE as error:
        raise _unreadable(prefix, error) from error
    tensors = {
        name: Tensor(name, tuple(shapes[name]), dtypes[name].name)
        for name in sorted(shapes)
        if dtypes[name] != tf.string
    }

    def read(name: str) -> np.ndarray:
        try:
            return reader.get_tensor(name)
        except UNREADABLE as error:
            raise _unreadable(prefix, error) from error

    return StoredTensors(str(path), tensors, _left_out(tensors), read)


def _prefix(path: Path) -> Path:
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return path / "variables" / "variables"
        if latest := tf.train.latest_checkpoint(str(path)):
            return Path(latest)
    return path.with_name(SUFFIX.sub("", path.name))


def _of_graph(path: Path) -> StoredTensors:
    graph_def = read_graph(path, is_binary=path.suffix == ".pb")
    values = {
        node.name: node.attr["value"].tensor
        for node in graph_def.node
        if node.op == "Const" and tf.as_dtype(node.attr["dtype"].type).is_floating
    }
    tensors = {}
    for name, value in values.items():
        shape: Shape = tuple(int(size.size) for size in value.tensor_shape.dim)
        # Scalars are settings of ops: epsilon, slope, rate.
        if shape:
            tensors[name] = Tensor(name, shape, tf.as_dtype(value.dtype).name)
    if not tensors:
        raise ModelFileError(
            f"{path} holds no weights",
            expected="a frozen graph, whose weights are constants",
            found=f"{len(graph_def.node)} nodes, no constant of floats among them",
            remedy="give the checkpoint instead, or freeze the graph first",
        )
    return StoredTensors(str(path), tensors, _left_out(tensors), lambda name: tf.make_ndarray(values[name]))


def _left_out(names: Mapping[str, Tensor]) -> dict[str, tuple[str, ...]]:
    result: dict[str, list[str]] = {}
    for name in names:
        what = next((what for what, pattern in LEFT_OUT.items() if pattern.search(name)), None)
        if what is not None:
            result.setdefault(what, []).append(name)
    return {what: tuple(found) for what, found in result.items()}


def _unreadable(prefix: Path, error: Exception) -> ModelFileError:
    near = sorted(path.name for path in prefix.parent.glob("*.index")) if prefix.parent.is_dir() else []
    return ModelFileError(
        f"{prefix} is not a checkpoint that can be read",
        expected="the common beginning of .index and .data-00000-of-00001 (./tf_chkpt.ckpt), or a frozen graph (.pb)",
        found=f"{(str(error).splitlines() or [''])[0]}; in the folder: {', '.join(near) or 'no .index'}",
        remedy="correct the path, or copy the checkpoint again with all its files",
    )
