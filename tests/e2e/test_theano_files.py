"""Files of Keras 1 and of Theano: written by those, with the outputs they predicted, and converted here."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

os.environ["KERAS_BACKEND"] = "tensorflow"

from formats import FIRST_WRITERS
from theano_models import assert_close, read, run

# Theano without the order that it is known for: what the three others tell holds for it, too.
RARE = ("keras-1.2", "theano", "tf")
CASES = [
    pytest.param(writer, name, id="-".join([*writer[:3], name]), marks=[pytest.mark.slow] if writer[:3] == RARE else [])
    for writer in FIRST_WRITERS
    for name in writer[3]
]
Writer = tuple[str, str, str, list[str]]


@pytest.fixture(scope="module")
def written(old_python: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[Writer], Path]:
    """The folder with what an old Keras wrote; one process writes all its models."""
    folders: dict[tuple[str, str, str], Path] = {}

    def folder_of(writer: Writer) -> Path:
        environment, backend, order, names = writer
        if writer[:3] not in folders:
            folder = tmp_path_factory.mktemp("-".join(writer[:3]))
            # Without a compiler: Theano needs minutes to compile what runs for milliseconds.
            flags = f"base_compiledir={folder}/theano,device=cpu,cxx=,optimizer=None"
            worker = Path(__file__).with_name("old_keras_worker.py")
            done = subprocess.run(
                [old_python(environment), "-W", "ignore", worker, folder, order, *names],
                env={**_foreign(), "HOME": str(folder), "KERAS_BACKEND": backend, "THEANO_FLAGS": flags},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr[-3000:]
            folders[writer[:3]] = folder
        return folders[writer[:3]]

    return folder_of


def _foreign() -> dict[str, str]:
    """The environment without what today's TensorFlow has put there (TF2_BEHAVIOR) and an older one would obey."""
    return {key: value for key, value in os.environ.items() if not key.startswith("TF")}


@pytest.mark.parametrize(("writer", "name"), CASES)
def test_numbers_are_those_of_the_keras_that_wrote_the_file(
    written: Callable[[Writer], Path], writer: Writer, name: str
) -> None:
    folder = written(writer)
    with np.load(folder / f"{name}.npz") as file:
        feeds = [file[key] for key in sorted(file) if key.startswith("x")]
        wanted = [file[key] for key in sorted(file) if key.startswith("y")]
    source = read(folder / f"{name}.h5")
    got, _ = run(source, feeds)
    assert_close(got, wanted)
    text = json.dumps(source.config)
    assert "channels_first" not in text
    architecture = json.loads((folder / f"{name}.json").read_text())
    again, _ = run(read(folder / f"{name}.weights.h5", architecture), feeds)
    for a, b in zip(again, got, strict=True):
        np.testing.assert_array_equal(a, b)
