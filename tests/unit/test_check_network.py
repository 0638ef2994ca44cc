"""The network of the operator check: its shapes, its groups, and the subgraphs that follow from verdicts."""

from __future__ import annotations

from check_networks import LAYER, Build, checked

from dnndk_prep.check.fusion import group


def kinds(build: Build, *outputs: str) -> dict[str, str]:
    return {one.end: one.kind for one in group(build.network(*outputs)) if one.kind != "constant"}


def shape(make) -> tuple[int | None, ...] | None:
    build = Build()
    name = make(build)
    return build.network().shape(name)


def test_convolutions_and_pools():
    assert shape(lambda b: b.conv(b.image(13), stride=2)) == (None, 7, 7, 8)
    assert shape(lambda b: b.conv(b.image(13), stride=2, padding="VALID")) == (None, 6, 6, 8)
    assert shape(lambda b: b.conv(b.image(13), dilation=2, padding="VALID")) == (None, 9, 9, 8)
    assert shape(lambda b: b.conv(b.image(9, 4), kind="DepthwiseConv2dNative", channels=(4, 2))) == (None, 9, 9, 8)
    assert shape(lambda b: b.pool(b.image(9), "MaxPool", 3, 2)) == (None, 4, 4, 3)


def test_shapes_that_are_computed():
    def rows(b: Build) -> str:
        image = b.image(4, 8)
        sizes = b.op("Shape", image, dtype="int32")
        batch = b.op("StridedSlice", sizes, b.ints([0]), b.ints([1]), b.ints([1]), dtype="int32", shrink_axis_mask=1)
        return b.op("Reshape", image, b.op("Pack", batch, b.ints(-1), dtype="int32"))

    assert shape(rows) == (None, 128)
    assert shape(lambda b: b.op("Reshape", b.image(4, 8), b.ints(-1, 2, 64))) == (None, 2, 64)
    assert shape(lambda b: b.op("Mean", b.image(4), b.ints(1, 2), keep_dims=True)) == (None, 1, 1, 3)
    assert shape(lambda b: b.op("Add", b.image(1, 8), b.image(4, 8))) == (None, 4, 4, 8)
    assert shape(lambda b: b.op("NotKnown", b.image())) is None


def test_a_layer_takes_its_bias_and_activation():
    build = Build()
    relu = build.op("Relu", build.biased(build.image()))
    found = group(build.network(relu))[-1]
    assert (found.kind, found.end, len(found.members)) == ("conv", relu, 3)
    assert found.activation is not None


def test_two_readers_part_a_layer_from_its_activation():
    build = Build()
    conv = build.biased(build.image())
    relu = build.op("Relu", conv)
    total = build.op("Add", relu, conv)
    assert kinds(build, total) == {"input0": "input", conv: "conv", relu: "activation", total: "add"}


def test_a_bias_of_its_own_stays_one():
    """The 3 of a hard-sigmoid is no second bias."""
    build = Build()
    x = build.biased(build.image())
    gate = build.op("Mul", build.op("Relu6", build.op("AddV2", x, build.const(3.0))), build.const(1 / 6))
    assert kinds(build, gate) == {"input0": "input", x: "conv", gate: "activation"}


def test_a_form_that_is_read_inside_is_none():
    build = Build()
    x = build.biased(build.image())
    sigmoid = build.op("Sigmoid", x)
    swish = build.op("Mul", x, sigmoid)
    assert kinds(build, swish)[swish] == "activation"
    both = kinds(build, swish, sigmoid)
    assert (both[swish], both[sigmoid]) == ("multiply", "activation")


def test_what_is_not_computed_is_folded_away():
    def make(b: Build) -> None:
        image = b.image(8, 8)
        kernel = b.op("Identity", b.weights(3, 3, 8, 8))
        sizes = b.op("Shape", image, dtype="int32", name="sizes")
        batch = b.op("StridedSlice", sizes, b.ints([0]), b.ints([1]), b.ints([1]), dtype="int32", shrink_axis_mask=1)
        halves = [
            b.op(
                "Mul",
                b.op("StridedSlice", sizes, b.ints([n]), b.ints([n + 1]), b.ints([1]), dtype="int32"),
                b.ints(2),
                dtype="int32",
            )
            for n in (1, 2)
        ]
        size = b.op("Pack", batch, *halves, b.ints(8), dtype="int32", name="size")
        b.op("Conv2DBackpropInput", size, kernel, image, name=LAYER, strides=[1, 2, 2, 1], padding="SAME")

    nodes = {node.node: node for node in checked(make).nodes}
    assert nodes[LAYER].placement == "dpu"
    assert {node.placement for name, node in nodes.items() if name != LAYER} == {"folded"}
    assert nodes["size"].rule == "sizes"


def test_subgraphs_follow_each_other():
    def make(b: Build) -> None:
        x = b.biased(b.image())
        side = b.op("Tanh", x, name="tanh")
        y = b.biased(x, channels=(8, 8))
        b.op("Softmax", b.op("Add", b.biased(side, channels=(8, 8)), y))

    result = checked(make)
    assert [part.device for part in result.subgraphs] == ["dpu", "cpu", "dpu", "cpu"]
    assert result.subgraphs[1].nodes == ("tanh",)
    # The second convolution needs nothing of the CPU: it runs with the first.
    assert len(result.subgraphs[0].nodes) == 4
    where = {name: place for place, part in enumerate(result.subgraphs) for name in part.nodes}
    assert sorted(where) == sorted(node.node for node in result.nodes if node.placement != "folded")


def test_what_waits_for_the_cpu_alone_runs_with_what_is_behind_it():
    """Two inputs: the one through the CPU, the other straight to the DPU, which need not run twice."""

    def make(b: Build) -> None:
        late = b.op("Tanh", b.biased(b.op("Tanh", b.image(), name="first")), name="second")
        b.op("Add", b.biased(late, channels=(8, 8)), b.biased(b.image()), name="sum")

    parts = checked(make).subgraphs
    assert [part.device for part in parts] == ["cpu", "dpu", "cpu", "dpu"]
    assert len(parts[-1].nodes) == 5


def test_what_is_apart_is_two_subgraphs():
    def make(b: Build) -> tuple[str, ...]:
        return b.biased(b.image()), b.biased(b.image())

    assert [part.device for part in checked(make).subgraphs] == ["dpu", "dpu"]


def test_a_reshape_stays_where_its_value_is():
    def make(b: Build) -> None:
        x = b.op(
            "Softmax", b.op("MatMul", b.op("Reshape", b.image(4, 8), b.ints(-1, 128), name="flat"), b.weights(128, 4))
        )
        b.op("Reshape", x, b.ints(-1, 2, 2), name="out")

    nodes = {node.node: node for node in checked(make).nodes}
    assert (nodes["flat"].placement, nodes["out"].placement) == ("dpu", "cpu")
    assert nodes["out"].limit is None


def test_the_text_begins_with_the_verdict():
    text = checked(lambda b: b.op("Relu", b.biased(b.image()))).as_text()
    assert text.startswith("all on the DPU in 1 subgraph")
    text = checked(lambda b: b.op("Softmax", b.op("MatMul", b.input(None, 8), b.weights(8, 4)))).as_text()
    assert text.startswith("1 node on the CPU, 2 subgraphs")
    assert "DPU 1 node > CPU 1 node" in text
    assert max(map(len, text.splitlines())) <= 100


def test_json_has_an_entry_for_each_node():
    result = checked(lambda b: b.op("Relu", b.biased(b.image())))
    facts = result.as_dict()
    assert list(facts) == ["nodes", "subgraphs", "findings"]
    assert [list(node) for node in facts["nodes"]] == [
        ["node", "op", "placement", "rule", "limit", "value", "remedy"]
    ] * 6
    assert facts["subgraphs"] == [
        {"device": "dpu", "nodes": [node.node for node in result.nodes[2:] if node.op != "Const"]}
    ]
