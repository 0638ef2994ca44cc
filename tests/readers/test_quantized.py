"""Quantized graphs of stock ops give in the old TensorFlows what the vendor's quantized graphs gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from measured import CASES, case, quantized
from packaging.version import Version

from dnndk_prep.quant.files import STOCK_MODEL, write_graphs


@pytest.mark.parametrize("name", [name for name in CASES if "same_float_pb_as" not in case(name).facts])
def test_outputs(reader, name: str, tmp_path: Path):
    artifact, warnings = write_graphs(tmp_path, quantized(name))
    assert (artifact.reader, warnings) == ("1.12", [])
    if Version(reader.version) < Version(artifact.reader):
        pytest.skip("written for TensorFlow 1.12")
    one = case(name)
    got = reader.ask({"graph": str(tmp_path / STOCK_MODEL)}, one.arrays("eval.npz", "x"), artifact.output_names)
    with np.load(one.folder / "eval.npz") as stored:
        wanted = [stored[key] for key in stored.files if key == "y_quant" or key.startswith("y_quant_out")]
    for left, right in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(left, right)
