"""Files that people give in place of a Keras model: each is named, and the error says what to give."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from dnndk_prep import cli
from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.load import open_hdf5, read_model
from dnndk_prep.keras_io.scan import scan

UNPACK = "unpack it first"
TORCH_NUMBER = 0x1950A86A20F9469CFC6C


def hdf5() -> bytes:
    stored = io.BytesIO()
    with h5py.File(stored, "w") as file:
        file.create_group("model_weights")
    return stored.getvalue()


def tar(mode: str) -> bytes:
    stored, content = io.BytesIO(), hdf5()
    with tarfile.open(fileobj=stored, mode=mode) as made:  # type: ignore[call-overload]
        member = tarfile.TarInfo("model.h5")
        member.size = len(content)
        made.addfile(member, io.BytesIO(content))
    return stored.getvalue()


def zipped(*names: str) -> bytes:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as made:
        for name in names:
            made.writestr(name, "x")
    return stored.getvalue()


def npz() -> bytes:
    stored = io.BytesIO()
    np.savez(stored, a=np.ones(3))
    return stored.getvalue()


# The name of the file, its bytes, what the error calls it, and what it says to do.
FILES: list[tuple[str, Callable[[], bytes], str, str]] = [
    ("m.h5", lambda: gzip.compress(hdf5()), "a model file, packed by gzip", UNPACK),
    ("m.h5.bz2", lambda: bz2.compress(hdf5()), "a model file, packed by bzip2", UNPACK),
    ("m.h5.xz", lambda: lzma.compress(hdf5()), "a model file, packed by xz", UNPACK),
    ("m.gz", lambda: gzip.compress(b"hello" * 9), "a file, packed by gzip", UNPACK),
    ("cut.gz", lambda: b"\x1f\x8b\x08\x00\xff", "a file, packed by gzip", UNPACK),
    ("m.tar.gz", lambda: tar("w:gz"), "a tar archive, packed by gzip", UNPACK),
    ("m.tar", lambda: tar("w"), "a tar archive", UNPACK),
    ("m.7z", lambda: b"7z\xbc\xaf\x27\x1c" + bytes(50), "a packed archive", UNPACK),
    ("m.zip", lambda: zipped("model.h5"), "a zip archive with a model inside", UNPACK),
    ("s.zip", lambda: zipped("net/saved_model.pb", "net/variables/variables.index"), "a SavedModel", UNPACK),
    ("m.npz", npz, "an archive of numpy arrays", "save the model in Keras"),
    ("m.pt", lambda: zipped("net/data.pkl", "net/version"), "a PyTorch file", "convert the model to Keras"),
    ("m.pth", lambda: pickle.dumps(TORCH_NUMBER, 2) + pickle.dumps(1001, 2), "a PyTorch file", "convert the model"),
    ("m.pkl", lambda: pickle.dumps({"a": 1}), "a pickled Python object", "save the model in Keras"),
    ("m.h5", lambda: pickle.dumps([1], 2), "a pickled Python object", "save the model in Keras"),
    ("m.tflite", lambda: b"\x1c\0\0\0TFL3" + bytes(60), "a TensorFlow Lite model", "the Keras model it came from"),
    ("m.dat", lambda: b"\x08\x07\x12\x07pytorch\x1a\x051.9.1" + bytes(9), "an ONNX model", "the Keras model"),
    ("checkpoint", lambda: b'model_checkpoint_path: "model.ckpt-7"\n', "a TensorFlow checkpoint", "model.checkpoint"),
    ("m.ckpt.index", lambda: bytes(90) + bytes.fromhex("57fb808b247547db"), "TensorFlow checkpoint", "ckpt2keras"),
    ("m.ckpt.data-00000-of-00001", lambda: np.ones(9, "f4").tobytes(), "TensorFlow checkpoint", "ckpt2keras"),
    ("m.yaml", lambda: b"backend: tensorflow\nclass_name: Sequential\nconfig: []\n", "as YAML", "model.to_json()"),
]


@pytest.mark.parametrize(("name", "make", "what", "remedy"), FILES, ids=[f"{n}-{w}" for n, _, w, _ in FILES])
def test_it_is_named(tmp_path: Path, name: str, make: Callable[[], bytes], what: str, remedy: str) -> None:
    path = tmp_path / name
    path.write_bytes(make())
    with pytest.raises(ModelFileError) as caught:
        scan(path)
    error = caught.value
    assert error.exit_code == 3
    assert what in error.problem
    assert remedy in str(error.remedy)
    assert str(path) in error.problem


def test_a_checkpoint_by_its_prefix_or_its_folder(tmp_path: Path) -> None:
    (tmp_path / "m.ckpt-7.index").write_bytes(b"")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "m.ckpt-7"')
    for path in (tmp_path / "m.ckpt-7", tmp_path):
        with pytest.raises(ModelFileError, match=r"is a TensorFlow checkpoint: weights without a graph"):
            scan(path)


def test_an_architecture_called_h5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.h5"
    path.write_text(json.dumps({"class_name": "Sequential", "config": {"name": "s", "layers": []}}))
    with pytest.raises(ModelFileError, match=r"(?s)holds an architecture without weights.*model\.architecture: m\.h5"):
        read_model(path)
    assert cli.main(["inspect", str(path)]) == 0
    assert "architecture (JSON)" in capsys.readouterr().out


@pytest.mark.parametrize("error", [OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeDecodeError])
def test_what_goes_wrong_in_an_hdf5_file_is_said_of_it(tmp_path: Path, error: type[Exception]) -> None:
    path = tmp_path / "m.h5"
    path.write_bytes(hdf5())
    raised = error("utf-8", b"\xff", 0, 1, "no text") if error is UnicodeDecodeError else error("no chunk\nhere")
    said = rf"m\.h5 cannot be read as HDF5(?s:.*)\({len(hdf5())} bytes\)"
    with pytest.raises(ModelFileError, match=said) as caught, open_hdf5(path):
        raise raised
    assert caught.value.__cause__ is raised
    with pytest.raises(ZeroDivisionError), open_hdf5(path) as file:
        raise ZeroDivisionError(list(file))


@pytest.mark.parametrize("change", [lambda content: content[:300], lambda content: content[:600] + bytes(200)])
def test_a_broken_hdf5_file_is_not_even_opened(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "m.h5"
    path.write_bytes(change(hdf5()))
    with pytest.raises(ModelFileError, match=r"(?s)cannot be read as HDF5.*copy the file again"), open_hdf5(path):
        raise AssertionError("opened")
