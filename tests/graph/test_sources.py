"""TensorFlow files are told by their content, and broken ones are one clear message."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from graphs import V1, image

from dnndk_prep import cli
from dnndk_prep.errors import DnndkPrepError, ModelFileError, UsageError
from dnndk_prep.graph.foreign import foreign_graph
from dnndk_prep.graph.kinds import GRAPH, META, SAVED_MODEL, checkpoint_prefix, graph_file
from dnndk_prep.graph.sources import SavedKey, read_source
from dnndk_prep.graph.wanted import Wanted


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net.pb, net.pbtxt, a checkpoint with its .meta, and a SavedModel with two tags, all of one small net."""
    folder = tmp_path_factory.mktemp("sources")
    with tf.Graph().as_default() as graph, V1.Session(graph=graph) as session:
        x = image()
        kernel = V1.get_variable("conv/kernel", [3, 3, 3, 2], use_resource=True)
        y = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"), name="out")
        session.run(V1.global_variables_initializer())
        V1.train.Saver().save(session, str(folder / "net.ckpt"))
        graph_def = graph.as_graph_def()
        builder = V1.saved_model.Builder(str(folder / "saved"))
        signature = V1.saved_model.predict_signature_def({"image": x}, {"maps": y})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature, "other": signature})
        builder.add_meta_graph(["train"], {})
        builder.save()
    (folder / "net.pb").write_bytes(graph_def.SerializeToString())
    (folder / "net.pbtxt").write_text(text_format.MessageToString(graph_def))
    return folder


@pytest.mark.parametrize(
    ("name", "kind", "is_text"),
    [
        ("net.pb", GRAPH, False),
        ("net.pbtxt", GRAPH, True),
        ("net.ckpt.meta", META, False),
        ("saved", SAVED_MODEL, False),
    ],
)
def test_the_kind_is_told_by_content(files: Path, name: str, kind: str, is_text: bool, tmp_path: Path):
    path = files / name
    if path.is_file():
        path = tmp_path / "file.bin"
        path.write_bytes((files / name).read_bytes())
    found = graph_file(path)
    assert found is not None
    assert (found.kind, found.is_text) == (kind, is_text)
    source = read_source(path)
    assert any(node.name == "out" for node in source.graph_def.node)


def test_what_is_no_graph_is_none(tmp_path: Path):
    for content in (b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b'{"a": 1}', b"hello"):
        (tmp_path / "file").write_bytes(content)
        assert graph_file(tmp_path / "file") is None
    assert graph_file(tmp_path) is None


def test_variables_are_found_where_they_belong(files: Path):
    assert read_source(files / "net.ckpt.meta").checkpoint == files / "net.ckpt"
    saved = read_source(files / "saved")
    assert saved.checkpoint == files / "saved" / "variables" / "variables"
    assert saved.keys["conv/kernel"] == SavedKey("conv/kernel")
    assert (dict(saved.inputs), dict(saved.outputs)) == ({"image": "x:0"}, {"maps": "out:0"})
    for given in ("net.ckpt", "net.ckpt.index", "."):
        assert checkpoint_prefix(files / given).name == "net.ckpt"
    with pytest.raises(ModelFileError, match="there is no checkpoint"):
        checkpoint_prefix(files / "other.ckpt")


def test_tags_and_signatures(files: Path):
    assert read_source(files / "saved", signature="other").inputs == {"image": "x:0"}
    with pytest.raises(UsageError, match="no graph with the tag gpu"):
        read_source(files / "saved", tag="gpu")
    with pytest.raises(UsageError, match="no signature serving_defalt"):
        read_source(files / "saved", signature="serving_defalt")
    assert not read_source(files / "saved", tag="train").inputs


def test_parts_of_variables():
    value = np.arange(12).reshape(4, 3)
    assert SavedKey("a", "4 3 1,2:-").of(value).tolist() == [[3, 4, 5], [6, 7, 8]]
    with pytest.raises(ModelFileError, match="unknown part"):
        SavedKey("a", "4 3 x").of(value)


def refusal(path: Path) -> DnndkPrepError | None:
    try:
        foreign_graph(read_source(path), Wanted({}, [], {}))
    except DnndkPrepError as error:
        return error
    return None


@pytest.mark.parametrize("name", ["net.pb", "net.pbtxt", "net.ckpt.meta"])
def test_files_that_are_cut_short(files: Path, name: str, tmp_path: Path):
    whole = (files / name).read_bytes()
    path = tmp_path / name
    for size in [0, 1, 2, 7, *range(10, len(whole) - 1, max(1, len(whole) // 25))]:
        path.write_bytes(whole[:size])
        error = refusal(path)
        # A cut between two nodes leaves a graph that lacks some.
        assert error is None or error.exit_code in (3, 4, 6)
        if size < 10:
            assert isinstance(error, ModelFileError)


def test_bytes_that_were_changed(files: Path, tmp_path: Path):
    whole, chance, path = (files / "net.pb").read_bytes(), random.Random(5), tmp_path / "net.pb"
    refused = 0
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        refused += refusal(path) is not None
    assert refused > 50


def test_a_broken_file_is_exit_3(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "cut.pb").write_bytes((files / "net.pb").read_bytes()[:200])
    for words in (["inspect"], ["infer", "--fetch", "out"]):
        assert cli.main([words[0], str(tmp_path / "cut.pb"), *words[1:]]) == 3
        error = capsys.readouterr().err
        assert "cut short" in error or "no whole graph" in error
        assert "Traceback" not in error


def test_a_signature_has_to_be_named_where_there_are_several(files: Path):
    source = replace(read_source(files / "saved", "serve"), inputs={}, outputs={})
    with pytest.raises(UsageError, match=r"(?s)2 signatures.*other: image -> maps.*model.signature: other"):
        foreign_graph(source, Wanted())
    assert foreign_graph(source, Wanted(outputs=("out",))).outputs[0].name == "out"


def test_a_saved_model_whose_all_is_in_functions(tmp_path: Path):
    module = tf.Module()
    # Of two, TensorFlow makes neither the default.
    module.first, module.second = (tf.function(op, [tf.TensorSpec([None, 4])]) for op in (tf.nn.relu, tf.nn.tanh))
    tf.saved_model.save(module, str(tmp_path / "saved"))
    with pytest.raises(ModelFileError, match=r"(?s)has no signature.*signatures="):
        foreign_graph(read_source(tmp_path / "saved"), Wanted())
