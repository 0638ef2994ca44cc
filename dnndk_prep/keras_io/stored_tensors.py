"""The weights that TensorFlow 1 stored: tensors of a checkpoint, or constants of a frozen graph."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.checkpoint import read_graph
from dnndk_prep.keras_io.checkpoint_reader import CheckpointReader
from dnndk_prep.keras_io.match_weights import Shape, Tensor
from dnndk_prep.keras_io.object_graph import OBJECT_GRAPH, StoredObject, stored_objects

SUFFIX = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
# Names of tensors that only training needs, and what they are; the first that fits counts.
_SLOTS = "Adam|AdamW|Adamax|Nadam|Momentum|RMSProp|Adagrad|AdagradDA|Adadelta|Ftrl|Ftrl-linear|LAMB|Lars"
LEFT_OUT: Mapping[str, re.Pattern[str]] = {
    "moving averages of weights": re.compile(r"(/|^)ExponentialMovingAverage(_\d+)?$|/(biased|local_step)$"),
    "optimizer slots": re.compile(
        rf"/({_SLOTS})(_\d+)?$|(^|/)(training|optimizer|optimizer_weights)/|^({_SLOTS}|SGD|adam|sgd|rmsprop)/"
    ),
    "counters": re.compile(
        r"(^|/)(global_step|beta[12]_power|iterations?|iter|num_updates|save_counter|learning_rate|decay|loss_scale|"
        r"seed_generator_state)(_\d+)?$"
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
    reader = CheckpointReader(_prefix(path))
    objects = _objects(reader)
    tensors = {
        one.name: Tensor(one.name, reader.shapes[one.key], reader.dtypes[one.key].name)
        for one in objects
        if reader.dtypes[one.key] != tf.string
    }
    keys = {one.name: one.key for one in objects}

    def read(name: str) -> np.ndarray:
        return reader.tensor(keys[name])

    slots = [one.name for one in objects if one.is_training and one.name in tensors]
    return StoredTensors(str(path), tensors, _left_out(tensors, slots), read)


def _objects(reader: CheckpointReader) -> list[StoredObject]:
    """The tensors with their names: the keys in a checkpoint of TensorFlow 1, in one of TensorFlow 2 the variables'."""
    if OBJECT_GRAPH not in reader.dtypes:
        return [StoredObject(key, key) for key in sorted(reader.dtypes)]
    with reader.told():
        return stored_objects(reader.tensor(OBJECT_GRAPH), set(reader.dtypes) - {OBJECT_GRAPH}, reader.tensor)


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


def _left_out(names: Mapping[str, Tensor], slots: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    """What training alone needs, by its name, or (`slots`) by what the file says of it."""
    result: dict[str, list[str]] = {}
    told = frozenset(slots)
    for name in names:
        what = next((what for what, pattern in LEFT_OUT.items() if pattern.search(name)), None)
        what = what or ("optimizer slots" if name in told else None)
        if what is not None:
            result.setdefault(what, []).append(name)
    return {what: tuple(found) for what, found in result.items()}
