"""Takes the parts out of a .keras archive, after a look at its list of members; nothing is extracted by its name."""

from __future__ import annotations

import io
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from dnndk_prep.errors import ModelFileError, UnsafeFileError
from dnndk_prep.keras_io.scan.foreign import what_is_zipped
from dnndk_prep.keras_io.scan.text import MAX_BYTES, first_twice
from dnndk_prep.keras_io.scan.words import shown

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# Vocabularies of text layers; only looked at, for nothing here reads them.
ASSETS = "assets/"
# Keras stores without packing; weights packed by hand do not come near this factor.
MAX_FACTOR, FREE_BYTES = 16, 64 * 2**20
MAX_MEMBERS = 1000
# Bytes of the list of members, which zipfile reads at once.
MAX_LIST = 2**20
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _Source(io.FileIO):
    """The file of an archive, of which no long list of members is read: to look at each takes its time."""

    is_open = False

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.is_open and (size or -1) > MAX_LIST:
            raise _LongListError(size)
        return super().read(-1 if size is None else size)


class _LongListError(Exception):
    """The list of members has this many bytes."""


class Archive:
    """A .keras archive whose list of members is in order."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path

    def text(self, name: str) -> bytes:
        return self._archive.read(name)

    def assets(self) -> list[str]:
        return [name for name in self._archive.namelist() if name.startswith(ASSETS) and not name.endswith("/")]

    def weights_to(self, target: Path) -> None:
        with self._archive.open(WEIGHTS) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 2**20)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """The archive at `path`.

    Raises UnsafeFileError for members that no .keras archive has, lead out of it, are links, stand twice or unpack
    into far more than they are; and ModelFileError for what is not a whole archive, also while its parts are read.
    """
    try:
        with _Source(path) as source, zipfile.ZipFile(source) as archive:
            source.is_open = True
            _check(archive, path)
            yield Archive(archive, path)
    except _LongListError as error:
        raise UnsafeFileError(
            f"{path} is refused: its list of members is {error} bytes long",
            expected=f"a .keras archive of {CONFIG}, {METADATA} and {WEIGHTS}",
            found="far more members",
            remedy="save the model again: model.save('model.keras')",
        ) from error
    # What zipfile raises for broken archives; ValueError and OverflowError for impossible numbers in them.
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, OSError, struct.error, NotImplementedError, RuntimeError),
        *(KeyError, ValueError, OverflowError),
    ) as error:
        lines = str(error).strip().splitlines()
        raise ModelFileError(
            f"{path} is not a whole .keras archive",
            expected=f"a zip archive with {CONFIG}, {METADATA} and {WEIGHTS}",
            found=shown(lines[0].strip("'\"") if lines else type(error).__name__),
            remedy="copy the file again (it may be cut short), or save the model again",
        ) from error


def _check(archive: zipfile.ZipFile, path: Path) -> None:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise _refused(path, members[-1].filename, f"one of {len(members)} members")
    for member in members:
        if (what := _what_is_wrong(member)) is not None:
            raise _refused(path, member.filename, what)
    names = [member.filename for member in members]
    if not {CONFIG, METADATA} & {*names} and (kind := what_is_zipped(names)) is not None:
        raise kind.error(path)
    for name in (CONFIG, METADATA, WEIGHTS):
        archive.getinfo(name)
    if len(set(names)) < len(names):
        raise _refused(path, first_twice(names), "there twice")
    for name in names:
        if name not in (CONFIG, METADATA, WEIGHTS) and not name.startswith(ASSETS):
            raise _refused(path, name, "no part of a .keras archive")
    _check_sizes(members, path)


def _check_sizes(members: list[zipfile.ZipInfo], path: Path) -> None:
    whole = path.stat().st_size
    packed, unpacked = 0, 0
    for member in members:
        packed, unpacked = packed + member.compress_size, unpacked + member.file_size
        if member.filename in (CONFIG, METADATA) and member.file_size > MAX_BYTES:
            raise _refused(path, member.filename, f"{member.file_size} bytes long, larger than any architecture")
        if unpacked > FREE_BYTES + MAX_FACTOR * packed:
            raise _refused(path, member.filename, f"unpacked into {member.file_size} bytes from {member.compress_size}")
    if packed > whole:
        raise zipfile.BadZipFile(f"members of {packed} bytes in a file of {whole}")


def _what_is_wrong(member: zipfile.ZipInfo) -> str | None:
    # What the archive says itself: zipfile turns backslashes and cuts at a zero byte.
    name = member.orig_filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0] or "\\" in name or "\0" in name:
        return "a path out of the archive"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a symbolic link" if kind == stat.S_IFLNK else "no plain file"
    if member.flag_bits & 0x1:
        return "encrypted"
    if member.compress_type not in COMPRESSIONS:
        return f"packed by method {member.compress_type}"
    return None


def _refused(path: Path, member: str, what: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"{path} is refused: its member {shown(member)!r} is {what}",
        expected=f"a .keras archive of {CONFIG}, {METADATA} and {WEIGHTS}",
        found=f"{shown(member)}: {what}",
        remedy="save the model again: model.save('model.keras')",
    )
