"""What a .keras archive may hold, and what a file is by its content."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dnndk_prep.errors import ModelFileError, UnsafeFileError
from dnndk_prep.keras_io.scan import scan

DENSE = {"class_name": "Dense", "module": "keras.layers", "registered_name": None, "config": {"name": "d", "units": 2}}
MODEL = {"class_name": "Sequential", "config": {"name": "s", "layers": [DENSE]}}


def archive(path: Path, change: Callable[[zipfile.ZipFile], Any] | None = None, without: str = "") -> Path:
    stored = io.BytesIO()
    with h5py.File(stored, "w") as file:
        file["layers/dense/vars/0"] = np.ones((3, 2), np.float32)
        file["layers/dense/vars/1"] = np.ones(2, np.float32)
    parts = {
        "metadata.json": json.dumps({"keras_version": "3.15.1"}),
        "config.json": json.dumps(MODEL),
        "model.weights.h5": stored.getvalue(),
    }
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as made:
        warnings.simplefilter("ignore")
        for name, content in parts.items():
            if name != without:
                made.writestr(name, content)
        if change:
            change(made)
    return path


def link_member(made: zipfile.ZipFile) -> None:
    member = zipfile.ZipInfo("assets/vocabulary")
    member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    made.writestr(member, "/etc/passwd")


def bomb_beside_much(made: zipfile.ZipFile) -> None:
    """What is stored as it is does not pay for what is packed."""
    made.writestr("assets/x", os.urandom(2**22))
    made.writestr("assets/y", bytes(2**27), zipfile.ZIP_DEFLATED)


BAD_ARCHIVES: list[tuple[Callable[[zipfile.ZipFile], Any], str]] = [
    (lambda made: made.writestr("../x.py", ""), "'../x.py' is a path out of the archive"),
    (lambda made: made.writestr("assets/../../x.py", ""), "a path out of the archive"),
    (lambda made: made.writestr("/etc/x", ""), "a path out of the archive"),
    (lambda made: made.writestr("assets\\..\\x", ""), "a path out of the archive"),
    (lambda made: made.writestr("C:/x", ""), "a path out of the archive"),
    (link_member, "'assets/vocabulary' is a symbolic link"),
    (lambda made: made.writestr("setup.py", ""), "'setup.py' is no part of a .keras archive"),
    (lambda made: made.writestr("model.weights.npz", ""), "no part of a .keras archive"),
    (lambda made: made.writestr("config.json", "{}"), "'config.json' is there twice"),
    (lambda made: made.writestr("assets/x", bytes(2**27), zipfile.ZIP_DEFLATED), "unpacked into 134217728 bytes"),
    (bomb_beside_much, "unpacked into 134217728 bytes from 13"),
    (lambda made: made.writestr("assets/x", "x", zipfile.ZIP_BZIP2), "packed by method 12"),
    (lambda made: [made.writestr(f"assets/{n}", "") for n in range(1000)], "one of 1003 members"),
]


@pytest.mark.parametrize(("change", "what"), BAD_ARCHIVES, ids=[what for _, what in BAD_ARCHIVES])
def test_archives_that_are_refused(tmp_path: Path, change: Callable[[zipfile.ZipFile], Any], what: str) -> None:
    with pytest.raises(UnsafeFileError) as caught:
        scan(archive(tmp_path / "m.keras", change))
    assert what in str(caught.value)
    assert not (tmp_path.parent / "x.py").exists()


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.keras")
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UnsafeFileError, match=r"'model\.weights\.h5' is encrypted"):
        scan(path)


def test_a_whole_archive(tmp_path: Path) -> None:
    contents = scan(archive(tmp_path / "m.keras", lambda made: made.writestr("assets/d/vocabulary.txt", "a\nb")))
    assert (contents.kind, contents.keras_version, contents.layout) == ("archive", "3.15.1", "keras3")
    assert contents.numbers == 8
    assert contents.assets == ("assets/d/vocabulary.txt",)


@pytest.mark.parametrize("part", ["metadata.json", "config.json", "model.weights.h5"])
def test_an_archive_that_lacks_a_part(tmp_path: Path, part: str) -> None:
    with pytest.raises(ModelFileError, match=f"not a whole .keras archive(?s:.*){part}"):
        scan(archive(tmp_path / "m.keras", without=part))


def test_hdf5_in_an_archive_is_looked_at(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/hostname", "/")
    path = archive(
        tmp_path / "m.keras", lambda made: made.write(tmp_path / "w.h5", "model.weights.h5"), without="model.weights.h5"
    )
    with pytest.raises(UnsafeFileError, match=r"m\.keras: model\.weights\.h5 is refused: /layers is a link"):
        scan(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe and a folder are no files, however they are called."""
    os.mkfifo(tmp_path / "m.h5")
    for path in (tmp_path / "m.h5", tmp_path):
        with pytest.raises(ModelFileError, match=r"is not a file|is a folder"):
            scan(path)


def test_the_scan_imports_no_tensorflow(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.keras")
    text = (
        "import sys; from pathlib import Path; from dnndk_prep.keras_io.scan import scan; scan(Path(sys.argv[1])); "
        "print([name for name in sys.modules if name in ('tensorflow', 'keras', 'tf_keras')])"
    )
    done = subprocess.run([sys.executable, "-c", text, path], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_very_many_members(tmp_path: Path) -> None:
    def change(made: zipfile.ZipFile) -> None:
        for number in (*range(60_000), 59_999):
            made.writestr(zipfile.ZipInfo(f"assets/{number}"), b"")

    path = archive(tmp_path / "m.keras", change)
    start = time.process_time()
    with pytest.raises(UnsafeFileError, match="its list of members is 3469126 bytes long"):
        scan(path)
    assert time.process_time() - start < 0.5
