"""Looks at a model file of any kind before any loader does: what it holds, or why it is refused."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

from dnndk_prep.errors import ModelFileError, UnsafeFileError
from dnndk_prep.keras_io.scan.architecture import check_architecture, loadable
from dnndk_prep.keras_io.scan.archive import CONFIG, METADATA, WEIGHTS, open_archive
from dnndk_prep.keras_io.scan.foreign import checkpoint_at, what_is
from dnndk_prep.keras_io.scan.sandbox import examine_apart
from dnndk_prep.keras_io.scan.text import JSON_REMEDY, MAX_BYTES, parse_json, too_large
from dnndk_prep.keras_io.scan.words import shown

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"
SAVE_AGAIN = "save the model again: model.save('model.h5')"
# 2.1.6, 2.2.4-tf, 3.0.0.dev2023100103; and the names of backends.
VERSION = re.compile(r"[0-9]{1,4}([.+-][0-9A-Za-z]{1,20}){0,8}")
BACKEND = re.compile(r"[A-Za-z][0-9A-Za-z_.-]{0,40}")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """What a file holds, found without Keras and without TensorFlow.

    kind: "hdf5", "archive" or "json". architecture: its dict with class_name and config, checked and without training
    configuration, or None. keras_version and backend: as the file tells, "" where it does not. layout of the weights:
    "classic", "keras2", "keras3" or "none". datasets: shape and dtype of every one, by its path in the HDF5 file.
    weights: the HDF5 file; None for JSON.
    """

    file: str
    kind: str
    architecture: dict[str, Any] | None
    keras_version: str = ""
    backend: str = ""
    layout: str = "none"
    datasets: Mapping[str, tuple[Shape, str]] = field(default_factory=dict)
    weights: Path | None = None
    assets: tuple[str, ...] = ()
    # Holds the folder of weights that were taken out of an archive; the folder goes with it.
    kept: tempfile.TemporaryDirectory[str] | None = None

    @property
    def numbers(self) -> int:
        """How many numbers all datasets hold."""
        return sum(prod(shape) for shape, _ in self.datasets.values())


def scan(path: Path, *, custom: Collection[str] = ()) -> Contents:
    """What the file at `path` holds, whatever kind it is by its content.

    custom: classes and functions that the user brings along, by class_name or registered_name. Raises UnsafeFileError
    with the place where the file would run code, read another file or fill the memory; ModelFileError where it is not
    whole, or holds classes that Keras does not have, and lists them all.
    """
    signature = signature_of(path)
    if signature.startswith(HDF5_SIGNATURE):
        return _hdf5(path, custom)
    if signature.startswith(ZIP_SIGNATURE):
        return _archive(path, custom)
    if signature.lstrip()[:1] in (b"{", b"["):
        return scan_architecture(path, custom=custom)
    if (kind := what_is(path)) is not None:
        raise kind.error(path)
    raise ModelFileError(
        f"{path} is not a complete Keras model",
        expected="an HDF5 file (.h5) or a .keras archive that holds architecture and weights",
        found=f"a file that begins with {signature[:8]!r}",
        remedy=SAVE_AGAIN,
    )


def scan_architecture(path: Path, *, weights: Contents | None = None, custom: Collection[str] = ()) -> Contents:
    """What the JSON file at `path` holds; its layers are held against `weights`. Raises as `scan` does."""
    signature_of(path)
    if (size := path.stat().st_size) > MAX_BYTES:
        raise too_large(str(path), f"{size} bytes")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelFileError(
            f"{path} is not an architecture",
            expected="JSON as model.to_json() writes it",
            found="a binary file",
            remedy="give a complete model as model.path",
        ) from error
    data = _architecture(text, str(path), weights.numbers if weights else None, custom)
    version, backend = (_told(data, key, str(path)) for key in ("keras_version", "backend"))
    return Contents(str(path), "json", data, version, backend)


def scan_weights(path: Path) -> Contents:
    """What the HDF5 file at `path` holds but for its architecture. Raises as `scan` does."""
    return _weights(path, examine_apart(path))


def signature_of(path: Path) -> bytes:
    """The first bytes of the file. Raises ModelFileError if there is none that can be read."""
    if (checkpoint := checkpoint_at(path)) is not None:
        raise checkpoint.error(path)
    if path.is_dir():
        saved = (path / "saved_model.pb").exists()
        raise ModelFileError(
            f"{path} is a folder",
            expected="a model file",
            found="a SavedModel folder" if saved else "a folder",
            remedy=SAVE_AGAIN,
        )
    if path.exists() and not path.is_file():
        # A pipe would wait for its writer for ever.
        raise ModelFileError(f"{path} is not a file", expected="a model file", remedy="give a plain file")
    try:
        with path.open("rb") as file:
            signature = file.read(64)
    except FileNotFoundError as error:
        near = sorted(p.name for p in path.parent.glob("*") if p.suffix in (".h5", ".hdf5", ".keras", ".json"))
        raise ModelFileError(
            f"{path} does not exist",
            expected="a model file",
            found=f"in {path.parent}: {', '.join(map(shown, near[:5])) or 'no model file'}",
            remedy="correct the path",
        ) from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read", found=error.strerror, remedy="make it readable") from error
    if not signature:
        raise ModelFileError(f"{path} is empty", expected="a model file", found="0 bytes", remedy="copy it again")
    return signature


def _weights(path: Path, facts: dict[str, Any]) -> Contents:
    datasets = {place: (tuple(shape), dtype) for place, (shape, dtype) in facts["datasets"].items()}
    version, backend = (_told(facts, name, str(path)) for name in ("keras_version", "backend"))
    return Contents(str(path), "hdf5", None, version, backend, facts["layout"], datasets, path)


def _hdf5(path: Path, custom: Collection[str]) -> Contents:
    facts = examine_apart(path)
    contents = _weights(path, facts)
    if facts["model_config"] is None:
        return contents
    data = _architecture(facts["model_config"], str(path), contents.numbers, custom)
    version, backend = contents.keras_version, contents.backend
    return replace(
        contents,
        architecture=data,
        keras_version=version or _told(data, "keras_version", str(path)),
        backend=backend or _told(data, "backend", str(path)),
    )


def _archive(path: Path, custom: Collection[str]) -> Contents:
    kept = tempfile.TemporaryDirectory(prefix="dnndk_prep_")
    weights = Path(kept.name) / WEIGHTS
    with open_archive(path) as archive:
        config, metadata = (archive.text(name) for name in (CONFIG, METADATA))
        archive.weights_to(weights)
        assets = tuple(archive.assets())
    # Before HDF5 sees the weights: code is the worse thing to say of a file.
    data = _parsed(config, f"{path}: {CONFIG}")
    check_architecture(data, f"{path}: {CONFIG}", custom=custom)
    facts = parse_json(metadata, f"{path}: {METADATA}")
    with _inside(weights, path):
        inside = scan_weights(weights)
    check_architecture(data, f"{path}: {CONFIG}", stored=inside.numbers, custom=custom)
    return replace(
        inside,
        file=str(path),
        kind="archive",
        architecture=loadable(data),
        keras_version=_told(facts, "keras_version", str(path)) if isinstance(facts, dict) else "",
        backend=_told(data, "backend", str(path)),
        assets=assets,
        kept=kept,
    )


@contextmanager
def _inside(weights: Path, path: Path) -> Iterator[None]:
    """An error about `weights`, which came out of the archive `path`, names the archive and the member."""
    try:
        yield
    except (ModelFileError, UnsafeFileError) as error:
        problem = error.problem.replace(str(weights), f"{path}: {WEIGHTS}")
        raise type(error)(problem, expected=error.expected, found=error.found, remedy=error.remedy) from error


def _architecture(text: str | bytes, file: str, stored: int | None, custom: Collection[str]) -> dict[str, Any]:
    data = _parsed(text, file)
    check_architecture(data, file, stored=stored, custom=custom)
    return loadable(data)


def _parsed(text: str | bytes, file: str) -> dict[str, Any]:
    data = parse_json(text, file)
    if isinstance(data, dict) and "class_name" not in data and data.get("name") in ("Sequential", "Graph"):
        raise ModelFileError(
            f"{file} is an architecture of Keras before 1.0",
            expected="JSON as Keras 1 or later writes it",
            found=f"a {data['name']} whose layers have no class_name",
            remedy="build the model in Keras 1, and give its model.to_json() with these weights, which are read",
        )
    if not isinstance(data, dict) or "class_name" not in data or not isinstance(data.get("config"), dict | list):
        raise ModelFileError(
            f"{file} is not an architecture",
            expected="JSON as model.to_json() writes it, with class_name and config",
            found="JSON without class_name and config",
            remedy=JSON_REMEDY,
        )
    return data


def _told(data: dict[str, Any], key: str, file: str) -> str:
    """What `data` says of the Keras that wrote it; "" if nothing."""
    value = data.get(key)
    if value is None or value == "":
        return ""
    form = VERSION if key == "keras_version" else BACKEND
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ModelFileError(
            f"{file} does not tell which Keras wrote it",
            expected=f"{key} as Keras writes it, such as {'2.15.0' if form is VERSION else 'tensorflow'}",
            found=shown(value),
            remedy="save the model again",
        )
    return value
