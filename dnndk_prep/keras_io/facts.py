"""What a model file holds, told without Keras and without running anything of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.architecture import MODELS, expect_complete, is_operation, is_tensor
from dnndk_prep.keras_io.scan import Contents, scan, shown

KINDS = {
    "hdf5": "complete model (HDF5)",
    "archive": "complete model (.keras archive)",
    "json": "architecture (JSON)",
    "weights": "weights (HDF5)",
}
Shape = list[Any] | None
MAX_CELL, MAX_LINE, MAX_AXES = 60, 5000, 30
Config = dict[str, Any]


@dataclass(frozen=True)
class LayerFacts:
    """One layer; depth is how many models it is nested in. What the file does not tell is None."""

    name: str
    kind: str
    depth: int
    output_shape: Shape
    parameters: int | None


@dataclass(frozen=True)
class TensorFacts:
    """An input or output of the model, by its layer."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class ModelFacts:
    """What `inspect` shows; parameters are those of the layers, without the optimizer's."""

    file: str
    kind: str
    keras_version: str
    backend: str
    parameters: int | None
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    layers: tuple[LayerFacts, ...]

    def as_dict(self) -> dict[str, Any]:
        """The facts as plain values, for JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """The facts as lines for people."""
        lines = [
            f"file:        {self.file}",
            f"kind:        {self.kind}",
            f"Keras:       {self.keras_version or 'not told'}, backend {self.backend or 'not told'}",
            f"parameters:  {_number(self.parameters)}",
            *(f"input:       {_cell(one.name)} {_shape(one.shape)}" for one in self.inputs),
            *(f"output:      {_cell(one.name)} {_shape(one.shape)}" for one in self.outputs),
        ]
        rows = [("layer", "class", "output shape", "parameters")]
        rows += [
            (
                "  " * one.depth + _cell(one.name),
                _cell(one.kind),
                _shape(one.output_shape),
                _number(one.parameters),
            )
            for one in self.layers
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        table = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>10}".rstrip() for a, b, c, d in rows]
        return "\n".join(shown(line, MAX_LINE) for line in [*lines, "", *table])


def inspect_model(path: Path) -> ModelFacts:
    """The facts of an HDF5 file, a .keras archive, a JSON architecture or a weights file, whatever its name ends in.

    Raises UnsafeFileError and ModelFileError as `scan` does.
    """
    contents = scan(path)
    with expect_complete(str(path)):
        return facts_of(path, contents)


def facts_of(path: Path, contents: Contents) -> ModelFacts:
    """The facts of `contents`, which `scan` found at `path`. Raises ModelFileError as inspect_model does."""
    config = contents.architecture
    kind = KINDS[contents.kind if config is not None else "weights"]
    stored = _stored(contents)
    total = sum(stored.values()) if contents.weights is not None else None
    if config is None:
        if contents.layout == "none":
            raise ModelFileError(
                f"{path} holds no Keras model",
                expected="a file that Keras wrote",
                found="an HDF5 file without layers",
                remedy="give the model file",
            )
        layers = tuple(LayerFacts(name, "not told", 0, None, count) for name, count in stored.items())
        return ModelFacts(str(path), kind, contents.keras_version, contents.backend, total, (), (), layers)
    return ModelFacts(
        file=str(path),
        kind=kind,
        keras_version=contents.keras_version,
        backend=contents.backend,
        parameters=total,
        inputs=tuple(_ends(config, "input_layers")),
        outputs=tuple(_ends(config, "output_layers")),
        layers=tuple(_layers(config, 0, _counts(config, stored, contents) if total is not None else {})),
    )


def _layers(model: Config, depth: int, counts: Mapping[str, int]) -> Iterator[LayerFacts]:
    shapes = _shapes(model)
    for layer in _members(model):
        name, kind = _name(layer), str(layer.get("class_name"))
        text = f"{kind} (operation)" if is_operation(layer) else kind
        parameters = counts.get(name, 0) if counts or depth else None
        yield LayerFacts(name, text, depth, shapes.get(name), parameters if depth == 0 else None)
        if kind in MODELS:
            yield from _layers(layer, depth + 1, counts)


def _members(model: Config) -> list[Config]:
    config = model.get("config")
    layers = config if isinstance(config, list) else config.get("layers") if isinstance(config, dict) else None
    return [layer for layer in layers or [] if isinstance(layer, dict)]


def _settings(layer: Config) -> Config:
    config = layer.get("config")
    return config if isinstance(config, dict) else {}


def _name(layer: Config) -> str:
    return str(layer.get("name") or _settings(layer).get("name") or layer.get("class_name"))


def _shapes(model: Config) -> dict[str, Shape]:
    """The output shapes that the file tells: of inputs, and of what others read; by the layer."""
    members = _members(model)
    found: dict[str, Shape] = {}
    for layer in members:
        own = _input_shape(layer)
        if layer.get("class_name") == "InputLayer" and own is not None:
            found[_name(layer)] = own
        for tensor in _tensors(layer.get("inbound_nodes")):
            shape = tensor.get("shape")
            found.setdefault(tensor["keras_history"][0], shape if isinstance(shape, list) else None)
    if model.get("class_name") == "Sequential":
        # What goes into a layer came out of the one before.
        for layer, after in pairwise(members):
            built = after.get("build_config")
            if isinstance(built, dict) and isinstance(built.get("input_shape"), list):
                found.setdefault(_name(layer), built["input_shape"])
    return found


def _tensors(value: Any) -> Iterator[Config]:
    if is_tensor(value):
        config = value["config"]
        if isinstance(config.get("keras_history"), list) and config["keras_history"][2:] == [0]:
            yield config
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _input_shape(layer: Config) -> Shape:
    settings = _settings(layer)
    for key in ("batch_shape", "batch_input_shape"):
        if isinstance(settings.get(key), list):
            return settings[key]
    return None


def _ends(model: Config, key: str) -> Iterator[TensorFacts]:
    """The model's inputs or outputs: what it says itself, or of a Sequential its first or last layer."""
    settings, shapes = _settings(model), _shapes(model)
    if key in settings:
        for name in _first_names(settings[key]):
            yield TensorFacts(name, shapes.get(name))
        return
    members = _members(model)
    if not members:
        return
    if key == "output_layers":
        yield TensorFacts(_name(members[-1]), shapes.get(_name(members[-1])))
    else:
        built = settings.get("build_input_shape")
        shape = _input_shape(members[0]) or (built if isinstance(built, list) else None)
        yield TensorFacts(_name(members[0]), shape)


def _first_names(ends: Any) -> Iterator[str]:
    """The layers in [layer, call, tensor], or in a list or dict of such."""
    if isinstance(ends, dict):
        ends = list(ends.values())
    if isinstance(ends, list) and len(ends) == 3 and isinstance(ends[0], str):
        yield ends[0]
    elif isinstance(ends, list):
        for end in ends:
            yield from _first_names(end)


def _stored(contents: Contents) -> dict[str, int]:
    """How many numbers each group of the weights file holds, by its name; without the optimizer's and random states."""
    counts: dict[str, int] = {}
    for path, (shape, _) in contents.datasets.items():
        parts = path.strip("/").split("/")
        if parts[0] in ("optimizer", "optimizer_weights") or "seed_generator" in path:
            continue
        if parts[0] in ("model_weights", "layers", "_layer_checkpoint_dependencies") and len(parts) > 1:
            parts = parts[1:]
        group = parts[0]
        counts[group] = counts.get(group, 0) + prod(shape)
    return counts


def _counts(model: Config, stored: Mapping[str, int], contents: Contents) -> dict[str, int]:
    """The parameters of each of the model's own layers."""
    members = _members(model)
    if contents.layout == "classic":
        return _by_longest_name([_name(layer) for layer in members], contents)
    counts: dict[str, int] = {}
    used: dict[str, int] = {}
    for layer in members:
        name = _name(layer)
        # Keras 3 counts the layers of a class instead of using their names: conv2d, conv2d_1.
        snake = _snake_case(str(layer.get("class_name")))
        number = used[snake] = used.get(snake, -1) + 1
        counts[name] = stored.get(f"{snake}_{number}" if number else snake, 0)
    return counts


def _by_longest_name(names: list[str], contents: Contents) -> dict[str, int]:
    """A layer of Keras 2 may have / in its name, so that one name may begin like another."""
    counts = dict.fromkeys(names, 0)
    for path, (shape, _) in contents.datasets.items():
        place = path.strip("/").removeprefix("model_weights/")
        if place.startswith("optimizer_weights/"):
            continue
        name = place.rpartition("/")[0]
        while name and name not in counts:
            name = name.rpartition("/")[0]
        if name:
            counts[name] += prod(shape)
    return counts


def _snake_case(name: str) -> str:
    """As Keras names variables: Conv2D -> conv2d, BatchNormalization -> batch_normalization."""
    text = re.sub(r"\W+", "", name)
    text = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", text)
    return re.sub("([a-z])([A-Z])", r"\1_\2", text).lower()


def _cell(text: str) -> str:
    """`text` in a table: every row is as wide as the longest, and a stranger's name may be a million signs long."""
    return shown(text, MAX_CELL)


def _shape(shape: Shape) -> str:
    # A file may say anything in the place of a size.
    sizes = ", ".join("?" if size is None else _cell(str(size)) for size in (shape or [])[:MAX_AXES])
    return "" if shape is None else _cell(f"({sizes})")


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
