"""Which of a user's files a result depends on, and by what they are known."""

import os
from pathlib import Path

import pytest

from dnndk_prep import file_hashes
from dnndk_prep.errors import ModelFileError
from dnndk_prep.graph.kinds import checkpoint_files
from dnndk_prep.keras_io.custom import module_files


def test_a_workspace_beside_the_data_is_no_part_of_them(tmp_path: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"a")
    workspace = tmp_path / "workspace"
    told = [file_hashes.sha256_outside(tmp_path, "dataset.path", workspace)]
    (workspace / "first").mkdir(parents=True)
    (workspace / "first" / "artifact").write_text("x")
    told.append(file_hashes.sha256_outside(tmp_path, "dataset.path", workspace))
    (tmp_path / "images" / "b.png").write_bytes(b"b")
    told.append(file_hashes.sha256_outside(tmp_path, "dataset.path", workspace))
    assert told[0] == told[1] != told[2]


def test_a_pipe_is_no_input(tmp_path: Path):
    """Reading it would wait for ever."""
    os.mkfifo(tmp_path / "a.h5")
    with pytest.raises(ModelFileError, match="a pipe or a device"):
        file_hashes.sha256_outside(tmp_path / "a.h5", "model.path", tmp_path / "workspace")


def test_helpers_of_custom_code_count(tmp_path: Path):
    """What a module imports from beside it, a package's files included; not what is installed, which has a version."""
    (tmp_path / "mine.py").write_text("import numpy\nfrom helper import FACTOR\n")
    (tmp_path / "helper.py").write_text("import deeper.one\nimport mine\n")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "one.py").write_text("from unused_elsewhere import x\n")
    (tmp_path / "not_imported.py").write_text("")
    assert set(module_files("mine:Scale", tmp_path)) == {"mine", "helper", "deeper"}
    assert list(module_files("numpy:array", tmp_path)) == ["numpy"]
    assert module_files("no_such_module_here:A", tmp_path) == {}


def test_data_of_a_checkpoint_count_whatever_its_name(tmp_path: Path):
    """Brackets in it are no pattern."""
    for name in ("net[1].index", "net[1].data-00000-of-00001", "net1.data-00000-of-00001"):
        (tmp_path / name).write_bytes(b"")
    names = [path.name for path in checkpoint_files(tmp_path / "net[1]")]
    assert names == ["net[1].index", "net[1].data-00000-of-00001"]
