"""Which tensor of a TensorFlow checkpoint is which weight of a Keras model, by names, places and shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Shape = tuple[int, ...]
Key = TypeVar("Key")
Value = TypeVar("Value")
Item = TypeVar("Item", "Weight", "Tensor")

# What others call the weights of a layer: TF-Slim, Sonnet, hand-written graphs.
ROLES: Mapping[str, str] = {
    **dict.fromkeys(("weights", "weight", "w", "W", "depthwise_kernel", "depthwise_weights"), "kernel"),
    "pointwise_weights": "pointwise_kernel",
    **dict.fromkeys(("biases", "b", "B"), "bias"),
    "scale": "gamma",
    "offset": "beta",
    **dict.fromkeys(("moving_avg", "running_mean"), "moving_mean"),
    **dict.fromkeys(("moving_var", "running_var"), "moving_variance"),
    **dict.fromkeys(("embedding", "embedding_weights"), "embeddings"),
}
# The halves of a Bidirectional: the direction says all. Keras 2 writes it again where Keras 3 has written it already.
HALF = re.compile(r"(?<=/)(forward|backward)_[^/]*(?=/)")


@dataclass(frozen=True)
class Weight:
    """A weight of the model: its layer, its name in the file, shape and dtype."""

    layer: str
    path: str
    shape: Shape
    dtype: str

    @property
    def name(self) -> str:
        """The one name that a map uses: layer/weight, where the layer is not said twice."""
        path = self.path.removesuffix(":0")
        return path if path.startswith(f"{self.layer}/") else f"{self.layer}/{path}"


@dataclass(frozen=True)
class Tensor:
    """A tensor of the checkpoint or graph."""

    name: str
    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Match:
    """A weight, its tensor and why; the axes are turned by `transpose` before the shape becomes the weight's."""

    weight: Weight
    tensor: Tensor
    how: str
    transpose: Shape | None = None


def match_weights(weights: Sequence[Weight], tensors: Sequence[Tensor], given: Sequence[Match] = ()) -> list[Match]:
    """`given` and all matches that can be told for sure, in the order of `weights`.

    A rule pairs a weight with a tensor only where it leaves no other choice on either side: equal shapes alone say
    nothing about which of two layers is meant, and the order of a checkpoint is that of the alphabet.
    """
    found = _Found(weights, tensors, given)
    for how, keys in BY_NAME:
        found.pair_by_name(how, keys)
    before = -1
    while before != len(found.matches):
        before = len(found.matches)
        found.pair_beside()
        found.pair_by_numbers()
        found.pair_by_shapes()
    return [found.matches[weight] for weight in weights if weight in found.matches]


def fits(weight: Weight, tensor: Tensor) -> bool:
    """Whether the tensor's numbers are the weight's in the same order.

    So are those of another rank with axes of size 1, and those of a convolution over the whole image, which is a Dense
    after a Flatten: [height, width, inputs, outputs] and [height * width * inputs, outputs].
    """
    wanted, there = weight.shape, tensor.shape
    if _kind(weight.dtype) != _kind(tensor.dtype):
        return False
    if wanted == there:
        return True
    if len(wanted) != len(there) and [size for size in wanted if size != 1] == [size for size in there if size != 1]:
        return True
    is_dense = len(wanted) == 2 and len(there) == 4 and role(weight.name) == "kernel"
    return is_dense and wanted == (math.prod(there[:3]), there[3])


def role(name: str) -> str:
    """What a weight is in its layer, in Keras' words: kernel, bias, gamma ..."""
    last = name.rpartition("/")[2]
    return ROLES.get(last, last)


def scope(name: str) -> str:
    return name.rpartition("/")[0]


def _exact(name: str) -> Iterable[str]:
    return [name]


def _respelled(name: str) -> Iterable[str]:
    return [HALF.sub(r"\1", f"{scope(name)}/{role(name)}")]


def _ends(name: str) -> Iterable[str]:
    parts = next(iter(_respelled(name))).split("/")
    return ["/".join(parts[start:]) for start in range(len(parts) - 1)]


# In this order: how sure a rule is.
BY_NAME: Sequence[tuple[str, Callable[[str], Iterable[str]]]] = (
    ("the same name", _exact),
    ("the same name in other words", _respelled),
    ("the same name under a prefix", _ends),
)


class _Found:
    def __init__(self, weights: Sequence[Weight], tensors: Sequence[Tensor], given: Sequence[Match]) -> None:
        self.matches = {match.weight: match for match in given}
        used = {match.tensor for match in given}
        self._weights = {weight: None for weight in weights if weight not in self.matches}
        self._tensors = {tensor: None for tensor in tensors if tensor not in used}

    def _take(self, weight: Weight, tensor: Tensor, how: str) -> None:
        self.matches[weight] = Match(weight, tensor, how)
        del self._weights[weight]
        del self._tensors[tensor]

    def pair_by_name(self, how: str, keys: Callable[[str], Iterable[str]]) -> None:
        by_key: dict[str, list[Tensor]] = {}
        for tensor in self._tensors:
            for key in keys(tensor.name):
                by_key.setdefault(key, []).append(tensor)
        wanted: dict[Weight, list[Tensor]] = {}
        for weight in self._weights:
            names = {weight.name, weight.path.removesuffix(":0")}
            own = names if keys is _exact else {next(iter(_respelled(name))) for name in names}
            near = {tensor: None for key in own for tensor in by_key.get(key, []) if fits(weight, tensor)}
            wanted[weight] = list(near)
        for weight, tensor in _only(wanted):
            self._take(weight, tensor, how)

    def pair_beside(self) -> None:
        """The rest of a layer lies where its first weight lies."""
        places: dict[str, set[str]] = {}
        for match in self.matches.values():
            places.setdefault(scope(match.weight.name), set()).add(scope(match.tensor.name))
        wanted: dict[Weight, list[Tensor]] = {}
        for weight in self._weights:
            there = places.get(scope(weight.name), set())
            wanted[weight] = [
                tensor
                for tensor in self._tensors
                if scope(tensor.name) in there and role(tensor.name) == role(weight.name) and fits(weight, tensor)
            ]
        for weight, tensor in _only(wanted):
            self._take(weight, tensor, "in the place of its layer")

    def pair_by_numbers(self) -> None:
        """block4_conv2 is conv4/conv4_2, where all layers of these shapes have the same numbers on both sides."""
        groups: dict[tuple[tuple[str, Shape], ...], list[tuple[tuple[str, ...], list[Weight]]]] = {}
        for weights in self._places(self._weights).values():
            shapes = tuple(sorted((role(weight.name), weight.shape) for weight in weights))
            groups.setdefault(shapes, []).append((_numbers(weights[0].layer), weights))
        for layers in groups.values():
            there = {
                place: found
                for place, tensors in self._places(self._tensors).items()
                if (found := _fitting(layers[0][1], tensors))
            }
            by_number = {_numbers(place.rpartition("/")[2]): place for place in there}
            ours = [numbers for numbers, _ in layers]
            if len(by_number) == len(there) and sorted(ours) == sorted(by_number) and () not in ours:
                for numbers, weights in layers:
                    tensors = self._places(self._tensors)[by_number[numbers]]
                    self._take_all(weights, tensors, "the same numbers in the name, and the same shapes")

    def pair_by_shapes(self) -> None:
        """A layer that fits one place alone, which no other layer fits."""
        there = self._places(self._tensors)
        wanted = {
            tuple(weights): [place for place, tensors in there.items() if _fitting(weights, tensors)]
            for weights in self._places(self._weights).values()
        }
        for weights, place in _only(wanted):
            self._take_all(list(weights), there[place], "the only one with these shapes")

    def _take_all(self, weights: Sequence[Weight], tensors: Sequence[Tensor], how: str) -> None:
        pairs = _fitting(weights, tensors)
        for weight, tensor in pairs.items():
            self._take(weight, tensor, how)

    @staticmethod
    def _places(items: Iterable[Item]) -> dict[str, list[Item]]:
        places: dict[str, list[Item]] = {}
        for item in items:
            places.setdefault(scope(item.name), []).append(item)
        return places


def _fitting(weights: Sequence[Weight], tensors: Sequence[Tensor]) -> dict[Weight, Tensor]:
    """Each weight's tensor in one place by its role; nothing unless every one of them has one that fits."""
    by_role = {role(tensor.name): tensor for tensor in tensors}
    if len(by_role) != len(tensors) or len({role(weight.name) for weight in weights}) != len(weights):
        return {}
    pairs = {weight: by_role.get(role(weight.name)) for weight in weights}
    result = {weight: tensor for weight, tensor in pairs.items() if tensor is not None and fits(weight, tensor)}
    return result if len(result) == len(weights) else {}


def _only(wanted: Mapping[Key, Sequence[Value]]) -> list[tuple[Key, Value]]:
    """The pairs in which neither has another choice."""
    askers: dict[Value, int] = {}
    for values in wanted.values():
        for value in values:
            askers[value] = askers.get(value, 0) + 1
    return [(key, values[0]) for key, values in wanted.items() if len(values) == 1 and askers[values[0]] == 1]


def _numbers(name: str) -> tuple[str, ...]:
    return tuple(number.lstrip("0") or "0" for number in re.findall(r"\d+", name))


def _kind(dtype: str) -> str:
    return "float" if "float" in dtype else dtype
