"""What an architecture, an HDF5 file and a .keras archive may hold, and what is refused, without TensorFlow."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import marshal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dnndk_prep.errors import ModelFileError, UnsafeFileError
from dnndk_prep.keras_io.activation_names import with_own_activations
from dnndk_prep.keras_io.scan import check_architecture, scan, scan_architecture
from dnndk_prep.keras_io.scan.rules import rules

CODE = compile("0", "x", "eval")
MARSHALLED = base64.encodebytes(marshal.dumps(CODE)).decode()


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, "trainable": True, **config}}


def keras3(kind: str, name: str, module: str | None = "keras.layers", registered: str | None = None, **config: Any):
    return {**layer(kind, name, **config), "module": module, "registered_name": registered}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "s", "layers": list(layers)}}


def function(module: str, name: str, registered: str | None = "function") -> dict[str, Any]:
    return {"class_name": "function", "module": module, "config": name, "registered_name": registered}


def tensor(name: str) -> dict[str, Any]:
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": [None, 4], "dtype": "float32", "keras_history": [name, 0, 0]},
    }


GOOD: list[dict[str, Any]] = [
    layer("Dense", "d", units=4, activation="relu", kernel_initializer={"class_name": "Zeros", "config": {}}),
    keras3("Dense", "d", units=4, activation=function("keras.src.activations.activations", "relu", None)),
    keras3("Dense", "d", units=4, activation=function("builtins", "relu")),
    keras3("Dense", "d", dtype=keras3("DTypePolicy", "float32", "keras")),
    keras3("Dense", "d", dtype=keras3("Policy", "float32", "keras.mixed_precision")),
    keras3("Functional", "f", "keras.src.engine.functional", "Functional", layers=[]),
    keras3("Functional", "f", "tf_keras.src.engine.functional", "Functional", layers=[]),
    keras3("Functional", "f", "keras.src.models.functional", "Functional", layers=[]),
    keras3("Add", "a", "keras.src.ops.numpy", "Add"),
    keras3("TFOpLambda", "t", "keras.src.layers.core.tf_op_layer", "TFOpLambda", function="math.multiply"),
    layer("TFOpLambda", "t", function="reshape"),
    layer("TensorFlowOpLayer", "t", node_def='{"op": "RealDiv"}'),
    layer("Convolution2D", "c", nb_filter=4, nb_row=3, nb_col=3, border_mode="same", dim_ordering="th"),
    layer("Merge", "m", mode="concat", mode_type="raw", output_shape_type="raw"),
    layer("TimeDistributed", "t", layer=layer("Dense", "d", units=3)),
    layer("Bidirectional", "b", layer=layer("LSTM", "l", units=3), backward_layer=layer("LSTM", "k", units=3)),
    layer("Embedding", "e", input_dim=50_000, output_dim=80, embeddings_constraint=layer("MaxNorm", "n")),
    {**keras3("Dense", "d", units=4), "inbound_nodes": [{"args": [tensor("x")], "kwargs": {}}]},
    {**layer("Dense", "d", units=4), "inbound_nodes": [[["x", 0, 0, {}]]]},
    {
        **layer("TFOpLambda", "t", function="math.subtract"),
        "inbound_nodes": [["_CONSTANT_VALUE", -1, 2.0, {"y": ["x", 0, 0]}]],
    },
    layer("StringLookup", "s", vocabulary=["a", "b"]),
    layer("Conv2D", "c", activation=layer("LeakyReLU", "r", alpha=0.1)),
    keras3("Conv2D", "c", activation=keras3("ReLU", "r", max_value=6.0)),
    keras3("SlicingOpLambda", "t", "keras.src.layers.core.tf_op_layer", None, function="__operators__.getitem"),
    keras3("Dense", "d", bias_initializer=keras3("Constant", "i", "tensorflow.python.ops.init_ops_v2", None)),
]


@pytest.mark.parametrize("good", GOOD, ids=lambda good: good["class_name"])
def test_what_keras_writes_passes(good: dict[str, Any]) -> None:
    for model in (good, sequential(good), {"class_name": "Sequential", "config": [good]}):
        check_architecture(model, "m.h5")


PASSIVE = {"__passive_serialization__": True}
GETITEM = layer("SlicingOpLambda", "op", function="__operators__.getitem")
CODES: list[tuple[dict[str, Any], str]] = [
    (layer("Lambda", "l", function=[MARSHALLED, None, None], function_type="lambda"), "Lambda in l"),
    (keras3("Lambda", "l", function={"class_name": "__lambda__", "config": {"code": MARSHALLED}}), "Lambda in l"),
    (layer("Dense", "l", activation={"class_name": "__lambda__", "config": {"value": "4w=="}}), "__lambda__ in l"),
    (layer("Dense", "l", note=MARSHALLED), "marshalled code as the note of l"),
    (layer("Dense", "l", note=marshal.dumps(CODE).decode("latin-1")), "marshalled code as the note of l"),
    (layer("Dense", "l", units=[["deep", {"er": [MARSHALLED]}]]), "marshalled code as the er of l"),
    (layer("Merge", "m", mode="x", mode_type="lambda"), "code as the mode of m"),
    (layer("Merge", "m", mode="x", output_shape_type="function"), "code as the output_shape of m"),
    (layer("TFSMLayer", "t", filepath="x"), "TFSMLayer in t"),
    (keras3("TorchModuleWrapper", "t", module_="..."), "TorchModuleWrapper in t"),
    (keras3("JaxLayer", "j"), "JaxLayer in j"),
    (keras3("VectorizedMap", "v", "keras.src.ops.core", "VectorizedMap"), "VectorizedMap in v"),
    (layer("Map", "v"), "Map in v"),
    (keras3("system", "s", "os", "Custom>system"), "the class os.system in s"),
    (keras3("system", "s", "os", None), "the class os.system in s"),
    (keras3("Popen", "s", "subprocess", "Popen"), "the class subprocess.Popen in s"),
    (keras3("eval", "s", "builtins", "eval"), "the class builtins.eval in s"),
    (keras3("get_file", "s", "keras.utils", None), "the class keras.utils.get_file in s"),
    (keras3("Model", "s", "keras.src.utils.model_visualization", None), "keras.src.utils.model_visualization.Model"),
    (keras3("load_model", "s", "keras.saving", None), "the class keras.saving.load_model in s"),
    (keras3("Layer", "s", "tensorflow.python.module", "Layer"), "the class tensorflow.python.module.Layer"),
    (keras3("Mine", "s", "mine.layers", None), "the class mine.layers.Mine in s"),
    (layer("os.system", "s"), "the class None.os.system in s"),
    (layer("Dense", "l", kernel_initializer=keras3("Mine", "i", "mine", "Mine")), "the class mine.Mine in i"),
    (keras3("Dense", "l", activation=function("builtins", "exec")), "the function builtins.exec in l"),
    (keras3("Dense", "l", activation=function("os", "system")), "the function os.system in l"),
    (keras3("Dense", "l", activation=function("os", "relu")), "the function os.relu in l"),
    (keras3("Dense", "l", activation=function("keras.utils", "get_file")), "the function keras.utils.get_file in l"),
    (
        keras3("Dense", "l", activation=function("keras.activations", "relu", "os>system")),
        "keras.activations.relu in l",
    ),
    (keras3("Dense", "l", activation=function("mine", "act", "Custom>act")), "the function mine.act in l"),
    (
        layer("Dense", "l", kernel_regularizer=function("keras.config", "enable_unsafe_deserialization")),
        "enable_unsafe",
    ),
    (layer("TFOpLambda", "t", function="io.read_file"), "the TensorFlow function io.read_file in t"),
    (layer("TFOpLambda", "t", function="py_function"), "the TensorFlow function py_function in t"),
    (layer("TFOpLambda", "t", function="raw_ops.WriteFile"), "raw_ops.WriteFile in t"),
    (layer("TFOpLambda", "t", function="compat.v1.py_func"), "compat.v1.py_func in t"),
    (layer("TFOpLambda", "t", function="keras.activations.deserialize"), "keras.activations.deserialize in t"),
    (layer("SlicingOpLambda", "t", function="io.read_file"), "the TensorFlow function io.read_file in t"),
    (layer("SlicingOpLambda", "t", function="math.add"), "the TensorFlow function math.add in t"),
    (
        layer("Dense", "l", activation={**PASSIVE, "class_name": "ReLU", "config": {}}),
        "__passive_serialization__ in the",
    ),
    (layer("Dense", "l", note=[PASSIVE]), "__passive_serialization__ in the note of l"),
    (layer("Dense", "l", activation=GETITEM), "SlicingOpLambda as the activation of op"),
    (layer("LSTM", "l", recurrent_activation=GETITEM), "SlicingOpLambda as the recurrent_activation of op"),
    (layer("Dense", "l", kernel_initializer=GETITEM), "SlicingOpLambda as the kernel_initializer of op"),
    (layer("Dense", "l", kernel_regularizer=layer("Dense", "r")), "Dense as the kernel_regularizer of r"),
    (
        layer("Dense", "l", bias_constraint=layer("Sequential", "r", layers=[])),
        "Sequential as the bias_constraint",
    ),
    (layer("Dense", "l", activation=layer("Sequential", "r", layers=[])), "Sequential as the activation of r"),
    (layer("Dense", "l", dtype=layer("Dense", "r")), "Dense as the dtype of r"),
    (layer("Dense", "l", anything=GETITEM), "SlicingOpLambda as the anything of op"),
    (
        keras3("Dense", "l", kernel_initializer=keras3("exec", "i", "tensorflow.python.ops.init_ops_v2", None)),
        "the class tensorflow.python.ops.init_ops_v2.exec",
    ),
    ({**layer("Dense", "d"), "inbound_nodes": [[["x", 0, 0, {"a": layer("Dense", "e")}]]]}, "Dense as the a of e"),
    ({**layer("Dense", "d"), "inbound_nodes": [[["x", 0, 0, {"inbound_nodes": []}]]]}, "calls in a call of d"),
    (layer("TensorFlowOpLayer", "t", node_def='{"op": "ReadFile"}'), "the TensorFlow operator ReadFile in t"),
    (layer("StringLookup", "s", vocabulary="/etc/passwd"), "the file /etc/passwd as the vocabulary of s"),
    (layer("TextVectorization", "s", idf_weights="/etc/passwd"), "the file /etc/passwd as the idf_weights of s"),
    (
        {"class_name": "__typespec__", "spec_name": "X", "module": "os", "registered_name": None, "config": []},
        "__typespec__",
    ),
    ({"class_name": "__tuple__", "module": "antigravity", "config": []}, "the class antigravity.__tuple__"),
    ({**keras3("UpSampling2D", "u"), "inbound_nodes": [{"args": [[1.0]], "kwargs": {}}]}, "constants alone in u"),
    ({**layer("UpSampling2D", "u"), "inbound_nodes": [[["_CONSTANT_VALUE", -1, [[1.0]], {}]]]}, "constants alone in u"),
    ({**keras3("Dense", "d"), "compile_config": {"loss": {"class_name": "__lambda__", "config": {}}}}, "training"),
    ({**keras3("Dense", "d"), "compile_config": {"loss": [MARSHALLED]}}, "training configuration of d"),
    ({**keras3("Dense", "d"), "build_config": {"x": keras3("system", "s", "os")}}, "the class os.system"),
    ({**layer("Dense", "d"), "inbound_nodes": [[["x", 0, 0, {"mask": function("os", "system")}]]]}, "os.system"),
]


def around(bad: dict[str, Any]) -> list[dict[str, Any]]:
    """The layer alone, in wrappers, in nested models, and in lists of the first Keras 2."""
    nested = sequential(
        sequential(layer("TimeDistributed", "t", layer=layer("Wrapper2", "w", layer=copy.deepcopy(bad))))
    )
    cells = layer("RNN", "r", cell=layer("StackedRNNCells", "c", cells=[layer("LSTMCell", "k"), bad]))
    two = layer("Bidirectional", "b", layer=layer("LSTM", "f"), backward_layer=bad)
    return [bad, sequential(bad), {"class_name": "Sequential", "config": [two]}, nested, sequential(cells)]


@pytest.mark.parametrize(("bad", "what"), CODES, ids=[what[:40] for _, what in CODES])
def test_code_is_refused_wherever_it_stands(bad: dict[str, Any], what: str) -> None:
    for model in around(bad):
        with pytest.raises(UnsafeFileError) as caught:
            check_architecture(model, "m.h5")
        assert what in str(caught.value)
        assert caught.value.exit_code == 6


def test_unknown_layers_are_listed_at_once_and_custom_ones_pass() -> None:
    model = sequential(
        layer("Mine", "a"),
        keras3("Other", "b", "mine.layers", "Custom>Other"),
        keras3("Plain", "c", "__main__", "Plain"),
        keras3("Dense", "d", "__main__", "Custom>Dense"),
        keras3("NotYetWritten", "e", "keras.layers"),
        layer("Dense", "f", kernel_initializer=layer("MyInit", "i")),
    )
    with pytest.raises(ModelFileError) as caught:
        check_architecture(model, "m.h5")
    assert not isinstance(caught.value, UnsafeFileError)
    for text in (
        "m.h5 holds 6",
        "a: Mine",
        "b: Custom>Other",
        "c: Plain",
        "d: Custom>Dense",
        "e: NotYet",
        "i: MyInit as",
    ):
        assert text in str(caught.value)
    check_architecture(model, "m.h5", custom=["Mine", "Other", "Plain", "Custom>Dense", "NotYetWritten", "MyInit"])
    with pytest.raises(UnsafeFileError, match="Lambda in z"):
        check_architecture(
            sequential(layer("Mine", "a", inner=layer("Lambda", "z"))), "m.h5", custom=["Mine", "Lambda"]
        )


def test_a_class_of_the_user_may_have_the_name_of_an_operation_that_calls_functions() -> None:
    own = [keras3("Map", "a", "mine.layers", "mine>Map"), layer("mine>Map", "b"), layer("Scan", "c")]
    check_architecture(sequential(*own), "m.h5", custom=["Map", "Scan"])
    for kind, module in (("Map", "keras.src.ops.core"), ("Cond", None)):
        with pytest.raises(UnsafeFileError, match=f"{kind} in d"):
            check_architecture(sequential(keras3(kind, "d", module, "mine>Map")), "m.h5", custom=["Scan"])
    with pytest.raises(UnsafeFileError, match="Map in d"):
        check_architecture(sequential(keras3("Map", "d", "keras.src.ops.core")), "m.h5", custom=["Map"])


def test_a_layer_of_the_user_holds_others_under_any_key() -> None:
    inner = sequential(layer("Dense", "d", units=1))
    check_architecture(layer("Mine", "a", backbone=inner, head=layer("Dense", "e", units=1)), "m.h5", custom=["Mine"])


def test_a_function_of_the_user_passes_by_name() -> None:
    model = layer("Dense", "d", activation=function("mine", "act", "Custom>act"))
    check_architecture(model, "m.h5", custom=["act"])


LARGE: list[tuple[dict[str, Any], str]] = [
    (layer("Dense", "d", units=10**9), "d (Dense): at least 1000000000 weights"),
    (layer("Dense", "d", units="1000000000"), "1000000000 weights"),
    (layer("Dense", "d", units=1e30), "weights"),
    (layer("Dense", "d", units=float("inf")), "weights"),
    (layer("Dense", "d", output_dim=10**9), "weights"),
    (layer("Embedding", "e", input_dim=10**12, output_dim=1), "weights"),
    (layer("Embedding", "e", input_dim=10**6, output_dim=10**6), "weights"),
    (layer("LSTM", "l", units=30_000), "at least 3600000000 weights"),
    (layer("GRUCell", "l", units=30_000), "weights"),
    (layer("Conv2D", "c", filters=10**9, kernel_size=[1, 1]), "weights"),
    (layer("Conv2D", "c", filters=1, kernel_size=60_000), "weights"),
    (layer("Conv3D", "c", filters=64, kernel_size=[300, 300, 300]), "weights"),
    (layer("DepthwiseConv2D", "c", depth_multiplier=2**22, kernel_size=[3, 3]), "depth_multiplier"),
    (layer("Convolution2D", "c", nb_filter=10**6, nb_row=100, nb_col=100), "weights"),
    (layer("EinsumDense", "e", output_shape=[None, 10**6, 10**6]), "weights"),
    (layer("MultiHeadAttention", "m", num_heads=10**6, key_dim=10**6), "weights"),
    (layer("InputLayer", "i", batch_input_shape=[None, 10**5, 10**5, 3]), "batch_input_shape"),
    (layer("InputLayer", "i", batch_shape=[None, 10**9]), "batch_shape"),
    (layer("InputLayer", "i", batch_shape=[None, 8192, 8192, 2]), "batch_shape"),
    (layer("Dense", "d", units=10**3000), "weights"),
    (layer("LSTM", "l", units=10**3000), "weights"),
    (layer("Embedding", "e", input_dim=10**3000, output_dim=10**3000), "weights"),
    (layer("Reshape", "r", target_shape=[10**4000] * 20), "target_shape"),
    (layer("Reshape", "r", target_shape=[10**5, 10**5]), "target_shape"),
    (layer("UpSampling2D", "u", size=[10**6, 10**6]), "size"),
    (layer("ZeroPadding2D", "z", padding=[[10**9, 0], [0, 0]]), "padding"),
    (layer("RepeatVector", "r", n=10**9), "n 1000000000"),
    (layer("LayerScale", "s", projection_dim=10**10), "at least 10000000000 weights"),
    (layer("CategoryEncoding", "c", num_tokens=10**12), "num_tokens"),
    ({**layer("Dense", "d"), "build_config": {"input_shape": [None, 10**9]}}, "d: input_shape"),
    ({**layer("Dense", "d"), "build_config": {"shapes_dict": {"a": [None, 10**9]}}}, "d: shapes_dict"),
    ({"class_name": "__numpy__", "config": {"value": ["a"], "dtype": "U1000000000"}}, "numbers of type U1000000000"),
    ({"class_name": "__keras_tensor__", "config": {"shape": [None, 10**9], "dtype": "float32"}}, "shape"),
]


@pytest.mark.parametrize(("bad", "what"), LARGE, ids=[what[:40] + str(n) for n, (_, what) in enumerate(LARGE)])
def test_more_than_any_model_has_is_refused(bad: dict[str, Any], what: str) -> None:
    for model in around(bad):
        with pytest.raises(UnsafeFileError) as caught:
            check_architecture(model, "m.h5")
        assert what in str(caught.value)


def test_a_layer_is_not_larger_than_what_the_file_holds() -> None:
    model = sequential(layer("Dense", "d", units=10**7))
    check_architecture(model, "m.h5")
    check_architecture(model, "m.h5", stored=2 * 10**7)
    with pytest.raises(UnsafeFileError, match="10000000 weights, where the file holds 100 numbers"):
        check_architecture(model, "m.h5", stored=100)


def test_a_loop_is_not_unrolled_without_end() -> None:
    def model(steps: int, unroll: bool) -> dict[str, Any]:
        return sequential(
            layer("InputLayer", "i", batch_shape=[None, steps, 2]), layer("LSTM", "l", units=2, unroll=unroll)
        )

    check_architecture(model(10**6, False), "m.h5")
    check_architecture(model(100, True), "m.h5")
    with pytest.raises(UnsafeFileError, match="unroll with batch_shape"):
        check_architecture(model(10**6, True), "m.h5")


@pytest.mark.parametrize(
    ("before", "what"),
    [
        (layer("UpSampling1D", "u", size=4096), "unroll with batch_shape .* and 1 upsampling"),
        (layer("Reshape", "u", target_shape=[100_000, 1]), "unroll with target_shape"),
        (layer("ZeroPadding1D", "u", padding=[0, 60_000]), "unroll with padding"),
        (layer("RepeatVector", "u", n=2**19), "unroll with n 524288"),
    ],
)
def test_nor_after_layers_that_make_more_steps(before: dict[str, Any], what: str) -> None:
    model = sequential(layer("InputLayer", "i", batch_shape=[None, 16, 1]), before, layer("LSTM", "l", unroll=True))
    with pytest.raises(UnsafeFileError, match=what):
        check_architecture(model, "m.h5")
    model["config"]["layers"][2]["config"]["unroll"] = False
    check_architecture(model, "m.h5")


@pytest.mark.parametrize(
    ("shape", "depth", "is_fine"),
    [([8000, 1], 1, True), ([40_000, 1], 1, False), ([4, 2000, 1], 2, True), ([8, 2000, 1], 2, False)],
)
def test_a_layer_is_not_called_for_steps_without_end(shape: list[int], depth: int, is_fine: bool) -> None:
    called = layer("Dense", "d", units=1)
    for number in range(depth):
        called = layer("TimeDistributed", f"t{number}", layer=called)
    entry, again = layer("InputLayer", "i", batch_shape=[None, *shape]), layer("Reshape", "r", target_shape=shape)
    for model in (sequential(entry, called), sequential(again, called)):
        with contextlib.nullcontext() if is_fine else pytest.raises(UnsafeFileError, match="TimeDistributed with"):
            check_architecture(model, "m.h5")


def test_an_axis_is_not_cut_into_pieces_without_end() -> None:
    def model(kind: str, size: Any, *before: dict[str, Any]) -> dict[str, Any]:
        shape = [None, 512, 512, 4, 1] if kind == "UpSampling3D" else [None, 512, 512]
        return sequential(layer("InputLayer", "i", batch_shape=shape), *before, layer(kind, "u", size=size))

    check_architecture(model("UpSampling1D", 16), "m.h5")
    check_architecture(model("UpSampling3D", [2, 2, 2]), "m.h5")
    check_architecture(model("UpSampling2D", [1024, 1024]), "m.h5")
    opened, repeated = layer("Reshape", "r", target_shape=[-1, 1]), layer("RepeatVector", "r", n=2**17)
    for bad in (
        model("UpSampling1D", 1024),
        model("UpSampling3D", [1, 1, 1024]),
        model("UpSampling1D", 2, opened),
        model("UpSampling1D", 2, repeated),
        model("UpSampling1D", 16, layer("UpSampling1D", "v", size=32)),
    ):
        with pytest.raises(UnsafeFileError, match=r"[12] upsampling\(s\) of (n|batch_shape)"):
            check_architecture(bad, "m.h5")


def twice_each(levels: int) -> dict[str, Any]:
    """Models in each other, each of which calls the next twice."""
    model = layer("ReLU", "r")
    for _ in range(levels):
        model = sequential({**model, "inbound_nodes": [[["i", 0, 0, {}]], [["m", 0, 0, {}]]]})
    return model


def test_calls_of_nested_models_count_each_time() -> None:
    check_architecture(twice_each(8), "m.h5")
    with pytest.raises(UnsafeFileError, match="more than 20000 calls of layers"):
        check_architecture(twice_each(24), "m.h5")


def one_layer(settings: str) -> str:
    return '{"class_name": "Sequential", "config": {"layers": [{"class_name": "Reshape", ' + settings + "}]}}"


def lists_in(key: str, before: str, inside: Any = 0, count: int = 300_000) -> str:
    """In the setting `before`, a hundred levels of dicts with that key around `count` of `inside`, as text."""
    return one_layer(before + f'{{"{key}":' * 100 + json.dumps([inside] * count) + "}" * 100 + "]" * before.count("["))


SLOW: list[tuple[str, str]] = [
    ("keys", "{" + ",".join(f'"a{i}":0' for i in range(700_000)) + ',"a699999":1}'),
    ("nodes", lists_in("inbound_nodes", '"inbound_nodes": [')),
    ("calls", lists_in("size", '"inbound_nodes": [')),
    ("shapes", lists_in("shape", '"inbound_nodes": [')),
    ("build", lists_in("build_config", '"build_config": ')),
    ("shapes of one", lists_in("shape", '"config": ', [1], 190_000)),
    ("shapes of many", one_layer('"config": {"shape": ' + json.dumps([[1] * 9_000] * 40) + "}")),
    ("layers", one_layer('"config": {"layers": ' + json.dumps([layer("ReLU", "r")] * 29_000) + "}")),
    (
        "classes",
        one_layer('"config": {"x": ' + json.dumps([{"class_name": "Zeros", "config": {"seed": 1}}] * 29_000) + "}"),
    ),
    ("floats", one_layer('"config": {"x": [' + ",".join([".".join(["1" * 9, "7" * 10**6])] * 7) + "]}")),
    ("product", one_layer('"config": {"target_shape": [' + ",".join(["9" * 4000] * 3900) + "]}")),
]


@pytest.mark.parametrize("text", [text for _, text in SLOW], ids=[name for name, _ in SLOW])
def test_the_answer_comes_soon(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text)
    start = time.process_time()
    # As UnsafeFileError, or not at all; a ModelFileError would say that it is no JSON.
    with contextlib.suppress(UnsafeFileError):
        scan_architecture(tmp_path / "m.json")
    assert time.process_time() - start < 1.5


@pytest.mark.parametrize("version", ["²", "9" * 5000, "2.0\x1b[31m", "two", 7])
def test_a_version_that_is_none(tmp_path: Path, version: Any) -> None:
    (tmp_path / "m.json").write_text(json.dumps({**sequential(), "keras_version": version}))
    with pytest.raises(ModelFileError, match="does not tell which Keras") as caught:
        scan_architecture(tmp_path / "m.json")
    assert "\x1b" not in str(caught.value)


TEXTS: list[tuple[str | bytes, type[ModelFileError], str]] = [
    ("[" * 100_000, UnsafeFileError, "levels"),
    ('{"a":' * 5000 + "1" + "}" * 5000, UnsafeFileError, "levels"),
    ('{"a":' * 200 + "1" + "}" * 200, UnsafeFileError, "128 levels"),
    ("[" + "0," * 450_000 + "0]", UnsafeFileError, "values"),
    ("[" + '{"a": 0, "b": 0, "c": 0},' * 59_000 + "0]", UnsafeFileError, "values"),
    ("[" + "{}," * 60_001 + "0]", UnsafeFileError, "60000 objects"),
    ("[" + '{"a": 0},' * 59_000 + "0]", ModelFileError, "without class_name"),
    ('{"class_name": "Dense", "class_name": "Lambda", "config": {}}', UnsafeFileError, "'class_name' twice"),
    ('{"class_name": "\\ud800", "config": {}}', ModelFileError, "half a character"),
    ('{"class_name": "Dense", "config": {"units": ' + "9" * 5000 + "}}", UnsafeFileError, "5000 digits"),
    ('{"class_name": ["Dense"], "config": {}}', ModelFileError, "is not complete"),
    ('{"class_name": "Dense"}', ModelFileError, "without class_name and config"),
    ("{", ModelFileError, "no JSON"),
]


@pytest.mark.parametrize(("text", "kind", "what"), TEXTS, ids=[what for *_, what in TEXTS])
def test_json_that_is_no_architecture(tmp_path: Path, text: str, kind: type[ModelFileError], what: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(kind) as caught:
        scan_architecture(tmp_path / "m.json")
    assert what in str(caught.value)


def test_json_that_is_too_long_is_not_even_read(tmp_path: Path) -> None:
    with (tmp_path / "m.json").open("wb") as file:
        file.write(b"{")
        file.truncate(10**12)
    with pytest.raises(UnsafeFileError, match="1000000000000 bytes"):
        scan(tmp_path / "m.json")


def test_what_is_not_finite_is_still_a_number(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps(sequential(layer("ReLU", "r", max_value=float("inf")))))
    assert scan(tmp_path / "m.json").kind == "json"


def test_training_is_left_out_at_any_depth(tmp_path: Path) -> None:
    inner = {**sequential(layer("Dense", "d", units=1)), "compile_config": {"optimizer": keras3("Mine", "m", "mine")}}
    (tmp_path / "m.json").write_text(json.dumps({**sequential(inner), "compile_config": {"loss": function("a", "b")}}))
    architecture = scan(tmp_path / "m.json").architecture
    assert "compile_config" not in json.dumps(architecture)
    assert '"units": 1' in json.dumps(architecture)


def test_the_allow_list_names_everything_once() -> None:
    allowed = rules()
    assert not any(allowed.code & kind.names for kind in (*allowed.classes.values(), allowed.functions))
    for module in ("os", "builtins", "keras.utils", "keras.src.utils.file_utils", "keras.saving", "keras.layers/../os"):
        assert not any(kind.is_module(module) for kind in allowed.classes.values()), module


TENSORFLOWS = ["log_softmax_v2", "softmax_v2", "swish", "exp", "identity", "abs"]


@pytest.mark.parametrize("name", TENSORFLOWS)
def test_functions_of_tensorflow_are_activations_and_nothing_else(name: str) -> None:
    check_architecture(keras3("Dense", "d", activation=function("builtins", name)), "m.h5")
    for module in ("os", "tensorflow", "keras.activations") if name != "swish" else ("os", "tensorflow"):
        with pytest.raises(UnsafeFileError, match=f"the function {module}.{name} in d"):
            check_architecture(keras3("Dense", "d", activation=function(module, name)), "m.h5")
    if name != "swish":
        with pytest.raises(UnsafeFileError, match=f"the function builtins.{name} in d"):
            check_architecture(keras3("Dense", "d", kernel_initializer=function("builtins", name)), "m.h5")


def test_they_get_the_names_that_every_keras_reads() -> None:
    inner = layer("TimeDistributed", "t", layer=layer("Dense", "e", activation="exp"))
    model = sequential(keras3("Dense", "d", activation=function("builtins", "log_softmax_v2")), sequential(inner))
    first, second = with_own_activations(model, "m.h5")["config"]["layers"]
    assert first["config"]["activation"] == "log_softmax"
    assert second["config"]["layers"][0]["config"]["layer"]["config"]["activation"] == "exponential"
    lstm = layer("LSTM", "l", recurrent_activation="crelu")
    with pytest.raises(ModelFileError, match=r"(?s)d: abs as activation; l: crelu as recurrent_activation.*tf\.abs"):
        with_own_activations(sequential(layer("Dense", "d", activation="abs"), lstm), "m.h5")
    own = sequential(layer("Dense", "d", activation="abs"), layer("Dense", "e", activation=function("mine", "exp")))
    assert with_own_activations(own, "m.h5", ["abs", "exp"]) == own


def written(path: Path, architecture: dict[str, Any]) -> Path:
    path.write_text(json.dumps(architecture))
    return path


@pytest.mark.parametrize("registered", ["Scale", "Custom>Scale", None, "q>Other"])
def test_the_module_of_a_class_of_the_user_is_never_imported(tmp_path: Path, registered: str | None) -> None:
    """Keras 2 would import whatever module the file names where it does not find the registered name."""
    scale = keras3("Scale", "a", "module_of_a_stranger", registered)
    mine = {**scale, "config": {**scale["config"], "inner": [function("module_of_a_stranger", "Scale", None)]}}
    places = [keras3("Dense", "d", kernel_initializer=scale, activation=scale), mine]
    path = written(tmp_path / "m.json", sequential(*places))
    architecture = scan(path, custom=["Scale"]).architecture
    assert "module_of_a_stranger" not in json.dumps(architecture)
    # All else is as it was, and Keras' own classes keep their modules.
    assert architecture == json.loads(path.read_text().replace('"module_of_a_stranger"', "null"))
    assert '"module": "keras.layers"' in json.dumps(architecture)
    assert "module_of_a_stranger" not in sys.modules
    if registered != "Scale":
        with pytest.raises((ModelFileError, UnsafeFileError)):
            scan(path, custom=["Another"])


def test_a_module_of_keras_is_not_imported_for_a_class_that_it_does_not_have(tmp_path: Path) -> None:
    path = written(tmp_path / "m.json", sequential(keras3("Scale", "a", "keras.layers", "Custom>Scale")))
    architecture = scan(path, custom=["Scale"]).architecture
    assert architecture is not None
    assert architecture["config"]["layers"][0]["module"] is None


SUBCLASSED: list[dict[str, Any]] = [
    {"class_name": "MyModel", "config": {}, "keras_version": "2.15.0", "backend": "tensorflow"},
    {"class_name": "MyModel", "config": {}, "module": None, "registered_name": "MyModel"},
    {
        "class_name": "MyModel",
        "config": {"trainable": True, "units": 3},
        "module": "net",
        "registered_name": "C>MyModel",
    },
]


@pytest.mark.parametrize("model", SUBCLASSED)
def test_a_subclassed_model_says_what_to_do(tmp_path: Path, model: dict[str, Any]) -> None:
    with pytest.raises(
        ModelFileError, match=r"(?s)subclassed model, and no architecture.*MyModel.*keras\.Input"
    ) as caught:
        scan(written(tmp_path / "m.json", model))
    assert caught.value.exit_code == 3


def test_states_of_a_whole_batch_have_a_limit() -> None:
    def model(batch: int | None, kind: str, **settings: Any) -> dict[str, Any]:
        sizes = [8, 8, 4] if kind == "ConvLSTM2D" else [4]
        entry = layer("InputLayer", "i", batch_input_shape=[batch, 10, *sizes])
        return sequential(entry, layer(kind, "l", **settings))

    check_architecture(model(1024, "LSTM", units=512, stateful=True), "m.h5")
    check_architecture(model(2**20, "LSTM", units=512, stateful=False), "m.h5")
    check_architecture(model(None, "LSTM", units=512, stateful=True), "m.h5")
    cell = {"cell": layer("LSTMCell", "c", units=1000), "stateful": True}
    for settings in ({"units": 1000, "stateful": True}, cell):
        with pytest.raises(UnsafeFileError, match="a stateful layer of 1000 states with batch_input_shape"):
            check_architecture(model(2**20, "RNN" if "cell" in settings else "LSTM", **settings), "m.h5")
    with pytest.raises(UnsafeFileError, match="a stateful layer of 64 states"):
        check_architecture(model(1024, "ConvLSTM2D", filters=64, stateful=True), "m.h5")
