"""What is too large, found before anything is built from it: weights for a frozen graph, activations for the memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import h5py
import numpy as np
import tensorflow as tf

from dnndk_prep.errors import StageError
from dnndk_prep.wire import MAX_BYTES

# One tensor for one example; a DPU's memory holds far less, and every proof runs several examples at once.
MAX_TENSOR_BYTES = 2**29


def check_weights(group: h5py.Group, file: str, kept: Sequence[str] = ()) -> None:
    """Raises StageError where the weights would not fit into one frozen graph, for protobuf ends at 2 GiB.

    group: the stored weights, of which the sizes alone are read. kept: the variables of freeze_graph.keep_vars, which
    stay out of the graph.
    """
    sizes = {name: dataset.size * _item_size(dataset) for name, dataset in _weights(group)}
    total = sum(size for name, size in sizes.items() if not _is_kept(name, kept))
    if total <= MAX_BYTES:
        return
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    raise StageError(
        f"the weights in {file} do not fit into one frozen graph",
        expected=f"at most {MAX_BYTES} bytes: protobuf writes no file of 2 GiB or more",
        found=f"{total} bytes ({total / 2**30:.2f} GiB) in float32; the largest: {', '.join(largest)}",
        remedy="keep the large ones in the checkpoint: freeze_graph.keep_vars; or split the model",
    )


def check_tensors(inputs: Sequence[tf.Tensor], file: str) -> int:
    """The bytes of the largest tensor that is computed from `inputs`, for one example.

    Raises StageError that names the first one that is too large.
    """
    largest = 0
    seen: set[str] = set()
    waiting = [tensor.op for tensor in inputs]
    while waiting:
        op = waiting.pop()
        if op.name in seen:
            continue
        seen.add(op.name)
        for tensor in op.outputs:
            size = _bytes(tensor)
            if size > MAX_TENSOR_BYTES:
                raise StageError(
                    f"{op.name} ({op.type}) of the model in {file} gives more than can be computed here",
                    expected=f"at most {MAX_TENSOR_BYTES} bytes in one tensor, for one example",
                    found=f"{size} bytes: shape {tensor.shape}, {tensor.dtype.name}",
                    remedy="build the model for a smaller input, or without that layer",
                )
            largest = max(largest, size)
            waiting += tensor.consumers()
    return largest


def _bytes(tensor: tf.Tensor) -> int:
    """The size for a batch of one; 0 where it is not known or no number."""
    if tensor.shape.rank is None or not (tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool):
        return 0
    sizes = tensor.shape.as_list()
    if sizes and sizes[0] is None:
        sizes[0] = 1
    return 0 if None in sizes else int(np.prod(sizes, dtype=object)) * tensor.dtype.size


def _weights(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    for name, item in group.items():
        if name == "optimizer_weights":
            continue
        if isinstance(item, h5py.Dataset):
            yield item.name, item
        elif isinstance(item, h5py.Group):
            yield from _weights(item)


def _item_size(dataset: h5py.Dataset) -> int:
    """Bytes of one number in the graph: floats of every precision become float32."""
    return 4 if dataset.dtype.kind == "f" else int(dataset.dtype.itemsize)


def _is_kept(name: str, kept: Sequence[str]) -> bool:
    return any(name.removesuffix(":0").endswith(f"/{variable}") for variable in kept)
