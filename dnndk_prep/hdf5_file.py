"""HDF5 files written in one go: built in memory, since HDF5 can crash the process where a disk fails under it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py


@contextmanager
def written(path: Path) -> Iterator[h5py.File]:
    """Inside, an empty file in memory; after it, the file at `path`. Nothing is written where the block raises.

    Needs twice the file's size in memory for a moment. Raises OSError where the disk fails.
    """
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    path.write_bytes(image)


def copy_into(source: h5py.Group, target: h5py.Group) -> None:
    """Copy the attributes and members of a group, also into another file."""
    for name, value in source.attrs.items():
        target.attrs[name] = value
    for name in source:
        source.copy(source[name], target, name)
