"""The command `quantize` and the files that it leaves."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from measured import Case, case
from nets import Net
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep import cli
from dnndk_prep.errors import ModelFileError
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.quant import pow2
from dnndk_prep.quant.calibration_data import BatchFile
from dnndk_prep.quant.network import to_graph_def

NAMES = ("11_squeeze_excite", "10_two_inputs", "16_flags_bits")


def command(one: Case, out: Path) -> list[str]:
    """The words for a measured case."""
    words = ["quantize", str(one.folder / "float.pb"), "--inputs", ",".join(one.inputs)]
    words += ["--outputs", ",".join(one.outputs), "--calib", str(one.folder / "calib.npz"), "--out", str(out)]
    return words + [word for pair in one.facts["flags"].items() for word in pair]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders that the command has written, by case."""
    folders = {name: tmp_path_factory.mktemp(name) / "out" for name in NAMES}
    for name, folder in folders.items():
        assert cli.main(command(case(name), folder)) == 0
    return folders


@pytest.mark.parametrize("name", NAMES)
def test_positions(name: str, written: dict[str, Path]):
    stored = json.loads((written[name] / "positions.json").read_text())
    keys = ("kind", "mode", "method", "bit_width", "position", "position_calibrated", "batch_positions", "op")
    got = {(item["node"], *(str(item[key]) for key in keys)) for item in stored["fix_neurons"]}
    wanted = case(name).facts["fix_neurons"]
    assert got == {(item["match_name"], *(str(item[key]) for key in keys)) for item in wanted}
    assert stored["outputs"] == case(name).outputs
    for item in stored["fix_neurons"]:
        low, high = item["range"]
        assert low <= high
        assert 0 <= item["clipped"] <= 1


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_of_stock_ops_has_its_names_in_graph_json(name: str, written: dict[str, Path]):
    one, folder = case(name), written[name]
    facts = json.loads((folder / "graph.json").read_text())
    assert [item["name"] for item in facts["inputs"]] == one.inputs
    graph_def = GraphDef.FromString((folder / "quantize_eval_model_stock.pb").read_bytes())
    with GraphRunner(graph_def, [item["name"] for item in facts["outputs"]]) as runner:
        (got,) = runner.run(one.arrays("eval.npz", "x"))
    with np.load(one.folder / "eval.npz") as stored:
        np.testing.assert_array_equal(got, stored["y_quant"])


def test_the_graph_of_the_vendor(written: dict[str, Path]):
    one = case("11_squeeze_excite")
    graph_def = GraphDef.FromString((written[one.name] / "quantize_eval_model.pb").read_bytes())
    wanted = {item["name"]: (item["op"], item["inputs"]) for item in one.facts["quantized_graph"]}
    assert {node.name: (node.op, list(node.input)) for node in graph_def.node} == wanted
    assert not graph_def.HasField("versions")
    for item in one.facts["fix_neurons"]:
        node = next(node for node in graph_def.node if node.name == f"{item['node']}/{item['kind']}")
        assert node.attr.keys() == {
            *("T", "bit_width", "method", "mode", "phase", "quantize_pos", "output_dir", "_output_shapes")
        }
        assert (node.attr["phase"].i, node.attr["T"].type) == (1, tf.float32.as_datatype_enum)
        assert node.attr["quantize_pos"].i == item["position"]
    # The weights are what they were.
    kernel = next(node for node in graph_def.node if node.name == "head/kernel")
    floats = GraphDef.FromString((one.folder / "float.pb").read_bytes())
    before = next(node for node in floats.node if node.name == "head/kernel")
    np.testing.assert_array_equal(
        tf.make_ndarray(kernel.attr["value"].tensor), tf.make_ndarray(before.attr["value"].tensor)
    )


def test_dumped_numbers_are_those_of_the_first_batch(written: dict[str, Path]):
    one = case("11_squeeze_excite")
    dump = written[one.name] / "dump"
    names = {f"{item['node']}/{item['kind']}".replace("/", "_") for item in one.facts["fix_neurons"]}
    files = {path.stem for folder in dump.iterdir() for path in folder.glob("*.bin")}
    assert files == names
    image = one.batches()[0]["image"]
    position = next(item["position"] for item in one.facts["fix_neurons"] if item["node"] == "image")
    whole = pow2.rounded(image, 8, position, 1).reshape(-1)
    stored = np.fromfile(dump / "dump_results_0" / "image_aquant.bin", np.int8)
    np.testing.assert_array_equal(stored, whole)
    lines = (dump / "dump_results_0" / "image_aquant.txt").read_text().split()
    assert lines[:50] == [str(int(number)) for number in whole[:50]]
    assert (dump / "dump_results_weights" / "head_kernel_wquant.bin").exists()


def test_wide_numbers_wrap_in_the_dump_and_it_is_said(written: dict[str, Path], capsys: pytest.CaptureFixture[str]):
    one = case("16_flags_bits")
    stored = np.fromfile(written[one.name] / "dump" / "dump_results_0" / "image_aquant.bin", np.int8)
    item = next(item for item in one.facts["fix_neurons"] if item["node"] == "image")
    whole = pow2.rounded(one.batches()[0]["image"], item["bit_width"], item["position"], 1).reshape(-1)
    assert np.abs(whole).max() > 127
    np.testing.assert_array_equal(stored, whole.astype(np.int64).astype(np.int8))


def test_the_error_of_each_layer(written: dict[str, Path]):
    one = case("11_squeeze_excite")
    with (written[one.name] / "layer_error.csv").open() as file:
        rows = {(row["node"], row["kind"]): row for row in csv.DictReader(file)}
    assert len(rows) == len(one.facts["fix_neurons"])
    kernel = rows["head/kernel", "wquant"]
    floats = GraphDef.FromString((one.folder / "float.pb").read_bytes())
    x = tf.make_ndarray(next(node for node in floats.node if node.name == "head/kernel").attr["value"].tensor)
    y = pow2.quantize(x, 8, int(kernel["position"]), 0)
    assert float(kernel["sqnr_db"]) == pytest.approx(10 * np.log10((x**2).sum() / ((x - y) ** 2).sum()), rel=1e-4)
    assert float(kernel["max_error"]) == pytest.approx(np.abs(x - y).max(), rel=1e-4)
    last = rows["head/BiasAdd", "aquant"]
    assert float(last["cumulative_sqnr_db"]) < float(last["sqnr_db"])
    assert 0.9 < float(last["cumulative_cosine"]) < 1


def graph(tmp_path: Path) -> Path:
    net = Net()
    net.op("Relu", "r", net.biased("c", "x"))
    path = tmp_path / "g.pb"
    path.write_bytes(to_graph_def(net.nodes).SerializeToString())
    return path


GOOD = np.ones((2, 8, 8, 4), np.float32)
BAD = {
    "empty": ({"b0": GOOD[:0]}, "empty"),
    "zero": ({"b0": GOOD * 0, "b1": GOOD * 0}, "zero throughout"),
    "nan": ({"b0": GOOD, "b1": GOOD * np.nan}, "not finite"),
    "infinite": ({"b0": GOOD * np.inf}, "not finite"),
    "shape": ({"b0": GOOD[..., :3]}, "cannot compute"),
    "words": ({"b0": np.array(["a"])}, "no numbers"),
}


@pytest.mark.parametrize("what", BAD)
def test_calibration_data_that_mean_nothing_are_refused(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arrays, words = BAD[what]
    np.savez(tmp_path / "c.npz", **arrays)
    given = ["--inputs", "x", "--outputs", "r", "--calib", str(tmp_path / "c.npz"), "--out", str(tmp_path / "out")]
    assert cli.main(["quantize", str(graph(tmp_path)), *given]) == 4
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (["--inputs", "y"], 2, "no node 'y'"),
        (["--inputs", "x,x"], 2, "names x twice"),
        (["--inputs", ","], 2, "--inputs names no node"),
        (["--outputs", "r:0"], 2, "no node 'r:0'"),
        (["--outputs", ""], 2, "--outputs names no node"),
        (["--method", "3"], 2, "--method 3 is no choice"),
        (["--weight_bit", "1"], 2, "2 to 32 bits"),
        (["--nodes_bit", "c"], 2, "NODE:NUMBER"),
        (["--nodes_bit", "d:4"], 4, "'d'"),
        (["--ignore_nodes", "d"], 4, "'d'"),
        (["--calib", "nothing.npz"], 3, "calibration batches"),
    ],
)
def test_wrong_words_are_refused(
    change: list[str], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    np.savez(tmp_path / "c.npz", b0=GOOD)
    given = ["--inputs", "x", "--outputs", "r", "--calib", str(tmp_path / "c.npz"), "--out", str(tmp_path / "out")]
    assert cli.main(["quantize", str(graph(tmp_path)), *given, *change]) == code
    assert words in capsys.readouterr().err


def quantized(tmp_path: Path, net: Net, inputs: str, outputs: str, **arrays: np.ndarray) -> int:
    """What the command returns for the net, which writes into out/."""
    (tmp_path / "g.pb").write_bytes(to_graph_def(net.nodes).SerializeToString())
    np.savez(tmp_path / "c.npz", **arrays)
    given = [
        "--inputs",
        inputs,
        "--outputs",
        outputs,
        "--calib",
        str(tmp_path / "c.npz"),
        "--out",
        str(tmp_path / "out"),
    ]
    return cli.main(["quantize", str(tmp_path / "g.pb"), *given])


def test_inner_inputs_are_computed_from_the_placeholders_that_are_fed(tmp_path: Path):
    net = Net((None, 8, 8, 3))
    net.op("Relu", "r0", net.biased("c0", "x", channels=3))
    net.op("Relu", "r", net.biased("c", "r0"))
    assert quantized(tmp_path, net, "r0", "r", b0=GOOD[..., :3]) == 0
    stored = json.loads((tmp_path / "out" / "positions.json").read_text())
    assert {item["node"] for item in stored["fix_neurons"]} == {"r0", "c/k", "c/bias", "r"}
    facts = json.loads((tmp_path / "out" / "graph.json").read_text())
    assert [(item["name"], item["shape"][1:]) for item in facts["inputs"]] == [("x", [8, 8, 3])]
    assert [item["name"] for item in facts["outputs"]] == ["r/aquant"]


def test_single_numbers_are_inputs_too_in_any_order(tmp_path: Path):
    net = Net()
    net.placeholder("keep", ())
    net.op("Mul", "kept", net.op("Relu", "r", net.biased("c", "x")), "keep")
    keep = np.float32(0.5)
    assert quantized(tmp_path, net, "keep,x", "kept", b0_in0=keep, b0_in1=GOOD, b1_in0=keep, b1_in1=GOOD[:1]) == 0
    stored = json.loads((tmp_path / "out" / "positions.json").read_text())["fix_neurons"]
    assert next(item["range"] for item in stored if item["node"] == "keep") == [0.5, 0.5]


def damaged(path: Path, what: str) -> None:
    if what == "objects":
        np.savez(path, b0=np.array([{}], object))
    elif what == "one array":
        with path.open("wb") as file:
            np.save(file, GOOD)
    else:
        np.savez(path, b0=np.tile(GOOD, (9, 1, 1, 1)))
        content = bytearray(path.read_bytes())
        content[3000] ^= 255
        path.write_bytes(content[:5000] if what == "cut" else content)


@pytest.mark.parametrize(
    ("what", "words"),
    [("objects", "Object arrays"), ("one array", ".npy"), ("cut", "zip"), ("a changed byte", "CRC")],
)
def test_files_that_hold_no_batches_are_refused(what: str, words: str, tmp_path: Path):
    damaged(tmp_path / "c.npz", what)
    with pytest.raises(ModelFileError) as caught:
        list(BatchFile(tmp_path / "c.npz", ["x"]))
    assert words in str(caught.value.found)


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    np.savez(tmp_path / "c.npz", b0=GOOD)
    (tmp_path / "file").write_text("")
    given = ["--inputs", "x", "--outputs", "r", "--calib", str(tmp_path / "c.npz")]
    assert cli.main(["quantize", str(graph(tmp_path)), *given, "--out", str(tmp_path / "file" / "out")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_devices_of_another_machine(tmp_path: Path):
    net = Net()
    net.op("Relu", "r", net.biased("c", "x"))
    net.nodes[-1] = replace(net.nodes[-1], device="/device:GPU:0")
    assert quantized(tmp_path, net, "x", "r", b0=GOOD) == 0


def test_missing_batches_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    np.savez(tmp_path / "c.npz", b0=GOOD, b2=GOOD, other=GOOD)
    given = ["--inputs", "x", "--outputs", "r", "--calib", str(tmp_path / "c.npz"), "--out", str(tmp_path / "out")]
    assert cli.main(["quantize", str(graph(tmp_path)), *given]) == 3
    assert "b1, other" in capsys.readouterr().err


def test_an_average_as_the_output_is_as_silent_as_the_vendors_but_for_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    net = Net()
    net.op("Relu", "r", net.biased("c", "x"))
    net.mean("m", "r", keep_dims=False)
    (tmp_path / "g.pb").write_bytes(to_graph_def(net.nodes).SerializeToString())
    np.savez(tmp_path / "c.npz", b0=GOOD)
    given = ["--inputs", "x", "--outputs", "m", "--calib", str(tmp_path / "c.npz"), "--out", str(tmp_path / "out")]
    assert cli.main(["quantize", str(tmp_path / "g.pb"), *given]) == 0
    stored = json.loads((tmp_path / "out" / "positions.json").read_text())["fix_neurons"]
    # The factor never runs, and its position 0 is handed to what is pooled.
    assert {item["node"]: item["position"] for item in stored if item["node"] in ("m/mul", "r")} == {"m/mul": 0, "r": 0}
    assert "name a later node as the output" in capsys.readouterr().err


def test_a_graph_for_a_fixed_batch(tmp_path: Path):
    net = Net((2, 8, 8, 4))
    net.op("Relu", "r", net.biased("c", "x"))
    (tmp_path / "g.pb").write_bytes(to_graph_def(net.nodes).SerializeToString())
    np.savez(tmp_path / "c.npz", b0=GOOD, b1=2 * GOOD)
    given = ["--inputs", "x", "--outputs", "r", "--calib", str(tmp_path / "c.npz"), "--out", str(tmp_path / "out")]
    assert cli.main(["quantize", str(tmp_path / "g.pb"), *given]) == 0
    size = (tmp_path / "out" / "dump" / "dump_results_0" / "x_aquant.bin").stat().st_size
    assert size == GOOD.size
