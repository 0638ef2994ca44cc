"""Converts files of old models and runs them, for the tests of Theano's order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dnndk_prep.graph.freeze import freeze
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.keras_io.inference import build_inference
from dnndk_prep.keras_io.load import KerasSource
from dnndk_prep.keras_io.theano import converted


def read(path: Path, config: dict[str, Any] | None = None) -> KerasSource:
    """The converted model of a complete file, or of an architecture with a file of weights."""
    with h5py.File(path) as file:
        config = config or json.loads(file.attrs["model_config"])
        version = str(config.get("keras_version") or _text(file.attrs["keras_version"]))
        architecture = {key: config[key] for key in ("class_name", "config")}
        result = converted(architecture, file.get("model_weights", file), version, str(path))
    assert result is not None
    return KerasSource(str(path), result[0], "2", Path(result[1].name) / "model.h5", kept=result[1])


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def run(source: KerasSource, feeds: list[np.ndarray]) -> tuple[list[np.ndarray], set[str]]:
    """What the frozen graph of the model gives, and the ops it has; feeds in the order the file's writer took."""
    built = build_inference(source)
    names = [spec.name for spec in built.outputs]
    graph = freeze(built.graph_def, built.variables, names)
    given = {}
    for spec, value in zip(built.inputs, feeds, strict=True):
        assert len(spec.shape) == value.ndim
        is_turned = tuple(value.shape[1:]) != spec.shape[1:]
        given[spec.name] = (np.moveaxis(value, 1, -1) if is_turned else value).astype(spec.dtype)
        assert given[spec.name].shape[1:] == spec.shape[1:]
    with GraphRunner(graph, names) as runner:
        return runner.run(given), {node.op for node in graph.node}


def assert_close(got: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        b = b if a.shape == b.shape else np.moveaxis(b, 1, -1)
        assert a.shape == b.shape
        # A model that answers the same to everything would prove nothing.
        assert b.std() > 1e-3
        assert np.abs(a - b).max() <= 1e-5 * max(1, np.abs(b).max())
