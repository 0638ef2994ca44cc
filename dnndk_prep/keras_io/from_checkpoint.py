"""TensorFlow 1 weights back into a Keras model: a copy of the model's file with the values of a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dnndk_prep.errors import ModelFileError, UsageError, nearest
from dnndk_prep.hdf5_file import copy_into, written
from dnndk_prep.keras_io.load import read_model
from dnndk_prep.keras_io.match_weights import Match, Tensor, Weight, fits, match_weights, role, scope
from dnndk_prep.keras_io.scan import scan, scan_architecture
from dnndk_prep.keras_io.stored_tensors import StoredTensors, open_tensors
from dnndk_prep.keras_io.stored_weights import fill_complete, stored_groups
from dnndk_prep.keras_io.through_keras import untrained_hdf5
from dnndk_prep.yaml_marks import load_marked

MAP_KEYS = ("tensor", "reshape", "transpose")
SHOWN = 40


@dataclass(frozen=True)
class Report:
    """What became of every weight and every tensor."""

    matches: tuple[Match, ...]
    # Weights that keep the value of the model's file, since the map says so.
    kept: tuple[Weight, ...]
    unmatched: tuple[Weight, ...]
    unused: tuple[Tensor, ...]
    left_out: Mapping[str, tuple[str, ...]]

    def as_text(self) -> str:
        """One line for each weight, then what stayed over on both sides with the nearest names."""
        lines = [_line(match) for match in self.matches]
        lines += [f"{weight.name}  keeps what the model's file holds" for weight in self.kept]
        lines.append(f"{len(self.matches)} of {self._count} weights have their tensor")
        lines += [f"left out: {len(names)} {what}, such as {names[0]}" for what, names in self.left_out.items()]
        lines += _over("weights without a tensor", self.unmatched, self.unused)
        lines += _over("tensors that no weight took", self.unused, self.unmatched)
        return "\n".join(lines)

    @property
    def _count(self) -> int:
        return len(self.matches) + len(self.kept) + len(self.unmatched)


def convert(checkpoint: Path, model: Path, out: Path, mapping: Path | None, say: Callable[[str], None]) -> Report:
    """Write the Keras model at `model` to `out` (.h5) with the weights of `checkpoint`, and say the report.

    model: .h5 or .keras, whose own weights count for their names and shapes alone, or the architecture as JSON. The
    values are those of the checkpoint bit for bit. Raises ModelFileError, after the report, where a weight has no
    tensor: nothing is written then; UsageError for a map that names what is not there.
    """
    _check_out(out, model)
    stored = open_tensors(checkpoint)
    made = _Model(model, stored)
    given, kept = _given(mapping, made.weights, stored, made.is_untrained) if mapping else ([], [])
    wanted = [weight for weight in made.weights if weight not in kept]
    taken = {match.tensor for match in given}
    tensors = [tensor for tensor in stored.candidates if tensor not in taken]
    matches = match_weights(wanted, tensors, given)
    report = _report(made.weights, matches, kept, stored)
    say(report.as_text())
    if report.unmatched:
        names = [weight.name for weight in report.unmatched]
        raise ModelFileError(
            f"{len(names)} of {len(made.weights)} weights of {model.name} have no tensor in {stored.file}",
            expected="one tensor for each weight, told apart by its name or its shape",
            found=f"none for {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}",
            remedy="say which in a map: --map map.yaml, with lines such as "
            f"{names[0]}: {report.unused[0].name if report.unused else 'scope/weights'}",
            code="K2D-0024",
        )
    made.write(out, matches, stored)
    return report


def value_of(match: Match, stored: StoredTensors) -> np.ndarray:
    """The tensor's numbers as the weight: axes turned where the map says so, then in the weight's shape."""
    value = stored.read(match.tensor.name)
    if match.transpose is not None:
        value = value.transpose(match.transpose)
    return np.ascontiguousarray(value.reshape(match.weight.shape), dtype=match.weight.dtype)


class _Model:
    """The Keras model as a complete HDF5 file, and its weights."""

    def __init__(self, path: Path, stored: StoredTensors) -> None:
        contents = scan(path)
        self.is_untrained = contents.kind == "json"
        if contents.kind == "json":
            config = scan_architecture(path).architecture
            assert config is not None
            version = contents.keras_version or ("3" if "module" in config else "2")
            self._kept = untrained_hdf5(config, str(path), version, stored.numbers)
            source = read_model(Path(self._kept.name) / "model.h5")
        else:
            source = read_model(path)
        self._source = source
        with h5py.File(source.weights, "r") as file:
            groups = stored_groups(file.get("model_weights", file))
        self.weights = [
            Weight(layer, name, value.shape, value.dtype.name)
            for layer, (names, values) in groups.items()
            for name, value in zip(names, values, strict=True)
        ]
        if not self.weights:
            raise ModelFileError(f"{path} has no weights to fill", expected="a model of layers with weights")

    def write(self, out: Path, matches: Sequence[Match], stored: StoredTensors) -> None:
        """The model's file with the tensors' values, under its own name only when it is whole."""
        source, unfinished = self._source, out.with_name(f".{out.name}.new")
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            with h5py.File(source.weights, "r") as file, written(unfinished) as target:
                if "model_config" in file.attrs:
                    copy_into(file, target)
                else:
                    fill_complete(source.config, source.keras_version, file, target)
                group = target.get("model_weights", target)
                for match in matches:
                    group[match.weight.layer][match.weight.path][...] = value_of(match, stored)
                # The slots of the optimizer belong to the weights that were there.
                target.pop("optimizer_weights", None)
            unfinished.replace(out)
        finally:
            unfinished.unlink(missing_ok=True)


def _check_out(out: Path, model: Path) -> None:
    if out.suffix not in (".h5", ".hdf5") or (out.exists() and out.samefile(model)):
        raise UsageError(
            f"{out} cannot be written",
            expected="another file than the model's, ending in .h5",
            found=str(out),
            remedy="--out my_model.h5",
        )


def _report(
    weights: Sequence[Weight], matches: Sequence[Match], kept: Sequence[Weight], stored: StoredTensors
) -> Report:
    done = {match.weight for match in matches} | set(kept)
    used = {match.tensor for match in matches}
    return Report(
        tuple(matches),
        tuple(kept),
        tuple(weight for weight in weights if weight not in done),
        tuple(tensor for tensor in stored.candidates if tensor not in used),
        stored.left_out,
    )


def _given(
    path: Path, weights: Sequence[Weight], stored: StoredTensors, is_untrained: bool
) -> tuple[list[Match], list[Weight]]:
    """The matches that the map at `path` gives, and the weights that it says to keep."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read", expected="a map in YAML", found=str(error)) from error
    data, marks, problems = load_marked(text, str(path))
    if problems or not isinstance(data, dict):
        raise UsageError(
            f"{path} is no map",
            expected="lines such as fc1/kernel: vgg_16/fc6/weights",
            found="; ".join(map(str, problems)) or type(data).__name__,
        )
    matches: list[Match] = []
    kept: list[Weight] = []
    for key, entry in data.items():
        place = str(marks[(key,)])
        chosen = _weights_named(key, weights, place)
        if entry is None:
            if is_untrained:
                raise UsageError(
                    f"{place}: {key} has no value to keep", expected="a tensor: the model is an architecture"
                )
            kept += chosen
        else:
            matches += _entry(key, entry, chosen, stored, place)
    _check_once([*(match.weight for match in matches), *kept], path)
    return matches, kept


def _weights_named(key: str, weights: Sequence[Weight], place: str) -> list[Weight]:
    """The weight of that name, or all weights of that layer."""
    chosen = [weight for weight in weights if weight.name == key]
    chosen = chosen or [weight for weight in weights if key in (weight.layer, scope(weight.name))]
    if not chosen:
        known = {name for weight in weights for name in (weight.name, weight.layer)}
        raise UsageError(
            f"{place}: the model has no weight and no layer {key!r}",
            expected="a weight (fc1/kernel) or a layer (fc1) of the model",
            found=key,
            remedy=f"nearest: {', '.join(nearest(key, known)) or 'none alike'}",
        )
    return chosen


def _entry(key: str, entry: Any, chosen: Sequence[Weight], stored: StoredTensors, place: str) -> list[Match]:
    settings = {"tensor": entry} if isinstance(entry, str) else entry
    if not isinstance(settings, dict) or not isinstance(settings.get("tensor"), str) or set(settings) - set(MAP_KEYS):
        raise UsageError(
            f"{place}: {key} says no tensor",
            expected="a name, or {tensor: name, reshape: [sizes], transpose: [axes]}",
            found=str(entry)[:200],
        )
    name = settings["tensor"].removesuffix(":0")
    if name in stored.tensors and len(chosen) == 1:
        return [_mapped(chosen[0], stored.tensors[name], settings, place)]
    inside = {role(other): tensor for other, tensor in stored.tensors.items() if scope(other) == name}
    missing = [weight.name for weight in chosen if role(weight.name) not in inside]
    if missing or len({role(weight.name) for weight in chosen}) != len(chosen):
        near = nearest(name, {*stored.tensors, *map(scope, stored.tensors)})
        raise UsageError(
            f"{place}: {name!r} does not tell which tensor {(missing or [key])[0]} is",
            expected="a tensor for a weight, or for a layer the scope that holds all its weights",
            found=", ".join(sorted(inside)) or "no tensor and no scope of that name",
            remedy=f"nearest: {', '.join(near) or 'none alike'}",
        )
    return [_mapped(weight, inside[role(weight.name)], settings, place) for weight in chosen]


def _mapped(weight: Weight, tensor: Tensor, settings: Mapping[str, Any], place: str) -> Match:
    reshape, axes = settings.get("reshape"), settings.get("transpose")
    shape = tensor.shape
    if axes is not None:
        if not isinstance(axes, list) or sorted(map(str, axes)) != sorted(map(str, range(len(shape)))):
            raise UsageError(f"{place}: transpose must name each of the {len(shape)} axes once", found=str(axes))
        shape = tuple(shape[axis] for axis in axes)
    is_told = reshape is not None and tuple(reshape if isinstance(reshape, list) else ()) == weight.shape
    turned = Tensor(tensor.name, shape, tensor.dtype)
    ok = math.prod(shape) == math.prod(weight.shape) if is_told else reshape is None and fits(weight, turned)
    if not ok:
        raise UsageError(
            f"{place}: {tensor.name} cannot be {weight.name}",
            expected=f"{weight.dtype} {list(weight.shape)}",
            found=f"{tensor.dtype} {list(shape)}" + (f", reshape: {reshape}" if reshape is not None else ""),
            remedy=f"{{tensor: {tensor.name}, reshape: {list(weight.shape)}}}, if the numbers stand in that order",
        )
    return Match(weight, tensor, "the map", tuple(axes) if axes is not None else None)


def _check_once(weights: Sequence[Weight], path: Path) -> None:
    twice = [weight.name for i, weight in enumerate(weights) if weight in weights[:i]]
    if twice:
        raise UsageError(f"{path} says two things of {twice[0]}", expected="one entry for each weight")


def _line(match: Match) -> str:
    weight, tensor = match.weight, match.tensor
    notes = [match.how]
    if match.transpose is not None:
        notes.append(f"axes {list(match.transpose)}")
    if tensor.shape != weight.shape:
        notes.append(f"{list(tensor.shape)} as {list(weight.shape)}")
    if tensor.dtype != weight.dtype:
        notes.append(f"{tensor.dtype} as {weight.dtype}")
    return f"{weight.name}  <-  {tensor.name}  ({'; '.join(notes)})"


def _over(
    title: str, items: Sequence[Weight] | Sequence[Tensor], others: Sequence[Weight] | Sequence[Tensor]
) -> list[str]:
    if not items:
        return []
    lines = [f"{title}: {len(items)}"]
    for item in items[:SHOWN]:
        same = [other.name for other in others if math.prod(other.shape) == math.prod(item.shape)]
        near = nearest(item.name, same) or same[:3] or nearest(item.name, [other.name for other in others])
        lines.append(f"  {item.name} {list(item.shape)}; nearest: {', '.join(near) or 'none'}")
    return [*lines, f"  ... and {len(items) - SHOWN} more"] if len(items) > SHOWN else lines
