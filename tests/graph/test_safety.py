"""Graphs that do more than compute are refused before TensorFlow sees them: the canary is never touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.python.framework import op_def_registry

from dnndk_prep import cli
from dnndk_prep.errors import ModelFileError, UnsafeFileError
from dnndk_prep.graph.facts import inspect_graph
from dnndk_prep.graph.safety import MAX_REPEATED, ops, refuse_unsafe, unsafe_nodes

V1, RAW = tf.compat.v1, tf.raw_ops


def x() -> tf.Tensor:
    return V1.placeholder(tf.float32, [None, 2], name="x")


def bytes_as_numbers(text: tf.Tensor) -> tf.Tensor:
    return tf.cast(RAW.DecodeRaw(bytes=text, out_type=tf.uint8), tf.float32)


def after(effect: tf.Operation | tf.Tensor) -> None:
    with tf.control_dependencies([effect]):
        tf.identity(x() * 2.0, name="out")


def writes(canary: str) -> None:
    after(RAW.WriteFile(filename=canary, contents="made"))


def writes_beside(canary: str) -> None:
    RAW.WriteFile(filename=canary, contents="made")
    tf.identity(x() * 2.0, name="out")


def reads(canary: str) -> None:
    tf.add(x(), tf.reduce_sum(bytes_as_numbers(RAW.ReadFile(filename=canary))), name="out")


def reads_for_a_shape(canary: str) -> None:
    """TensorFlow computes such a shape while it imports the graph."""
    shape = tf.cast(RAW.DecodeRaw(bytes=RAW.ReadFile(filename=canary), out_type=tf.int32), tf.int32)
    tf.reshape(x(), shape, name="out")


def lists(canary: str) -> None:
    tf.add(x(), tf.cast(tf.size(RAW.MatchingFiles(pattern=canary + "*")), tf.float32), name="out")


def python(canary: str) -> None:
    tf.identity(tf.numpy_function(lambda v: v, [x()], tf.float32), name="out")


def eager_python(canary: str) -> None:
    tf.identity(tf.py_function(lambda v: v, [x()], tf.float32), name="out")


def prints_to_a_file(canary: str) -> None:
    after(RAW.PrintV2(input="made", output_stream=f"file://{canary}"))


def debugs_to_a_file(canary: str) -> None:
    debug = RAW.DebugIdentityV2(input=x(), output_slot=0, circular_buffer_size=0, debug_urls=[f"file://{canary}"])
    tf.identity(debug, name="out")


def restores(canary: str) -> None:
    found = RAW.RestoreV2(prefix=canary, tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32])
    tf.add(x(), found[0], name="out")


def saves(canary: str) -> None:
    after(RAW.SaveV2(prefix=canary, tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1.0)]))


def records(canary: str) -> None:
    data = RAW.TFRecordDataset(filenames=canary, compression_type="", buffer_size=0)
    record = RAW.DatasetToSingleElement(dataset=data, output_types=[tf.string], output_shapes=[[]])[0]
    tf.add(x(), bytes_as_numbers(record)[0], name="out")


def table(canary: str) -> None:
    handle = RAW.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    after(
        RAW.InitializeTableFromTextFileV2(
            table_handle=handle, filename=canary, key_index=-2, value_index=-1, vocab_size=-1, delimiter="\t"
        )
    )


def in_a_function(canary: str) -> None:
    @tf.function
    def inner(value):
        RAW.WriteFile(filename=canary, contents="made")
        return value * 2.0

    @tf.function
    def outer(value):
        return inner(value) + 1.0

    tf.identity(outer(x()), name="out")


def in_a_branch(canary: str) -> None:
    def write():
        RAW.WriteFile(filename=canary, contents="made")
        return tf.constant(1.0)

    tf.add(x(), tf.cond(tf.reduce_sum(x()) > 0.0, write, lambda: tf.constant(0.0)), name="out")


def over_a_dataset(canary: str) -> None:
    @tf.function
    def write(value):
        RAW.WriteFile(filename=canary, contents="made")
        return value

    data = tf.data.Dataset.from_tensors(1.0).map(write)
    tf.add(x(), data.reduce(0.0, lambda a, b: a + b), name="out")


HOSTILE = [
    writes, writes_beside, reads, reads_for_a_shape, lists, python, eager_python, prints_to_a_file, debugs_to_a_file,
    restores, saves, records, table, in_a_function, in_a_branch, over_a_dataset,
]  # fmt: skip


def graph_of(make: Callable[[str], None], canary: Path) -> GraphDef:
    graph = tf.Graph()
    with graph.as_default():
        make(str(canary))
    return graph.as_graph_def()


@pytest.mark.parametrize("make", HOSTILE)
@pytest.mark.parametrize("command", ["infer", "run", "evaluate", "inspect"])
def test_no_command_runs_it(
    make: Callable[[str], None], command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    canary = tmp_path / "canary"
    (tmp_path / "g.pb").write_bytes(graph_of(make, canary).SerializeToString())
    (tmp_path / "pipeline.yaml").write_text("model: {path: g.pb}\n")
    np.save(tmp_path / "x.npy", np.ones((1, 2), np.float32))
    pb, yaml = str(tmp_path / "g.pb"), str(tmp_path / "pipeline.yaml")
    words = {
        "infer": ["infer", pb, "--feed", f"x={tmp_path / 'x.npy'}", "--fetch", "out"],
        "evaluate": ["evaluate", pb, yaml],
        "run": ["run", yaml, "--to", "optimize_for_inference"],
        "inspect": ["inspect", pb],
    }[command]
    code = cli.main(words)
    out = capsys.readouterr()
    if command == "inspect":
        assert code == 0
        assert "out" in out.out
    elif command == "run" and make is writes_beside:
        # What no output needs is cut, and never comes to TensorFlow.
        assert code == 0
    else:
        assert code == 6
        assert "is refused" in out.err
    assert "Traceback" not in out.err
    assert not list(tmp_path.glob("canary*"))


def test_inspect_names_what_is_refused(tmp_path: Path):
    (tmp_path / "g.pb").write_bytes(graph_of(in_a_function, tmp_path / "canary").SerializeToString())
    facts = inspect_graph(tmp_path / "g.pb")
    assert list(facts.unsafe.values()) == ["WriteFile"]
    assert any(one.op == "WriteFile" and one.function for one in facts.ops)
    assert "refused:" in facts.as_text()


def test_what_training_leaves_beside_the_model_is_no_refusal(tmp_path: Path):
    """Gradients, optimizers and savers stand in the graph, and only what the outputs need runs."""
    with tf.Graph().as_default() as graph:
        image = V1.placeholder(tf.float32, [None, 4, 4, 2], name="x")
        kernel = tf.ones([3, 3, 2, 1]) * tf.reduce_mean(image)
        wide = tf.nn.relu(tf.nn.depthwise_conv2d(tf.square(image), kernel, [1, 1, 1, 1], "SAME"), name="out")
        V1.gradients(tf.image.resize(wide, [8, 8]), image)
        RAW.SaveV2(prefix="model", tensor_names=["y"], shape_and_slices=[""], tensors=[wide])
    assert {"DepthwiseConv2dNativeBackpropInput", "ReluGrad"} <= {node.op for node in graph.as_graph_def().node}
    (tmp_path / "g.pb").write_bytes(graph.as_graph_def().SerializeToString())
    np.save(tmp_path / "x.npy", np.ones((1, 4, 4, 2), np.float32))
    facts = inspect_graph(tmp_path / "g.pb")
    assert facts.unsafe == {}
    assert f"{facts.idle} ops of saving and training" in facts.as_text()
    words = ["infer", str(tmp_path / "g.pb"), "--feed", f"x={tmp_path / 'x.npy'}", "--fetch"]
    assert cli.main([*words, "out"]) == 0
    saved = next(node.name for node in graph.as_graph_def().node if node.op == "SaveV2")
    assert cli.main([*words, saved]) == 6


def test_a_function_with_the_name_of_an_op(tmp_path: Path):
    graph_def = graph_of(in_a_function, tmp_path / "canary")
    inner = next(f for f in graph_def.library.function if any(n.op == "WriteFile" for n in f.node_def))
    for function in graph_def.library.function:
        for node in function.node_def:
            if node.attr["f"].func.name == inner.signature.name:
                node.op = "Relu"
                del node.attr["f"]
    inner.signature.name = "Relu"
    with pytest.raises(UnsafeFileError, match="WriteFile"):
        refuse_unsafe(graph_def, "g.pb", ["out"])


def test_functions_that_never_end_or_grow_beyond_measure():
    graph_def = graph_of(in_a_function, Path("canary"))
    names = [function.signature.name for function in graph_def.library.function]
    for function in graph_def.library.function:
        for node in function.node_def:
            if node.attr["f"].func.name:
                node.attr["f"].func.name = function.signature.name
    with pytest.raises(ModelFileError, match="calls itself"):
        refuse_unsafe(graph_def, "g.pb")
    bomb = GraphDef()
    for i in range(12):
        function = bomb.library.function.add()
        function.signature.name = f"f{i}"
        for j in range(10):
            node = function.node_def.add(name=f"n{j}", op="PartitionedCall")
            node.attr["f"].func.name = f"f{i + 1}"
    bomb.node.add(name="out", op="PartitionedCall").attr["f"].func.name = "f0"
    with pytest.raises(UnsafeFileError, match="too many nodes"):
        refuse_unsafe(bomb, "g.pb", ["out"])
    assert len(names) >= 2


def test_a_constant_that_declares_more_than_it_holds():
    graph_def = GraphDef()
    node = graph_def.node.add(name="c", op="Const")
    node.attr["value"].tensor.dtype = tf.float32.as_datatype_enum
    node.attr["value"].tensor.float_val.append(1.0)
    node.attr["value"].tensor.tensor_shape.dim.add(size=MAX_REPEATED)
    with pytest.raises(UnsafeFileError, match="declares more than it holds"):
        refuse_unsafe(graph_def, "g.pb", ["c"])


def test_an_op_of_another_tool_is_no_danger_but_unknown():
    graph_def = GraphDef()
    graph_def.node.add(name="x/aquant", op="FixNeuron")
    with pytest.raises(ModelFileError, match="has no op FixNeuron"):
        refuse_unsafe(graph_def, "g.pb", ["x/aquant"])


def test_the_list_holds_ops_that_exist_and_none_that_could_do_harm():
    allowed = ops("runs")
    assert not allowed & ops("idle")
    assert all(op_def_registry.get(name) for name in allowed if not name.startswith("_"))
    harmful = "File|Dataset|PyFunc|Reader|Restore|Save|Library|Rpc|Send|Recv|Debug|Proto|PrintV2|Remote|Iterator"
    harmful += "|XlaCustom|XlaLaunch|XlaHost"
    assert not [name for name in allowed if any(word in name for word in harmful.split("|"))]


def test_a_graph_that_only_computes_is_let_through():
    graph_def = graph_of(lambda canary: tf.nn.softmax(x(), name="out"), Path("canary"))
    refuse_unsafe(graph_def, "g.pb", ["out"])
    assert unsafe_nodes(graph_def) == {}
