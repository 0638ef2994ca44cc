"""What an HDF5 file may hold: links, storage, declared sizes and kinds of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dnndk_prep.errors import ModelFileError, UnsafeFileError
from dnndk_prep.keras_io.scan import scan_weights


def weights(file: h5py.File) -> h5py.Group:
    file.attrs["layer_names"] = [b"d"]
    group = file.create_group("d")
    group.attrs["weight_names"] = [b"kernel"]
    group["kernel"] = np.ones((3, 2), np.float32)
    return group


def low_level(group: h5py.Group, name: str, kind: h5py.h5t.TypeID, shape: tuple[int, ...]) -> None:
    h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create_simple(shape))


def external(group: h5py.Group) -> None:
    group.create_dataset("x", (4,), "u1", external=[("/etc/hostname", 0, 4)])


def virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
    group.create_virtual_dataset("x", layout)


def by_name_again(group: h5py.Group) -> None:
    group["large"] = np.zeros(4 * 2**20, np.float32)
    group.attrs["weight_names"] = np.array([b"large"] * 2000)


def packed(group: h5py.Group) -> None:
    group.create_dataset("x", (2**28,), "f4", chunks=(2**20,), compression="gzip")[: 2**26] = 0


def many(group: h5py.Group) -> None:
    for number in range(25_000):
        group.create_group(str(number))


def diamond(group: h5py.Group) -> None:
    for _ in range(30):
        inner = group.create_group("a")
        group["b"] = inner
        group = inner


def deep(group: h5py.Group) -> None:
    for _ in range(100):
        group = group.create_group("g")


def unknown_filter(group: h5py.Group) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((2,))
    plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    h5py.h5d.create(group.id, b"x", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), plist)


def large_chunk(group: h5py.Group) -> None:
    """One number, in a part that is unpacked as a whole."""
    for number in range(2):
        group.create_dataset(f"x{number}", (1,), "f4", chunks=(2**24,), maxshape=(None,), compression="gzip")[:] = 1


def filters(group: h5py.Group) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((2,))
    for _ in range(2):
        plist.set_filter(h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FLAG_OPTIONAL, (4,))
    h5py.h5d.create(group.id, b"x", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), plist)


def soft_links(group: h5py.Group) -> None:
    for number in range(21_000):
        group[str(number)] = h5py.SoftLink("/d/kernel")


BAD_HDF5: list[tuple[Callable[[h5py.Group], Any], str]] = [
    (
        lambda group: group.__setitem__("x", h5py.ExternalLink("/etc/hostname", "/a")),
        "/d/x is a link to another file: /etc",
    ),
    (lambda group: group.__setitem__("x", h5py.SoftLink("/nowhere")), "/d/x is a link to nothing in this file"),
    (lambda group: group.__setitem__("x", h5py.SoftLink("x")), "/d/x is"),
    (external, "/d/x is stored in /etc/hostname"),
    (virtual, "/d/x is a virtual dataset"),
    (
        lambda group: low_level(group, "x", h5py.h5t.IEEE_F32LE, (10**6, 10**6)),
        "/d/x is declared as (1000000, 1000000)",
    ),
    (lambda group: low_level(group, "x", h5py.h5t.IEEE_F32LE, (2**26,)), "of which 0 are stored"),
    (packed, "/d/x is with it"),
    (large_chunk, "/d/x1 is with it 134217752 bytes are declared"),
    (filters, "/d/x is packed by the filter 2 more than once"),
    (soft_links, "more than 20000"),
    (by_name_again, "/d/large is with it"),
    (many, "more than 20000"),
    (diamond, "a second link to a group"),
    (lambda group: group.__setitem__("me", group.file["/"]), "a second link to a group"),
    (deep, "groups in more than 64 levels"),
    (unknown_filter, "/d/x is packed by the filter 32015"),
    (lambda group: group.__setitem__("x", np.dtype("f4")), "/d/x is a named datatype"),
    (lambda group: group.create_dataset("x", (2,), h5py.ref_dtype), "no numbers: references"),
    (lambda group: group.create_dataset("x", (2,), h5py.regionref_dtype), "no numbers: references"),
    (lambda group: group.create_dataset("x", (2,), h5py.string_dtype()), "no numbers: text"),
    (lambda group: group.create_dataset("x", (2,), h5py.vlen_dtype(np.int8)), "no numbers: parts of any length"),
    (lambda group: group.create_dataset("x", (2,), [("a", "f4"), ("b", "f4")]), "no numbers: records"),
    (lambda group: group.create_dataset("x", data=h5py.Empty("f4")), "a dataset without a shape"),
    (lambda group: group.attrs.__setitem__("x", group.ref), "/d: attribute x is no text or numbers: references"),
    (
        lambda group: group.attrs.__setitem__("x", np.zeros(2, [("a", "f4")])),
        "attribute x is no text or numbers: records",
    ),
]


@pytest.mark.parametrize(("attack", "what"), BAD_HDF5, ids=[what for _, what in BAD_HDF5])
def test_hdf5_files_that_are_refused(tmp_path: Path, attack: Callable[[h5py.Group], Any], what: str) -> None:
    with h5py.File(tmp_path / "m.h5", "w", libver="latest") as file:
        attack(weights(file))
    with pytest.raises(UnsafeFileError) as caught:
        scan_weights(tmp_path / "m.h5")
    assert what in str(caught.value)
    assert "m.h5" in str(caught.value)


def test_an_external_link_is_not_followed_through_a_soft_one(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = [1.0]
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a"] = h5py.SoftLink("/z/secret")
        file["z"] = h5py.ExternalLink("other.h5", "/")
    with pytest.raises(UnsafeFileError, match="/z is a link to another file"):
        scan_weights(tmp_path / "m.h5")


def test_links_that_stay_inside_count_as_what_they_lead_to(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        group = weights(file)
        file["again"] = h5py.SoftLink("/d/kernel")
        group["up"] = h5py.SoftLink("/")
        file["hard"] = group["kernel"]
    contents = scan_weights(tmp_path / "m.h5")
    assert (
        contents.datasets["/again"] == contents.datasets["/hard"] == contents.datasets["/d/kernel"] == ((3, 2), "<f4")
    )


def test_packed_weights_are_read(tmp_path: Path) -> None:
    random = np.random.default_rng(0).normal(size=(1000, 300)).astype("f4")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        group = weights(file)
        group.create_dataset("x", data=random, compression="gzip", shuffle=True, fletcher32=True)
        group.create_dataset("zeros", data=np.zeros((1000, 500), "f4"), compression="lzf")
        group.create_dataset("none", data=np.zeros((0, 5), "f4"), maxshape=(None, 5))
        group["half"], group["flag"], group["one"] = np.float16([1]), np.array([True]), np.float32(1)
    contents = scan_weights(tmp_path / "m.h5")
    assert contents.numbers == 6 + 300_000 + 500_000 + 3
    assert contents.layout == "classic"


def test_names_in_texts_of_any_length_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        weights(file)
        file.attrs["layer_names"] = np.array(["d"], dtype=object)
        file.attrs["keras_version"] = "2.3.1"
        file.attrs["backend"] = np.bytes_("theano")
    contents = scan_weights(tmp_path / "m.h5")
    assert (contents.keras_version, contents.backend, contents.layout) == ("2.3.1", "theano", "classic")


def test_names_that_fill_the_memory(tmp_path: Path) -> None:
    """4000 names that all point to one text of 1 MB: 4 GB as soon as they are read."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        weights(file)
        file.attrs["layer_names"] = np.array(["x" * 10**6] + ["y" * 40] * 3999, dtype=h5py.string_dtype())
    content = bytearray(path.read_bytes())
    # An element of the list is a length, and the place of the text in the file: address and number, 16 bytes in all.
    long, short = (size.to_bytes(4, "little") for size in (10**6, 40))
    first = content.index(long)
    while content[first + 16 : first + 20] != short:
        first = content.index(long, first + 1)
    content[first : first + 4000 * 16] = content[first : first + 16] * 4000
    path.write_bytes(content)
    # On a busy machine the limit of time may be the first that is met.
    with pytest.raises(UnsafeFileError, match=r"in need of more than \d+ bytes of memory|does not come to an end"):
        scan_weights(path)


@pytest.mark.parametrize("place", ["/", "/d"])
@pytest.mark.parametrize("name", ["layer_names", "layer_names1", "weight_names", "keras_version", "backend"])
@pytest.mark.parametrize("value", [np.array([b"d", b"\xff"]), np.bytes_(b"\xff\xfe"), np.array([5, 6])])
def test_names_that_are_no_text(tmp_path: Path, place: str, name: str, value: Any) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        weights(file)
        file[place].attrs[name] = value
    with pytest.raises(ModelFileError, match=f"attribute {name} is no text"):
        scan_weights(tmp_path / "m.h5")


def test_an_empty_list_of_names_is_one(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        weights(file)
        file.create_group("e").attrs["weight_names"] = []
    assert scan_weights(tmp_path / "m.h5").layout == "classic"


def test_a_dataset_in_place_of_all_weights(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["model_weights"] = np.ones(3, np.float32)
    with pytest.raises(ModelFileError, match="model_weights is no group"):
        scan_weights(tmp_path / "m.h5")
