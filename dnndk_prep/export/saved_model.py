"""Writes a SavedModel: one graph of constants with named signature and tags, in the layout of TensorFlow Serving."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef, MetaGraphDef, SignatureDef, TensorInfo
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from dnndk_prep.errors import StageError, UsageError, nearest
from dnndk_prep.graph.artifact import TensorSpec
from dnndk_prep.graph.weights import constant
from dnndk_prep.keras_io.inference import LEARNING_PHASE

SAVED_MODEL_PB, ASSETS = "saved_model.pb", "assets"
# The version of the layout that every loader asks for (SAVED_MODEL_SCHEMA_VERSION).
SCHEMA = 1
# TensorFlow Serving answers Predict requests for signatures of this method alone.
METHOD = "tensorflow/serving/predict"
ASSET_COLLECTION = "saved_model_assets"


@dataclass(frozen=True)
class SavedModelSpec:
    """What is to be written: a graph without variables, and how programs call its tensors.

    inputs and outputs are keyed by their names in the signature. With `learning_phase`, the graph's boolean
    keras_learning_phase (a placeholder whose default is false) is an input, too.
    """

    graph_def: GraphDef
    reader: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    name: str
    version: int = 1
    signature: str = "serving_default"
    tags: tuple[str, ...] = ("serve",)
    # Files by their names in the folder assets/.
    assets: Mapping[str, Path] = field(default_factory=dict)
    learning_phase: bool = False


def write_saved_model(folder: Path, spec: SavedModelSpec) -> Path:
    """Write `folder`/<name>/<version>/ with saved_model.pb and assets/; returns that folder.

    Constants and no variables: nothing has to be restored, and TensorFlow 1.15, today's, Serving, C and Java load it.
    """
    target = folder / spec.name / str(spec.version)
    target.mkdir(parents=True)
    graph_def, assets = _with_assets(spec, target)
    meta = MetaGraphDef(graph_def=graph_def, asset_file_def=assets)
    meta.meta_info_def.tags.extend(spec.tags)
    meta.meta_info_def.tensorflow_version = spec.reader
    meta.signature_def[spec.signature].CopyFrom(_signature(spec))
    for asset in assets:
        # TensorFlow 1 finds assets in the collection, TensorFlow 2 in asset_file_def.
        meta.collection_def[ASSET_COLLECTION].any_list.value.add().Pack(asset)
    saved = SavedModel(saved_model_schema_version=SCHEMA, meta_graphs=[meta])
    (target / SAVED_MODEL_PB).write_bytes(saved.SerializeToString(deterministic=True))
    return target


def run_saved_model(
    folder: Path, tags: Sequence[str], signature: str, feeds: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What today's TensorFlow computes for the signature; feeds and results are keyed by the signature's names."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session, _no_advice():
        meta = tf.compat.v1.saved_model.load(session, list(tags), str(folder))
        found = meta.signature_def[signature]
        fed = {found.inputs[key].name: value for key, value in feeds.items()}
        return session.run({key: info.name for key, info in found.outputs.items()}, fed)


def signature_names(
    what: str, specs: Sequence[TensorSpec], own: Sequence[str], wanted: Mapping[str, str]
) -> dict[str, TensorSpec]:
    """The tensors by their names in the signature, in the model's order.

    own: what each is called where `wanted` does not say: the layer's name, or the op's. `wanted` maps one of the two to
    the new name. Raises UsageError for a key that is neither, and for a name that two tensors would have.
    """
    names = list(own) if len(set(own)) == len(own) else [spec.name for spec in specs]
    known = {name: i for i, name in enumerate(own)} | {spec.name: i for i, spec in enumerate(specs)}
    for key, new in wanted.items():
        if key not in known:
            raise UsageError(
                f"saved_model.{what}: the model has no {key!r}",
                expected=", ".join(names),
                found=key,
                remedy=f"did you mean {', '.join(nearest(key, known)) or ', '.join(names)}?",
                code="K2D-0019",
            )
        names[known[key]] = new
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"saved_model.{what}: two tensors would be called {twice[0]!r}",
            expected="a name of its own for each",
            found=", ".join(names),
            remedy="choose other names",
        )
    return dict(zip(names, specs, strict=True))


def _signature(spec: SavedModelSpec) -> SignatureDef:
    signature = SignatureDef(method_name=METHOD)
    for places, tensors in ((signature.inputs, spec.inputs), (signature.outputs, spec.outputs)):
        for key, tensor in tensors.items():
            places[key].CopyFrom(_info(tensor))
    if spec.learning_phase:
        if LEARNING_PHASE in spec.inputs:
            raise StageError(f"the model has an input {LEARNING_PHASE} of its own", remedy="leave out learning_phase")
        signature.inputs[LEARNING_PHASE].CopyFrom(_info(TensorSpec(LEARNING_PHASE, (), "bool")))
        # Serving takes it from here where a request leaves it out; releases that do not know the field want it fed.
        signature.defaults[LEARNING_PHASE].CopyFrom(_tensor(np.array(False)))
    return signature


def _info(spec: TensorSpec) -> TensorInfo:
    shape = tf.TensorShape(spec.shape).as_proto()
    return TensorInfo(name=f"{spec.name}:0", dtype=tf.as_dtype(spec.dtype).as_datatype_enum, tensor_shape=shape)


def _tensor(value: np.ndarray) -> TensorProto:
    return tf.make_tensor_proto(value)


def _with_assets(spec: SavedModelSpec, target: Path) -> tuple[GraphDef, list[AssetFileDef]]:
    """The graph with a string constant for each asset, which loaders feed with the file's place; the files copied."""
    if not spec.assets:
        return spec.graph_def, []
    graph_def = GraphDef()
    graph_def.CopyFrom(spec.graph_def)
    taken = {node.name for node in graph_def.node}
    assets = []
    for number, (file, path) in enumerate(spec.assets.items()):
        (target / ASSETS / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / ASSETS / file)
        name = f"asset_path_{number}"
        while name in taken:
            name += "_1"
        graph_def.node.append(constant(name, np.array(file, dtype=object)))
        assets.append(AssetFileDef(tensor_info=TensorInfo(name=f"{name}:0"), filename=file))
    return graph_def, assets


@contextmanager
def _no_advice() -> Iterator[None]:
    """Without TensorFlow's notes that its version 1 is old, and that there is nothing to restore."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
