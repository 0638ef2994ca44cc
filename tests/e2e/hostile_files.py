"""Model files made to harm, one for each known weakness of Keras' loaders and of HDF5; made without Keras."""

from __future__ import annotations

import base64
import io
import json
import marshal
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Config = dict[str, Any]


class Scene:
    """Where the attacks take place: a secret that none may read, and a witness that exists if code ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret, self.witness = folder / "secret", folder / "witness"
        self.secret.write_bytes(b"topsecret" * 1000)
        code = compile(f"lambda x: (x, open({str(self.witness)!r}, 'w'))[0]", "m", "eval").co_consts[0]
        self.code = base64.encodebytes(marshal.dumps(code)).decode()

    def old_lambda(self) -> Config:
        config = {"name": "evil", "function": [self.code, None, None], "function_type": "lambda", "arguments": {}}
        config |= {"output_shape": None, "output_shape_type": "raw", "module": "m", "output_shape_module": None}
        return {"class_name": "Lambda", "config": config}

    def new_lambda(self) -> Config:
        function = {"class_name": "__lambda__", "config": {"code": self.code, "defaults": None, "closure": None}}
        return of_keras("Lambda", "evil", function=function)

    def hdf5(self, architecture: Config | None, change: Callable[[h5py.File], Any] | None = None) -> Path:
        path = self.folder / "m.h5"
        with h5py.File(path, "w") as file:
            if architecture:
                file.attrs["model_config"] = json.dumps(architecture)
            file.attrs["keras_version"] = "2.15.0"
            classic(file.create_group("model_weights"))
            if change:
                change(file)
        return path

    def archive(
        self,
        architecture: Config,
        *,
        weights: Callable[[h5py.File], Any] | None = None,
        change: Callable[[zipfile.ZipFile], Any] | None = None,
        version: str = "3.15.1",
    ) -> Path:
        path, stored = self.folder / "m.keras", io.BytesIO()
        with h5py.File(stored, "w") as file:
            file["layers/dense/vars/0"], file["layers/dense/vars/1"] = np.ones((4, 2), "f4"), np.ones(2, "f4")
            if weights:
                weights(file)
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as made:
            warnings.simplefilter("ignore")
            made.writestr("metadata.json", json.dumps({"keras_version": version}))
            made.writestr("config.json", json.dumps(architecture))
            made.writestr("model.weights.h5", stored.getvalue())
            if change:
                change(made)
        return path

    def json(self, text: str) -> Path:
        path = self.folder / "m.json"
        path.write_text(text)
        return path


def classic(group: h5py.Group) -> None:
    group.attrs["layer_names"] = [b"d"]
    layer = group.create_group("d")
    layer.attrs["weight_names"] = [b"kernel", b"bias"]
    layer["kernel"], layer["bias"] = np.ones((4, 2), "f4"), np.ones(2, "f4")


def of_keras(kind: str, name: str, module: str = "keras.layers", **config: Any) -> Config:
    return {
        "class_name": kind,
        "module": module,
        "registered_name": None if module.startswith("keras") else kind,
        "config": {"name": name, "trainable": True, "dtype": "float32", **config},
    }


def old(kind: str, name: str, **config: Any) -> Config:
    return {"class_name": kind, "config": {"name": name, "trainable": True, "dtype": "float32", **config}}


def sequential(*layers: Config) -> Config:
    entry = {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, 4]}}
    return {"class_name": "Sequential", "config": {"name": "s", "layers": [entry, *layers, old("Dense", "d", units=2)]}}


def new_sequential(*layers: Config) -> Config:
    entry = of_keras("InputLayer", "x", batch_shape=[None, 4])
    inside = [entry, *layers, of_keras("Dense", "d", units=2)]
    return {**of_keras("Sequential", "s", "keras"), "config": {"name": "s", "layers": inside}}


def called(scene: Scene, module: str, name: str, *arguments: Any) -> Config:
    """A layer whose function is one of another module, and the arguments it would be called with."""
    function = {"class_name": "function", "module": module, "config": name, "registered_name": name}
    node = {"args": list(arguments), "kwargs": {}}
    return {**of_keras("Activation", "evil", activation=function), "inbound_nodes": [node]}


def class_of(scene: Scene, where: str, name: str, **config: Any) -> Path:
    layer = of_keras(name, "evil", where)
    layer["config"].update(config)
    return scene.archive(new_sequential(layer))


def external(scene: Scene) -> Callable[[h5py.File], Any]:
    return lambda file: file.create_dataset("layers/x", (9000,), "u1", external=[(str(scene.secret), 0, 9000)])


def linked(scene: Scene) -> Callable[[h5py.File], Any]:
    return lambda file: file.__setitem__("layers/x", h5py.ExternalLink(str(scene.secret), "/"))


def virtual(scene: Scene) -> Callable[[h5py.File], Any]:
    def change(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4,), "u1")
        layout[:] = h5py.VirtualSource(str(scene.secret), "x", (4,))
        file.create_virtual_dataset("layers/x", layout)

    return change


def huge(file: h5py.File) -> None:
    shape = h5py.h5s.create_simple((10**6, 10**6))
    group = file.require_group("layers")
    h5py.h5d.create(group.id, b"x", h5py.h5t.IEEE_F32LE, shape)


def packed(file: h5py.File) -> None:
    for number in range(6):
        shape = (2**28,)
        file.create_dataset(f"layers/x{number}", shape, "f4", chunks=(2**20,), compression="gzip")


def large_chunks(file: h5py.File) -> None:
    """Numbers, each of which lies in a part of 64 MB that is unpacked as a whole."""
    for number in range(2):
        place = f"layers/x{number}"
        file.create_dataset(place, (1,), "f4", chunks=(2**24,), maxshape=(None,), compression="gzip")[:] = 1


def many_filters(file: h5py.File) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((2**20,))
    for _ in range(30):
        plist.set_filter(h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FLAG_OPTIONAL, (4,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((2**20,)), plist)


def soft_links(file: h5py.File) -> None:
    group = file.create_group("layers")
    for number in range(30_000):
        group[str(number)] = h5py.SoftLink("/model_weights/d/bias")


def called_often(times: int) -> Config:
    return {**old("ReLU", "evil"), "inbound_nodes": [[["x", 0, 0, {"y": number}]] for number in range(times)]}


def bomb_beside_much(made: zipfile.ZipFile) -> None:
    made.writestr("assets/x", bytes(2**23))
    made.writestr("assets/y", bytes(2**28), zipfile.ZIP_DEFLATED, 9)


def link_member(target: str) -> Callable[[zipfile.ZipFile], Any]:
    def change(made: zipfile.ZipFile) -> None:
        member = zipfile.ZipInfo("assets/vocabulary.txt")
        member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        made.writestr(member, target)

    return change


def bomb(made: zipfile.ZipFile) -> None:
    with made.open(zipfile.ZipInfo("assets/x"), "w") as file:
        file.write(b"")
    made.writestr("assets/y", bytes(2**28), zipfile.ZIP_DEFLATED, 9)


def op_lambda(scene: Scene) -> Config:
    layer = old("TFOpLambda", "evil", function="io.read_file")
    return {**layer, "inbound_nodes": [["_CONSTANT_VALUE", -1, str(scene.secret), {}]]}


def passive(function: str) -> Config:
    """As an activation Keras 2 makes it, whatever it is."""
    return {"__passive_serialization__": True, **old("SlicingOpLambda", "op", function=function)}


def reading(scene: Scene) -> Config:
    """Makes the secret's path as text, and reads it where a nested model is called: in the place of an activation."""
    words = old("StringLookup", "s", invert=True, num_oov_indices=0, vocabulary=[str(scene.secret)] * 4)
    reader = sequential(old("Activation", "evil", activation=passive("io.read_file")))
    return sequential(words, reader)


def many_members(made: zipfile.ZipFile) -> None:
    for number in (*range(30_000), 29_999):
        made.writestr(zipfile.ZipInfo(f"assets/{number}"), b"")


def laughs(levels: int) -> Config:
    """Models in each other, each of which calls the next twice."""
    model, calls = old("ReLU", "m"), 0
    for level in range(levels):
        entry = {**old("InputLayer", "i", batch_input_shape=[None, 4]), "name": "i", "inbound_nodes": []}
        inner = {**model, "name": "m", "inbound_nodes": [[["i", 0, 0, {}]], [["m", calls, 0, {}]]]}
        ends = {"input_layers": [["i", 0, 0]], "output_layers": [["m", calls + 1, 0]]}
        config, calls = {"name": f"m{level}", "layers": [entry, inner], **ends}, 1
        model = {"class_name": "Functional", "config": config}
    return model


def large_input(*shape: int) -> Config:
    return old("InputLayer", "evil", batch_input_shape=[None, *shape])


def stateful(scene: Scene) -> Path:
    """A batch of a million, for each of which the layer keeps 2 000 numbers from one run to the next."""
    entry = of_keras("InputLayer", "x", batch_shape=[2**20, 1, 1])
    model = new_sequential(of_keras("LSTM", "evil", units=1000, stateful=True))
    model["config"]["layers"][0] = entry
    return scene.archive(model)


def with_input(shape: list[int], *layers: Config) -> Config:
    """Layers on an input of that shape, behind a Dense that the file has weights for: of 4 channels."""
    entry = {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, *shape]}}
    return {"class_name": "Sequential", "config": {"name": "s", "layers": [entry, old("Dense", "d", units=2), *layers]}}


# Files of little that declare much, in numbers that each layer may have; what the refusal names.
TALL = [[60000, 60000], [60000, 60000]]
BOMBS: list[tuple[str, Config, str]] = [
    ("padding", with_input([8, 8, 4], old("ZeroPadding2D", "z", padding=TALL)), "z/Pad (Pad)"),
    ("upsampling", with_input([8, 8, 4], *(old("UpSampling2D", f"u{n}", size=[8, 8]) for n in range(6))), "u"),
    ("repeating", with_input([4], old("RepeatVector", "r", n=2**20), old("UpSampling1D", "u", size=4)), "upsampling"),
    ("resizing", with_input([8, 8, 4], old("Resizing", "r", height=65000, width=65000)), "r/"),
    ("wide", with_input([4], old("Dense", "w", units=2**22), old("Dense", "v", units=2**22)), "w, v"),
]

URL = "http://127.0.0.1:9/evil.tar"

# The weakness, the file, and what the refusal names.
ATTACKS: list[tuple[str, Callable[[Scene], Path], str]] = [
    ("CVE-2024-3660, archive", lambda s: s.archive(new_sequential(s.new_lambda())), "config.json holds code"),
    ("CVE-2024-3660, of Keras 2", lambda s: s.archive(sequential(s.old_lambda()), version="2.12.0"), "Lambda in evil"),
    ("CVE-2025-9905, h5", lambda s: s.hdf5(sequential(s.old_lambda())), "Lambda in evil"),
    ("tf_keras h5, of Keras 3", lambda s: s.hdf5(new_sequential(s.new_lambda())), "Lambda in evil"),
    ("h5, nested", lambda s: s.hdf5(sequential(sequential(sequential(s.old_lambda())))), "Lambda in evil"),
    ("h5, TimeDistributed", lambda s: s.hdf5(sequential(old("TimeDistributed", "t", layer=s.old_lambda()))), "evil"),
    (
        "h5, Bidirectional",
        lambda s: s.hdf5(sequential(old("Bidirectional", "b", layer=old("LSTM", "l"), backward_layer=s.old_lambda()))),
        "Lambda in evil",
    ),
    ("h5, unknown wrapper", lambda s: s.hdf5(sequential(old("Mine", "t", of=[{"it": s.old_lambda()}]))), "evil"),
    ("h5, list of Keras 2.0", lambda s: s.hdf5({"class_name": "Sequential", "config": [s.old_lambda()]}), "evil"),
    ("h5, activation", lambda s: s.hdf5(sequential(old("Dense", "a", activation=[s.code, None, None]))), "marshalled"),
    ("h5, Keras 1 Merge", lambda s: s.hdf5(sequential(old("Merge", "a", mode="c", mode_type="lambda"))), "mode of a"),
    ("JSON", lambda s: s.json(json.dumps(sequential(s.old_lambda()))), "Lambda in evil"),
    (
        "compile_config",
        lambda s: s.archive({**new_sequential(), "compile_config": {"loss": s.new_lambda()["config"]["function"]}}),
        "__lambda__ in the training configuration",
    ),
    (
        "nested compile_config",
        lambda s: s.archive(new_sequential({**new_sequential(), "compile_config": {"metrics": [s.code]}})),
        "marshalled code in the training configuration",
    ),
    (
        "CVE-2025-1550, function",
        lambda s: s.archive(new_sequential(called(s, "os", "system", f"touch {s.witness}"))),
        "the function os.system in evil",
    ),
    ("CVE-2025-1550, class", lambda s: class_of(s, "os", "system", command=f"touch {s.witness}"), "os.system in evil"),
    ("CVE-2025-1550, Popen", lambda s: class_of(s, "subprocess", "Popen", args=["touch", str(s.witness)]), "Popen"),
    ("CVE-2025-1550, exec", lambda s: s.archive(new_sequential(called(s, "builtins", "exec", "1"))), "builtins.exec"),
    (
        "CVE-2025-8747, get_file",
        lambda s: s.archive(new_sequential(called(s, "keras.utils", "get_file", "x", URL))),
        "the function keras.utils.get_file in evil",
    ),
    (
        "CVE-2025-9906, safe mode",
        lambda s: s.archive(new_sequential(called(s, "keras.config", "enable_unsafe_deserialization"), s.new_lambda())),
        "the function keras.config.enable_unsafe_deserialization in evil",
    ),
    ("GHSA-pwq7-2gvj-vg9v", lambda s: class_of(s, "keras.src.utils.file_utils", "Progbar"), "keras.src.utils.file_uti"),
    ("GHSA-pwq7, numpy", lambda s: class_of(s, "numpy", "memmap", filename=str(s.secret)), "numpy.memmap in evil"),
    (
        "CVE-2025-12638, member",
        lambda s: s.archive(new_sequential(), change=lambda z: z.writestr("../w.py", "")),
        "w.py",
    ),
    ("CVE-2025-12638, absolute", lambda s: s.archive(new_sequential(), change=lambda z: z.writestr("/w", "")), "'/w'"),
    ("CVE-2025-12638, link", lambda s: s.archive(new_sequential(), change=link_member(str(s.secret))), "symbolic link"),
    (
        "CVE-2025-12638, tar",
        lambda s: s.archive(new_sequential(called(s, "keras.utils", "get_file", "x", URL, True))),
        "get_file",
    ),
    ("CVE-2026-0897, h5", lambda s: s.hdf5(sequential(), huge), "/layers/x: declared as (1000000, 1000000)"),
    ("CVE-2026-0897, archive", lambda s: s.archive(new_sequential(), weights=huge), "model.weights.h5 is refused: /l"),
    ("CVE-2026-0897, packed", lambda s: s.archive(new_sequential(), weights=packed), "bytes are declared"),
    ("huge Dense", lambda s: s.hdf5(sequential(old("Dense", "evil", units=10**9))), "evil (Dense): at least"),
    ("huge Dense as text", lambda s: s.hdf5(sequential(old("Dense", "evil", units="1" + "0" * 9))), "evil (Dense)"),
    ("huge LSTM", lambda s: s.archive(new_sequential(of_keras("LSTM", "evil", units=10**9))), "evil (LSTM)"),
    ("huge Conv", lambda s: s.hdf5(sequential(old("Conv2D", "evil", filters=10**9, kernel_size=[3, 3]))), "evil (Conv"),
    (
        "huge Embedding",
        lambda s: s.archive(new_sequential(of_keras("Embedding", "evil", input_dim=10**12, output_dim=1))),
        "evil (Embedding): at least 1000000000000 weights",
    ),
    ("more than stored", lambda s: s.hdf5(sequential(old("Dense", "evil", units=10**8))), "the file holds 10 numbers"),
    ("huge input", lambda s: s.hdf5(sequential(old("InputLayer", "evil", batch_input_shape=[None, 10**10]))), "evil"),
    (
        "huge constant",
        lambda s: s.archive(
            new_sequential({**of_keras("UpSampling1D", "evil", size=2**16), "inbound_nodes": [{"args": [[[[1.0]]]]}]})
        ),
        "a call with constants alone in evil",
    ),
    ("CVE-2026-1669, h5 storage", lambda s: s.hdf5(sequential(), external(s)), "/layers/x: stored in"),
    (
        "CVE-2026-1669, archive storage",
        lambda s: s.archive(new_sequential(), weights=external(s)),
        "/layers/x is stored",
    ),
    ("CVE-2026-1669, h5 link", lambda s: s.hdf5(sequential(), linked(s)), "/layers/x: a link to another file"),
    ("CVE-2026-1669, archive link", lambda s: s.archive(new_sequential(), weights=linked(s)), "/layers/x is a link"),
    ("CVE-2026-1669, virtual", lambda s: s.hdf5(sequential(), virtual(s)), "a virtual dataset"),
    ("CVE-2026-1462, archive", lambda s: class_of(s, "keras.layers", "TFSMLayer", filepath=str(s.folder)), "TFSMLayer"),
    ("CVE-2026-1462, h5", lambda s: s.hdf5(sequential(old("TFSMLayer", "evil", filepath="/x"))), "TFSMLayer in evil"),
    ("TorchModuleWrapper", lambda s: class_of(s, "keras.layers", "TorchModuleWrapper", module="gASV"), "Torch"),
    ("vectorized_map", lambda s: class_of(s, "keras.src.ops.core", "VectorizedMap"), "VectorizedMap in evil"),
    ("vocabulary", lambda s: s.hdf5(sequential(old("StringLookup", "evil", vocabulary=str(s.secret)))), "the file /"),
    ("TensorFlow function", lambda s: s.hdf5(sequential(op_lambda(s))), "the TensorFlow function io.read_file"),
    ("passive", lambda s: s.hdf5(reading(s)), "__passive_serialization__ in the activation of"),
    (
        "slicing activation",
        lambda s: s.hdf5(sequential(old("Dense", "a", activation=old("SlicingOpLambda", "evil", function="print")))),
        "SlicingOpLambda as the activation of evil",
    ),
    (
        "slicing layer",
        lambda s: s.hdf5(sequential(old("SlicingOpLambda", "evil", function="io.read_file"))),
        "the TensorFlow function io.read_file in evil",
    ),
    ("many members", lambda s: s.archive(new_sequential(), change=many_members), "its list of members is"),
    ("huge number", lambda s: s.hdf5(sequential(old("LSTM", "evil", units=10**300))), "evil (LSTM): at least"),
    ("long number", lambda s: s.hdf5(sequential(old("LSTM", "evil", units=10**3000))), "a whole number of 3001 digits"),
    ("models called twice each", lambda s: s.hdf5(laughs(24)), "more than 20000 calls"),
    ("large input", lambda s: s.hdf5(sequential(large_input(8192, 8192, 2))), "evil (InputLayer): batch_input_shape"),
    (
        "long loop",
        lambda s: s.hdf5(sequential(old("UpSampling1D", "u", size=4096), old("LSTM", "l", units=1, unroll=True))),
        "unroll with batch_input_shape",
    ),
    ("states of a huge batch", stateful, "a stateful layer of 1000 states with batch_shape"),
    (
        "many steps",
        lambda s: s.hdf5(sequential(large_input(40_000, 4), old("TimeDistributed", "t", layer=old("ReLU", "r")))),
        "TimeDistributed with batch_input_shape",
    ),
    ("large chunks", lambda s: s.hdf5(sequential(), large_chunks), "bytes are declared"),
    ("filters on filters", lambda s: s.hdf5(sequential(), many_filters), "packed by the filter 2 more than once"),
    ("many soft links", lambda s: s.hdf5(sequential(), soft_links), "a group of 30000"),
    ("bomb beside much", lambda s: s.archive(new_sequential(), change=bomb_beside_much), "is unpacked into 268435456"),
    ("many calls", lambda s: s.json(json.dumps(sequential(called_often(30_000)))), "more than 20000 calls"),
    ("zip bomb", lambda s: s.archive(new_sequential(), change=bomb), "'assets/y' is unpacked into 268435456 bytes"),
    ("deep JSON", lambda s: s.json('{"a":' * 10**5), "levels"),
    ("long JSON", lambda s: s.json("[" + "0," * (9 * 2**20)), "18874369 bytes"),
    ("key twice", lambda s: s.json('{"class_name": "A", "class_name": "Lambda", "config": {}}'), "'class_name' twice"),
]
