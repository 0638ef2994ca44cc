"""Files with something wrong: seeded changes to the bytes, the JSON and the members of real ones."""

from __future__ import annotations

import copy
import json
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tf_keras

ROOT = Path(__file__).parents[2]

YAML = """
model: {architecture: net.json, weights: net.h5}
graph:
  reader: "1.12"
  inputs: {image: data}
dataset:
  path: images
  preprocess: [{resize: [32, 32]}, {scale: 0.00392}]
export: {samples: 100}
"""


def broken_bytes(content: bytes, chance: random.Random) -> bytes:
    """`content` with flipped bits, other numbers, a piece from elsewhere, or an end that is missing."""
    data = bytearray(content)
    # The structure of these files is in their first pages more than elsewhere.
    end = min(len(data), 20_000) if chance.random() < 0.7 else len(data)
    match chance.randrange(8):
        case 0:
            del data[chance.randrange(len(data)) :]
        case 1:
            start, source = chance.randrange(end), chance.randrange(len(data))
            data[start : start + chance.randrange(1, 600)] = data[source : source + chance.randrange(1, 600)]
        case 2:
            start = chance.randrange(end)
            data[start : start + 8] = chance.choice([b"\xff" * 8, b"\0" * 8, b"\0" * 7 + b"\x7f", b"\1" + b"\0" * 7])
        case _:
            for _ in range(chance.choice([1, 2, 4, 16])):
                place = chance.randrange(end)
                data[place] = chance.choice([data[place] ^ (1 << chance.randrange(8)), 0, 255, chance.randrange(256)])
    return bytes(data)


def odd_value(chance: random.Random) -> Any:
    values: list[Any] = [
        None,
        -1,
        0,
        3,
        1e308,
        10**30,
        2**31,
        "",
        "x" * 1000,
        "\0",
        "\x1b[31m",
        "é\u2028",
        [],
        {},
        [[]],
    ]
    values += [True, float("nan"), float("-inf"), [None], {"class_name": 3}, {"class_name": "Dense", "config": None}]
    values += [{"class_name": "Functional", "config": {}}, ["x", 0, 0], "relu", "float16", [1, [2, [3]]], {"": ""}]
    return copy.deepcopy(chance.choice(values))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from places(item)


def broken_json(data: Any, chance: random.Random) -> Any:
    """`data` with values that are others, gone, twice, exchanged, or under another name."""
    data = copy.deepcopy(data)
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        known = list(places(data))
        if not known:
            return data
        (parent, key), (other, other_key) = chance.choice(known), chance.choice(known)
        match chance.randrange(6):
            case 0:
                del parent[key]
            case 1:
                parent[key], other[other_key] = copy.deepcopy(other[other_key]), copy.deepcopy(parent[key])
            case 2 if isinstance(parent, list):
                parent.insert(key, copy.deepcopy(parent[key]))
            case 3 if isinstance(parent, dict):
                parent[chance.choice(["name", "class_name", "config", "units", "", "shape"])] = parent.pop(key)
            case _:
                parent[key] = odd_value(chance)
    return data


class Originals:
    """Small models of both Kerases, in every form."""

    def __init__(self, folder: Path) -> None:
        self.hdf5, self.archives, self.json = [], [], []
        for name, module in (("keras3", keras), ("keras2", tf_keras)):
            module.backend.clear_session()
            layers = module.layers
            image = layers.Input((4, 4, 1), name="image")
            inner = module.Sequential([layers.Input((2, 2, 2)), layers.Flatten(name="flat")], name="inner")
            x = inner(layers.Conv2D(2, 3, activation="relu", name="conv")(image))
            model = module.Model(image, layers.Dense(2, name="fc")(layers.BatchNormalization(name="bn")(x)))
            model.save(folder / f"{name}.h5")
            model.save(folder / f"{name}.keras")
            model.save_weights(str(folder / f"{name}.weights.h5"))
            self.hdf5.append((folder / f"{name}.h5").read_bytes())
            self.archives.append((folder / f"{name}.keras").read_bytes())
            self.json.append((json.loads(model.to_json()), folder / f"{name}.h5"))
            self.json.append((json.loads(model.to_json()), folder / f"{name}.weights.h5"))
        self.yaml = [(ROOT / "pipeline.yaml").read_bytes(), YAML.encode()]


def hdf5(here: Path, originals: Originals, chance: random.Random) -> tuple[str, list[Path]]:
    path = here / "m.h5"
    path.write_bytes(broken_bytes(chance.choice(originals.hdf5), chance))
    return "model", [path]


def hdf5_json(here: Path, originals: Originals, chance: random.Random) -> tuple[str, list[Path]]:
    path = here / "m.h5"
    path.write_bytes(chance.choice(originals.hdf5))
    with h5py.File(path, "r+") as file:
        text = json.dumps(broken_json(json.loads(file.attrs["model_config"]), chance))
        file.attrs["model_config"] = (
            text if chance.random() < 0.8 else broken_bytes(text.encode(), chance).replace(b"\0", b"\1")
        )
        if chance.random() < 0.2:
            group = file["model_weights"]
            name = chance.choice(["layer_names", "backend", "keras_version"])
            group.attrs[name] = chance.choice([b"", "x", 3, [b"conv", b"conv"], [b"none"], [1.5], [[b"a"]]])
    return "model", [path]


def archive(here: Path, originals: Originals, chance: random.Random) -> tuple[str, list[Path]]:
    path = here / "m.keras"
    path.write_bytes(broken_bytes(chance.choice(originals.archives), chance))
    return "model", [path]


def rewritten(here: Path, originals: Originals, chance: random.Random, change: Callable[[str, bytes], bytes]) -> Path:
    """An archive with other members, whose checksums are right."""
    source = here / "source.keras"
    source.write_bytes(chance.choice(originals.archives))
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(here / "m.keras", "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return here / "m.keras"


def archive_json(here: Path, originals: Originals, chance: random.Random) -> tuple[str, list[Path]]:
    broken = "metadata.json" if chance.random() < 0.2 else "config.json"

    def change(name: str, content: bytes) -> bytes:
        return json.dumps(broken_json(json.loads(content), chance)).encode() if name == broken else content

    return "model", [rewritten(here, originals, chance, change)]


def archive_hdf5(here: Path, originals: Originals, chance: random.Random) -> tuple[str, list[Path]]:
    def change(name: str, content: bytes) -> bytes:
        return broken_bytes(content, chance) if name.endswith(".h5") else content

    return "model", [rewritten(here, originals, chance, change)]


def json_pair(here: Path, originals: Originals, chance: random.Random) -> tuple[str, list[Path]]:
    # Weights of the newer layouts go through Keras, which takes its time: one in eight.
    config, weights = originals.json[2 * chance.randrange(2) + (chance.random() < 0.125)]
    text = json.dumps(broken_json(config, chance)).encode()
    (here / "m.json").write_bytes(text if chance.random() < 0.7 else broken_bytes(text, chance))
    return "pair", [here / "m.json", weights]


def yaml(here: Path, originals: Originals, chance: random.Random) -> tuple[str, list[Path]]:
    content = broken_bytes(chance.choice(originals.yaml), chance)
    words = [
        b"&a [*a]",
        b"<<: *x",
        b"!!python/object/apply:os.system [x]",
        b"\t",
        b"- ",
        b": ",
        b"? ",
        b"{",
        b"'",
        b"|",
    ]
    words += [
        b"9" * 5000,
        b"1e999",
        b".nan",
        b"2024-13-45",
        b"0x",
        b"\xff",
        b"[" * 3000,
        b"\x00",
        b"12:99:99",
        b"!!binary x",
    ]
    for _ in range(chance.choice([0, 1, 1, 3])):
        place = chance.randrange(len(content) + 1)
        content = content[:place] + chance.choice(words) + content[place:]
    (here / "p.yaml").write_bytes(content)
    return "config", [here / "p.yaml"]


MAKE = {
    **{"hdf5": hdf5, "hdf5_json": hdf5_json, "archive": archive, "archive_json": archive_json},
    **{"archive_hdf5": archive_hdf5, "json": json_pair, "yaml": yaml},
}
