"""The state of turning a model to channels_last: its new calls, and how each tensor stands to the original's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.layer_graph import Call, LayerGraph, Leaf, Ref
from dnndk_prep.keras_io.layer_orders import SAME, MustNotShuffle, Order, Shuffled, all_flattens, index_of
from dnndk_prep.keras_io.layer_shapes import Shape, shapes_of


class Turner:
    """One way through the calls of `graph`; the Flatten calls in `keep` leave their features in the old order."""

    def __init__(self, graph: LayerGraph, keep: frozenset[int]) -> None:
        self.old, self.keep = graph, keep
        self.shapes = shapes_of(graph)
        self._new: list[Call] = []
        # What the old calls' outputs are now, in which order they stand, and which shape they had.
        self.refs: dict[Ref, Ref] = {}
        self.orders: dict[Ref, Order] = {}
        # The order that a layer's weights and settings were changed for at its first call.
        self.settled: dict[int, Order] = {}
        self._permuted: dict[tuple[Ref, str], Ref] = {}
        self._names = {leaf.name for leaf in graph.leaves()}

    def turned(self, handlers: Mapping[str, Handler], other: Handler) -> LayerGraph:
        """The new graph: each call done by the handler of its layer's kind, or by `other`."""
        for number, call in enumerate(self.old.calls):
            self.number = number
            order = handlers.get(call.leaf.kind, other)(self, call)
            for output in range(8):
                self.orders[number, output] = order
        outputs = []
        for ref in self.old.outputs:
            order = self.orders[ref]
            if isinstance(order, Shuffled):
                raise MustNotShuffle(order.flattens)
            outputs.append(self.refs[ref])
        inputs = [self.refs[ref] for ref in self.old.inputs]
        return LayerGraph(self.old.name, self._new, inputs, outputs, self.old.root)

    def in_order(self, ref: Ref, wanted: str) -> Ref:
        """The new tensor for the old one `ref`, in the order `wanted`."""
        order = self.orders[ref]
        if isinstance(order, Shuffled):
            raise MustNotShuffle(order.flattens)
        new = self.refs[ref]
        if order == wanted:
            return new
        if (ref, wanted) not in self._permuted:
            rank = len(self.shape(ref))
            dims = [rank - 1, *range(1, rank - 1)] if wanted == SAME else [*range(2, rank), 1]
            source = self.old.calls[ref[0]].leaf.name
            self._permuted[ref, wanted] = self.permute(
                new, dims, f"{source}_to_{'first' if wanted == SAME else 'last'}"
            )
        return self._permuted[ref, wanted]

    def permute(self, ref: Ref, dims: list[int], name: str) -> Ref:
        """The tensor `ref` of the new graph with its axes as `dims` says, which counts them from 1 after the batch."""
        self._new.append(Call(Leaf(self._free(name), "Permute", {"dims": dims}), [ref]))
        return len(self._new) - 1, 0

    def shape(self, ref: Ref) -> tuple[int | None, ...]:
        shape: Shape = self.shapes[ref[0]]
        if shape is None:
            raise self.refused(self.old.calls[ref[0]].leaf, "an output whose shape is not known")
        return shape

    def _free(self, name: str) -> str:
        while name in self._names:
            name += "_1"
        self._names.add(name)
        return name

    def emit(self, call: Call, inputs: list[Ref]) -> None:
        self._new.append(Call(call.leaf, inputs, call.kwargs))
        for output in range(8):
            self.refs[self.number, output] = (len(self._new) - 1, output)

    def refused(self, leaf: Leaf, found: str) -> ModelFileError:
        return ModelFileError(
            f"the layer {leaf.name!r} ({leaf.kind}) cannot be turned to channels_last exactly",
            expected="a layer that works the same on channels_last",
            found=found,
            remedy="build the model with data_format='channels_last' and train it again",
            code="K2D-0020",
        )

    def settle(self, call: Call, order: Order) -> bool:
        """Whether this is the layer's first call, for which its weights are to be changed; the others must agree."""
        key = id(call.leaf)
        if key not in self.settled:
            self.settled[key] = order
            return True
        first = self.settled[key]
        if index_of(first) != index_of(order):
            raise MustNotShuffle(all_flattens(first, order))
        return False


# Writes the new call of one call, and says in which order it gives its outputs.
Handler = Callable[[Turner, Call], Order]
