"""Files with something wrong: seeded changes to the bytes, the JSON and the members of real ones."""

from __future__ import annotations

import copy
import io
import json
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf
import tf_keras
from google.protobuf import text_format

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
    """Small models of both Kerases, in every form; a graph and its checkpoint; images; calibration batches."""

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
        self.graphs = [_graph(folder, False), _graph(folder, True)]
        self.checkpoint = {path.name: path.read_bytes() for path in sorted(folder.glob("graph.ckpt.*"))}
        noise = np.random.default_rng(3).integers(0, 256, (20, 24, 3), np.uint8)
        self.images = [_image(noise, "PNG"), _image(noise[..., 0], "PNG"), _image(noise, "JPEG")]
        made = io.BytesIO()
        np.savez(made, **{f"b{i}": noise[None, i:].astype(np.float32) for i in range(3)})
        self.arrays = [made.getvalue()]


def _graph(folder: Path, trains: bool) -> tf.compat.v1.GraphDef:
    """A small network whose batch norm is in parts; `trains`: with a checkpoint and a branch that training takes."""
    v1 = tf.compat.v1
    random = np.random.default_rng(4)
    with tf.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder(tf.float32, (None, 6, 6, 2), "image")
        kernel = random.normal(size=(3, 3, 2, 4)).astype(np.float32)
        x = tf.nn.conv2d(
            image, v1.get_variable("kernel", initializer=kernel) if trains else kernel, 1, "SAME", name="conv"
        )
        x = tf.nn.relu((x - 0.25) * np.float32([1, 2, 3, 4]) + 0.5, name="relu")
        if trains:
            flag = v1.placeholder_with_default(False, (), "keras_learning_phase")
            x = v1.cond(flag, lambda: x * 2.0, lambda: x)
        flat = tf.reshape(x, (-1, 6 * 6 * 4))
        tf.nn.softmax(tf.matmul(flat, random.normal(size=(144, 3)).astype(np.float32)), name="prob")
        if trains:
            session.run(v1.global_variables_initializer())
            v1.train.Saver().save(session, str(folder / "graph.ckpt"), write_meta_graph=False)
        return session.graph.as_graph_def()


def _image(pixels: np.ndarray, form: str) -> bytes:
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, form)
    return made.getvalue()


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


def graph(here: Path, originals: Originals, chance: random.Random) -> tuple[str, list[Path]]:
    path = here / "m.pb"
    path.write_bytes(broken_bytes(chance.choice(originals.graphs).SerializeToString(), chance))
    return "graph", [path]


def graph_text(here: Path, originals: Originals, chance: random.Random) -> tuple[str, list[Path]]:
    """Nodes that are gone, twice, of other ops, under other names, or read others; as .pbtxt and as .pb."""
    broken = tf.compat.v1.GraphDef()
    broken.CopyFrom(chance.choice(originals.graphs))
    for _ in range(chance.choice([1, 1, 2, 4])):
        node, other = chance.choice(broken.node), chance.choice(broken.node)
        match chance.randrange(7):
            case 0:
                broken.node.remove(node)
            case 1:
                broken.node.append(node)
            case 2:
                node.op = other.op
            case 3:
                node.name = chance.choice(["", other.name, "a/b:0", "^c", "x" * 400, "\n"])
            case 4:
                node.input.append(chance.choice([other.name, "", "^image", "none:7", f"{other.name}:99"]))
            case 5 if node.input:
                node.input[chance.randrange(len(node.input))] = other.name
            case _ if node.attr:
                del node.attr[chance.choice(sorted(node.attr))]
    if chance.random() < 0.5:
        path = here / "m.pb"
        path.write_bytes(broken.SerializeToString())
    else:
        path = here / "m.pbtxt"
        text = text_format.MessageToString(broken).encode()
        path.write_bytes(text if chance.random() < 0.5 else broken_bytes(text, chance))
    return "graph", [path]


def checkpoint(here: Path, originals: Originals, chance: random.Random) -> tuple[str, list[Path]]:
    chosen = chance.choice(sorted(originals.checkpoint))
    for name, content in originals.checkpoint.items():
        (here / name).write_bytes(broken_bytes(content, chance) if name == chosen else content)
    return "checkpoint", [here / "graph.ckpt"]


def image(here: Path, originals: Originals, chance: random.Random) -> tuple[str, list[Path]]:
    path = here / chance.choice(["m.png", "m.jpg"])
    path.write_bytes(broken_bytes(chance.choice(originals.images), chance))
    return "image", [path]


def arrays(here: Path, originals: Originals, chance: random.Random) -> tuple[str, list[Path]]:
    path = here / "m.npz"
    path.write_bytes(broken_bytes(chance.choice(originals.arrays), chance))
    return chance.choice(["arrays", "dataset", "array"]), [path]


MAKE = {
    **{"hdf5": hdf5, "hdf5_json": hdf5_json, "archive": archive, "archive_json": archive_json},
    **{"archive_hdf5": archive_hdf5, "json": json_pair, "yaml": yaml, "graph": graph, "graph_text": graph_text},
    **{"checkpoint": checkpoint, "image": image, "arrays": arrays},
}
