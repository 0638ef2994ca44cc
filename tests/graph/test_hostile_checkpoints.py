"""Checkpoints that were cut short or garbled: the values as they were written, or one clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.checkpoint import read_checkpoint

RANDOM = np.random.default_rng(11)
VALUES = {f"layer_{i}/kernel": RANDOM.random((3, 3, 2, i + 1), np.float32) for i in range(4)}
TRIES = 200


def damaged(blob: bytes, number: int) -> bytes:
    """Cut at any place, or with up to three bytes changed."""
    if number % 2:
        return blob[: RANDOM.integers(len(blob))]
    changed = bytearray(blob)
    for _ in range(RANDOM.integers(1, 4)):
        changed[RANDOM.integers(len(blob))] ^= RANDOM.integers(1, 256)
    return bytes(changed)


def test_a_damaged_checkpoint_is_one_clear_error(tmp_path: Path):
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "x.ckpt"),
        tensor_names=list(VALUES),
        shape_and_slices=[""] * len(VALUES),
        tensors=[tf.constant(value) for value in VALUES.values()],
    )
    files = {file: file.read_bytes() for file in sorted(tmp_path.iterdir())}
    assert len(files) == 2
    refused = 0
    for number in range(TRIES):
        for file, blob in files.items():
            file.write_bytes(blob)
        file = list(files)[number // 2 % 2]
        file.write_bytes(damaged(files[file], number))
        try:
            got = read_checkpoint(tmp_path / "x.ckpt")
        except ModelFileError:
            refused += 1
        else:
            assert got.keys() == VALUES.keys()
            assert all(np.array_equal(got[name], value) for name, value in VALUES.items())
    # Some bytes of the index count for nothing.
    assert refused > 0.9 * TRIES
