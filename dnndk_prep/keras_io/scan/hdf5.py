"""What an HDF5 file holds, or why it is refused: looks at links, storage and declared sizes before anything is read.

HDF5 follows links to other files and makes room for whatever shape a dataset declares; Keras writes neither links nor
compressed weights. Runs in a process of its own (see `sandbox`): the HDF5 library itself may crash on a broken file.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5l, h5t

from dnndk_prep.keras_io.scan.words import names_of

# Real ones: EfficientNetV2-L with its optimizer has 9 000 objects; a nested model adds two levels.
MAX_OBJECTS = 20_000
MAX_DEPTH = 64
MAX_TEXT = 16 * 2**20
# What a dataset may declare: as much as a frozen graph holds.
MAX_DATASET = 2**31
# All datasets together: no compression of weights comes near this factor, but for small ones, all zeros.
MAX_FACTOR, FREE_BYTES = 16, 64 * 2**20
# deflate, shuffle, fletcher32, szip, nbit, scaleoffset, lzf; HDF5 loads others from the disk, as native code.
FILTERS = (1, 2, 3, 4, 5, 6, 32000)
SLAB = 32 * 2**20
# Attributes that loaders take for text. Keras writes an empty list of names as numbers.
TEXTS = re.compile(rb"(layer|weight)_names\d*|keras_version|backend")
FACTS = ("model_config", "keras_version", "backend")


class RefusedError(Exception):
    """The file is made to harm: (place in the file, what is there)."""

    def __init__(self, place: str, what: str) -> None:
        super().__init__(f"{place}: {what}")
        self.place, self.what = place, what


def examine(path: str) -> dict[str, Any]:
    """The facts of an HDF5 file, as plain data.

    layout: "classic", "keras2", "keras3" or "none". datasets: path -> [shape, dtype], in the order of the file.
    model_config, keras_version, backend: the root's attributes as text, or None. Raises RefusedError, and whatever
    h5py raises for a broken file.
    """
    with h5py.File(path, "r") as file:
        walk = _Walk(Path(path).stat().st_size)
        walk.group(file, "")
        walk.soft_links(file)
        weights = file.get("model_weights", file)
        if not isinstance(weights, h5py.Group):
            raise ValueError("model_weights is no group")
        _count_reads(weights, walk)
        return {
            "layout": _layout(file),
            "datasets": walk.datasets,
            **{name: _text(file, name) for name in FACTS},
        }


class _Walk:
    """One way through the file by its hard links, then by its soft ones."""

    def __init__(self, file_size: int) -> None:
        self.datasets: dict[str, list[Any]] = {}
        self._links: list[str] = []
        self._seen: set[int] = set()
        self._objects = self._declared = 0
        self._limit = FREE_BYTES + MAX_FACTOR * file_size

    def group(self, group: h5py.Group, place: str) -> None:
        if place.count("/") > MAX_DEPTH:
            raise RefusedError(place[:100], f"groups in more than {MAX_DEPTH} levels")
        self._attributes(group, place)
        # Before each is looked at, which takes its time.
        if self._objects + len(group) > MAX_OBJECTS:
            raise RefusedError(place or "/", f"a group of {len(group)}: more than {MAX_OBJECTS} groups and datasets")
        for name in group.id:
            text = name.decode("utf-8", errors="backslashreplace")
            here = f"{place}/{text}"
            link = group.id.links.get_info(name)
            if link.type == h5l.TYPE_SOFT:
                self._count(here)
                self._links.append(here)
            elif link.type != h5l.TYPE_HARD:
                raise RefusedError(here, f"a link to another file{_target(group, name)}")
            else:
                self._object(group[name], link.u, here)

    def soft_links(self, file: h5py.File) -> None:
        """Soft links stay inside: no link of the file leads out of it, so none of theirs does.

        Each counts as what it leads to, however often that is led to. Those met on the way are in the list already:
        they are not followed again, so a circle of them ends here.
        """
        for here in tuple(self._links):
            try:
                found = file.get(here)
            except (OSError, RuntimeError):
                found = None
            if isinstance(found, h5py.Dataset):
                self._dataset(found, here)
            elif isinstance(found, h5py.Group):
                self._seen.clear()
                self.group(found, here)
            else:
                raise RefusedError(here, "a link to nothing in this file")

    def add(self, size: int, place: str) -> None:
        self._declared += size
        if self._declared > self._limit:
            raise RefusedError(place, f"with it {self._declared} bytes are declared, more than the file can hold")

    def _object(self, item: h5py.HLObject, address: int, here: str) -> None:
        self._count(here)
        if isinstance(item, h5py.Group):
            # A circle of links never ends, and thirty groups with two links to the next have 2^30 paths.
            if address in self._seen:
                raise RefusedError(here, "a second link to a group")
            self._seen.add(address)
            self.group(item, here)
        elif isinstance(item, h5py.Dataset):
            self._attributes(item, here)
            self._dataset(item, here)
        else:
            raise RefusedError(here, "a named datatype")

    def _count(self, here: str) -> None:
        self._objects += 1
        if self._objects > MAX_OBJECTS:
            raise RefusedError(here, f"one of more than {MAX_OBJECTS} groups and datasets")

    def _dataset(self, item: h5py.Dataset, here: str) -> None:
        layout = item.id.get_create_plist()
        if layout.get_external_count():
            raise RefusedError(here, f"stored in {layout.get_external(0)[0].decode(errors='replace')}")
        if layout.get_layout() == h5d.VIRTUAL:
            raise RefusedError(here, "a virtual dataset")
        if item.shape is None:
            raise RefusedError(here, "a dataset without a shape")
        filters = [layout.get_filter(number)[0] for number in range(layout.get_nfilters())]
        for number in filters:
            if number not in FILTERS:
                raise RefusedError(here, f"packed by the filter {number}")
            if filters.count(number) > 1:
                raise RefusedError(here, f"packed by the filter {number} more than once")
        kind = item.id.get_type()
        if kind.get_class() not in (h5t.INTEGER, h5t.FLOAT, h5t.ENUM):
            raise RefusedError(here, f"no numbers: {_kind_of(kind)}")
        declared, stored = math.prod(item.shape) * kind.get_size(), item.id.get_storage_size()
        if declared > MAX_DATASET:
            raise RefusedError(here, f"declared as {item.shape}, {declared} bytes")
        if layout.get_layout() != h5d.CHUNKED and stored < declared:
            raise RefusedError(here, f"declared as {item.shape}, {declared} bytes, of which {stored} are stored")
        if layout.get_layout() == h5d.CHUNKED:
            chunk = layout.get_chunk()
            # A chunk is unpacked as a whole, and may be larger than what is asked of it.
            parts = math.prod(-(-size // part) for size, part in zip(item.shape, chunk, strict=True))
            self.add(max(declared, parts * math.prod(chunk) * kind.get_size()), here)
            _read(item, chunk, here)
        else:
            self.add(declared, here)
        self.datasets[here] = [list(item.shape), item.dtype.str]

    def _attributes(self, item: h5py.HLObject, place: str) -> None:
        count = h5a.get_num_attrs(item.id)
        self._objects += count
        if self._objects > MAX_OBJECTS:
            raise RefusedError(place or "/", f"more than {MAX_OBJECTS} objects and attributes")
        for number in range(count):
            attribute = h5a.open(item.id, index=number)
            here = f"{place or '/'}: attribute {attribute.name.decode(errors='backslashreplace')[:100]}"
            kind = attribute.get_type()
            if kind.get_class() not in (h5t.INTEGER, h5t.FLOAT, h5t.ENUM, h5t.STRING):
                raise RefusedError(here, f"no text or numbers: {_kind_of(kind)}")
            size = math.prod(attribute.shape) * kind.get_size()
            if size > MAX_TEXT:
                raise RefusedError(here, f"{size} bytes")
            if TEXTS.fullmatch(attribute.name) and size:
                _check_text(item.attrs[attribute.name], here)


def _count_reads(group: h5py.Group, walk: _Walk) -> None:
    """The classic layout lists the weights by name, and a loader reads them as often as they are listed."""
    for layer in names_of(group, "layer_names"):
        inner = group.get(layer)
        if not isinstance(inner, h5py.Group):
            continue
        for name in names_of(inner, "weight_names"):
            place = f"{inner.name.rstrip('/')}/{name}"
            if place in walk.datasets:
                shape, dtype = walk.datasets[place]
                walk.add(math.prod(shape) * np.dtype(dtype).itemsize, place)
            elif isinstance(weight := inner.get(name), h5py.Dataset):
                walk.add(weight.size * weight.dtype.itemsize, place)


def _read(item: h5py.Dataset, chunk: tuple[int, ...], here: str) -> None:
    """Read what is packed, a part at a time: whatever HDF5 does with it, it does here first."""
    if math.prod(chunk) * item.dtype.itemsize > 8 * SLAB:
        raise RefusedError(here, f"in chunks of {chunk}")
    if not item.size:
        return
    # Whole chunks: one that is read twice is unpacked twice.
    row = item.size // item.shape[0] * item.dtype.itemsize
    rows = max(SLAB // row // chunk[0], 1) * chunk[0]
    for start in range(0, item.shape[0], rows):
        item[start : start + rows]


def _layout(file: h5py.File) -> str:
    # The last: Keras before 1.0, which numbers what others name.
    if {"layer_names", "layer_names0", "nb_layers"} & {*file.attrs} or "model_weights" in file:
        return "classic"
    if "_layer_checkpoint_dependencies" in file:
        return "keras2"
    return "keras3" if "layers" in file or "vars" in file else "none"


def _check_text(value: Any, here: str) -> None:
    for item in np.ravel(value).tolist():
        try:
            # h5py gives bytes that are no UTF-8 as halves of characters, which cannot be written.
            whole = bool(item.decode() if isinstance(item, bytes) else item.encode()) or not item
        except (AttributeError, UnicodeError):
            whole = False
        if not whole:
            raise ValueError(f"{here} is no text")


def _text(file: h5py.File, name: str) -> str | None:
    value = file.attrs.get(name)
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else None
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"the attribute {name} is no text")
    if len(value) > MAX_TEXT:
        raise RefusedError(f"/: attribute {name}", f"{len(value)} characters")
    return value


def _target(group: h5py.Group, name: bytes) -> str:
    link = group.get(name, getlink=True)
    return f": {link.filename}" if isinstance(link, h5py.ExternalLink) else ""


def _kind_of(kind: h5t.TypeID) -> str:
    names = {h5t.STRING: "text", h5t.REFERENCE: "references", h5t.VLEN: "parts of any length", h5t.OPAQUE: "bytes"}
    return names.get(kind.get_class(), "records")
