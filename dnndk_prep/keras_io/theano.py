"""Models in Theano's order, or trained by Theano, as models for TensorFlow with channels last.

Theano's convolution is a true one: it turns the kernel by 180 degrees. Its padding "same" lies elsewhere than
TensorFlow's. Both follow from keras/backend/theano_backend.py of Keras 1.2 and 2.3, and hold for either order of axes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.architecture import Config, expect_complete, layers_of
from dnndk_prep.keras_io.channels_last import to_channels_last
from dnndk_prep.keras_io.keras1 import is_keras1, keras1_to_keras2
from dnndk_prep.keras_io.keras2 import to_keras2
from dnndk_prep.keras_io.layer_graph import Call, LayerGraph, Leaf, Ref, flatten, to_architecture
from dnndk_prep.keras_io.layer_shapes import (
    CONVOLUTIONS,
    POOLINGS,
    RANKS,
    TRANSPOSED,
    Shape,
    is_channels_first,
    shapes_of,
    window,
)
from dnndk_prep.keras_io.stored_weights import Weights, give_weights, is_numbered, stored_groups, write_weights
from dnndk_prep.keras_io.through_keras import major

# Theano turns these kernels. Keras turns a depthwise kernel before, and a pointwise one has nothing to turn.
TURNED: Mapping[str, int] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose"), 1),
    "ConvLSTM2D": 2,
}
NOT_NEGATIVE = ("relu", "sigmoid", "hard_sigmoid", "softmax", "softplus")
PASS_SIGN = ("Dropout", "Flatten", "Concatenate", "Reshape", "Permute", "Add", "Average", "Maximum", *POOLINGS)


def converted(
    architecture: Config, group: h5py.Group, version: str, file: str
) -> tuple[Config, tempfile.TemporaryDirectory[str]] | None:
    """A model of Keras 1, of Theano or in channels_first as a Keras 2 model for TensorFlow in channels_last.

    architecture: as Keras wrote it; group: the weights in the classic layout; version: of that Keras.
    Returns the architecture, one functional model, and a folder with its weights as model.h5; None for a model that is
    none of these. Raises ModelFileError that names the layer which has no exact form.
    """
    is_first = is_keras1(architecture, version)
    if is_numbered(group) and not is_first:
        raise _of_another_keras(file)
    is_theano = major(version) < 3 and backend_of(group, is_first) == "theano"
    if not (is_first or is_theano or _has_channels_first(architecture)):
        return None
    with expect_complete(file):
        if major(version) >= 3:
            architecture = to_keras2(architecture)
        graph = flatten(keras1_to_keras2(architecture, file) if is_first else architecture, file)
        if is_numbered(group):
            check_numbered(graph)
        give_weights(graph, stored_groups(group), is_first, file)
        if is_first:
            settle_output_shapes(graph)
        if is_theano:
            as_tensorflow(graph)
        graph = to_channels_last(graph)
        made = tempfile.TemporaryDirectory(prefix="dnndk_prep_")
        write_weights(graph, Path(made.name) / "model.h5")
        return to_architecture(graph), made


def backend_of(group: h5py.Group, is_first: bool) -> str:
    """The backend that trained the weights. Keras 2 writes it; in Keras 1 only TensorFlow's variables end in ":0".

    Of weights of Keras before 1.0, which have no names, it is taken for Theano, its own backend.
    """
    if not is_first:
        name = group.attrs.get("backend", "tensorflow")
        return name.decode() if isinstance(name, bytes) else str(name)
    names = [name for names, _ in stored_groups(group).values() for name in names]
    return "tensorflow" if any(name.endswith(":0") for name in names) or not names else "theano"


def check_numbered(graph: LayerGraph) -> None:
    """Raises ModelFileError for layers that Keras before 1.0 computed otherwise than Keras 1."""
    for leaf in graph.leaves():
        if leaf.kind == "BatchNormalization":
            raise _refused(leaf, "weights of Keras before 1.0", "layers that computed the same in Keras 1")
        if leaf.config.get("padding") == "same":
            _expect_odd(leaf, leaf.kind, leaf.config)


def _of_another_keras(file: str) -> ModelFileError:
    return ModelFileError(
        f"the weights in {file} are of Keras before 1.0, the architecture is of Keras 2 or later",
        expected="the architecture as Keras 1 writes it, with Convolution2D, border_mode and dim_ordering",
        found="layer_0, layer_1, ... in the weights file, which tells neither names nor the layout of kernels",
        remedy="build the model in Keras 1, and give its model.to_json() with these weights",
        code="K2D-0020",
    )


def _has_channels_first(architecture: Config) -> bool:
    configs = [layer["config"] for layer in layers_of(architecture) if isinstance(layer.get("config"), dict)]
    return any(is_channels_first(config) for config in configs)


def settle_output_shapes(graph: LayerGraph) -> None:
    """Turn the output shape that a Keras 1 Deconvolution2D has into Keras 2's output_padding, where it needs one.

    Raises ModelFileError where no output_padding gives that shape.
    """
    for call in graph.calls:
        wanted = call.leaf.config.pop("output_shape", None) if call.leaf.kind == "Conv2DTranspose" else None
        if wanted is None:
            continue
        before = shapes_of(graph)
        given = before[graph.calls.index(call)]
        axes = slice(2, 4) if is_channels_first(call.leaf.config) else slice(1, 3)
        if given is not None and list(given[axes]) == list(wanted[axes]):
            continue
        call.leaf.config["output_padding"] = [0, 0]
        plain = shapes_of(graph)[graph.calls.index(call)]
        _, strides = window(call.leaf.config, 2)
        sizes = list(plain[axes]) if plain is not None else [None, None]
        more = [w - s if s is not None else -1 for w, s in zip(wanted[axes], sizes, strict=True)]
        if not all(0 <= extra < stride for extra, stride in zip(more, strides, strict=True)):
            raise _refused(call.leaf, f"output_shape: {wanted}", "an output shape that Keras 2 can compute")
        call.leaf.config["output_padding"] = more


def as_tensorflow(graph: LayerGraph) -> None:
    """Change what Theano computed otherwise: kernels, and the place of the padding.

    Raises ModelFileError that names the layer whose padding TensorFlow cannot have.
    """
    for leaf in graph.leaves():
        if leaf.kind == "UpSampling2D" and leaf.config.get("interpolation") == "bilinear":
            raise _refused(
                leaf, "interpolation: 'bilinear'", "'nearest': Theano interpolates otherwise than TensorFlow"
            )
        leaf.weights = turned(leaf.kind, leaf.config, leaf.weights)
    for leaf in graph.leaves():
        calls = [call for call in graph.calls if call.leaf is leaf]
        if leaf.config.get("padding") == "same":
            _settle_padding(graph, leaf, calls)
        inner = leaf.config.get("layer")
        if inner and isinstance(inner["config"], dict) and inner["config"].get("padding") == "same":
            _expect_odd(leaf, inner["class_name"], inner["config"])


def turned(kind: str, config: Config, weights: Weights) -> Weights:
    """The weights of a layer, in Keras 2's layout, with the kernels turned by 180 degrees that Theano turns."""
    if kind in ("TimeDistributed", "Bidirectional") and config["layer"]["class_name"] in TURNED:
        inner = config["layer"]
        count = len(weights) // (2 if kind == "Bidirectional" else 1)
        parts = [weights[start : start + count] for start in range(0, len(weights), count or 1)]
        return [value for part in parts for value in turned(inner["class_name"], inner["config"], part)]
    count = TURNED.get(kind, 0)
    return [np.flip(value, tuple(range(value.ndim - 2))) for value in weights[:count]] + list(weights[count:])


def _settle_padding(graph: LayerGraph, leaf: Leaf, calls: Sequence[Call]) -> None:
    if leaf.kind in TRANSPOSED or leaf.kind == "ConvLSTM2D":
        _expect_odd(leaf, leaf.kind, leaf.config)
        return
    if leaf.kind not in (*CONVOLUTIONS, *POOLINGS):
        return
    rank = RANKS[leaf.kind]
    kernel, strides = window(leaf.config, rank)
    before = [_pool_padding(size) if leaf.kind in POOLINGS else size // 2 for size in kernel]
    shapes = shapes_of(graph)
    sizes = [_spatial_sizes(leaf.config, shapes[call.inputs[0][0]], rank) for call in calls]
    if all(_tensorflow_padding(size, kernel, strides) == before for size in sizes):
        return
    if leaf.kind in POOLINGS:
        pairs = _pool_pairs(graph, leaf, calls, sizes, before)
    else:
        pairs = [[first, (size - 1) // 2] for first, size in zip(before, kernel, strict=True)]
    if rank == 1 and is_channels_first(leaf.config):
        raise _refused(leaf, "padding: 'same'", "padding that TensorFlow has in channels_first")
    leaf.config["padding"] = "valid"
    config = {"padding": pairs[0] if rank == 1 else pairs}
    if rank > 1:
        config["data_format"] = leaf.config.get("data_format", "channels_last")
    names = {leaf.name for leaf in graph.leaves()}
    for call in calls:
        name = f"{leaf.name}_padding"
        while name in names:
            name += "_1"
        names.add(name)
        insert_before(graph, call, Leaf(name, f"ZeroPadding{rank}D", dict(config)))


def _expect_odd(leaf: Leaf, kind: str, config: Config) -> None:
    kernel, strides = window(config, RANKS.get(kind, 2))
    if any(size % 2 == 0 or stride != 1 for size, stride in zip(kernel, strides, strict=True)):
        raise _refused(leaf, "padding: 'same'", "an odd kernel and strides of 1, where Theano pads as TensorFlow does")


def insert_before(graph: LayerGraph, call: Call, leaf: Leaf) -> None:
    """Let `leaf` stand between a call and its only input."""
    place = next(number for number, other in enumerate(graph.calls) if other is call)

    def moved(ref: Ref) -> Ref:
        return (ref[0] + (ref[0] >= place), ref[1])

    first = call.inputs[0]
    for other in graph.calls:
        other.inputs = [moved(ref) for ref in other.inputs]
    graph.inputs, graph.outputs = [moved(ref) for ref in graph.inputs], [moved(ref) for ref in graph.outputs]
    graph.calls.insert(place, Call(leaf, [first]))
    call.inputs = [(place, 0)]


def _pool_padding(size: int) -> int:
    """What Keras makes Theano pad on each side of a pooling with "same"."""
    return size - 2 if size > 2 and size % 2 else size - 1


def _tensorflow_padding(sizes: Sequence[int | None], kernel: list[int], strides: list[int]) -> list[int]:
    """What TensorFlow pads before each axis with "same"; -1 where that depends on a size that is not known."""
    result = []
    for size, window_size, stride in zip(sizes, kernel, strides, strict=True):
        if stride == 1:
            result.append((window_size - 1) // 2)
        elif size is None:
            result.append(-1)
        else:
            result.append(max((-(-size // stride) - 1) * stride + window_size - size, 0) // 2)
    return result


def _spatial_sizes(config: Config, shape: Shape, rank: int) -> list[int | None]:
    if shape is None:
        return [None] * rank
    return list(shape[2:] if is_channels_first(config) else shape[1:-1])


def _pool_pairs(
    graph: LayerGraph, leaf: Leaf, calls: Sequence[Call], sizes: Sequence[list[int | None]], before: list[int]
) -> list[list[int]]:
    """Zeros that do for a pooling what Theano's padding did: under a maximum, of values that are not negative."""
    exact = leaf.kind.startswith("Max") and all(_is_not_negative(graph, call.inputs[0]) for call in calls)
    if not exact or any(size != sizes[0] or None in size for size in sizes):
        raise _refused(leaf, "padding: 'same'", "a pooling whose windows TensorFlow lays as Theano does")
    kernel, strides = window(leaf.config, RANKS[leaf.kind])
    pairs = []
    for size, window_size, stride, first in zip(sizes[0], kernel, strides, before, strict=True):
        assert size is not None
        count = -(-size // stride)
        pairs.append([first, max(0, (count - 1) * stride + window_size - size - first)])
    return pairs


def _is_not_negative(graph: LayerGraph, ref: Ref) -> bool:
    call = graph.calls[ref[0]]
    kind, config = call.leaf.kind, call.leaf.config
    if config.get("activation") in NOT_NEGATIVE or (kind == "ReLU" and not config.get("negative_slope")):
        return True
    is_passed = kind in PASS_SIGN or kind.startswith("ZeroPadding")
    return is_passed and bool(call.inputs) and all(_is_not_negative(graph, source) for source in call.inputs)


def _refused(leaf: Leaf, found: str, expected: str) -> ModelFileError:
    return ModelFileError(
        f"the layer {leaf.name!r} ({leaf.kind}) has no form in TensorFlow that gives the same numbers",
        expected=expected,
        found=found,
        remedy="replace the layer in the model (for example by ZeroPadding and 'valid') and train it again",
        code="K2D-0020",
    )
