"""Converts files of old models and runs them, for the tests of Theano's order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from conversion import OLDEST, frozen, optimized, outputs

from dnndk_prep.keras_io.load import KerasSource, read_architecture_weights, read_model


def read(path: Path, config: dict[str, Any] | None = None) -> KerasSource:
    """The converted model of a complete file, or of an architecture with a file of weights."""
    if config is None:
        return read_model(path)
    architecture = path.with_name(f"{path.name}.json")
    architecture.write_text(json.dumps(config))
    return read_architecture_weights(architecture, path)


def run(source: KerasSource, feeds: list[np.ndarray], reader: str = OLDEST) -> tuple[list[np.ndarray], set[str]]:
    """What the optimized graph for `reader` gives, and the ops of the frozen one; feeds as the writer took them."""
    artifact = frozen(source)
    given = []
    for spec, value in zip(artifact.inputs, feeds, strict=True):
        assert len(spec.shape) == value.ndim
        is_turned = tuple(value.shape[1:]) != spec.shape[1:]
        given.append((np.moveaxis(value, 1, -1) if is_turned else value).astype(spec.dtype))
        assert given[-1].shape[1:] == spec.shape[1:]
    final = optimized(artifact, given, reader)
    return outputs(final, given), {node.op for node in artifact.graph_def.node}


def assert_close(got: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        b = b if a.shape == b.shape else np.moveaxis(b, 1, -1)
        assert a.shape == b.shape
        # A model that answers the same to everything would prove nothing.
        assert b.std() > 1e-3
        assert np.abs(a - b).max() <= 1e-5 * max(1, np.abs(b).max())
