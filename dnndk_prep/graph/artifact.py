"""A graph with the names, shapes and dtypes of its inputs and outputs: the one value that stages hand on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import ModelFileError, StageError
from dnndk_prep.graph.weights import pieces, read, size_of
from dnndk_prep.wire import MAX_BYTES

GRAPH_JSON = "graph.json"


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: node name without `:0`, shape with None for free dimensions, numpy dtype name."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class GraphArtifact:
    """A GraphDef with its inputs and outputs in the model's order, written for the TensorFlow `reader`."""

    graph_def: GraphDef
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    reader: str

    @property
    def input_names(self) -> list[str]:
        return [spec.name for spec in self.inputs]

    @property
    def output_names(self) -> list[str]:
        return [spec.name for spec in self.outputs]

    def save(self, folder: Path, filename: str) -> None:
        """Write `filename` (binary GraphDef) and graph.json into `folder`.

        Raises StageError for a graph above protobuf's 2 GiB.
        """
        if (size := size_of(self.graph_def)) > MAX_BYTES:
            raise StageError(
                f"{filename} would be too large",
                expected=f"at most {MAX_BYTES} bytes: no protobuf file is larger",
                found=f"{size} bytes",
                remedy="name large variables in freeze_graph.keep_vars; optimize_for_inference.unshare copies weights",
            )
        digest = hashlib.sha256()
        with (folder / filename).open("wb") as file:
            for piece in pieces(self.graph_def):
                file.write(piece)
                digest.update(piece)
        facts = {
            "inputs": [asdict(spec) for spec in self.inputs],
            "outputs": [asdict(spec) for spec in self.outputs],
            "reader": self.reader,
            "sha256": digest.hexdigest(),
        }
        (folder / GRAPH_JSON).write_text(json.dumps(facts, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> GraphArtifact:
        """Read the one `*.pb` of `folder` with its graph.json.

        Raises StageError if there is not exactly one `*.pb`, and ModelFileError if it was changed since.
        """
        found = sorted(folder.glob("*.pb"))
        if len(found) != 1:
            raise StageError(
                f"{folder.name}/ does not hold one graph",
                expected="exactly one *.pb",
                found=", ".join(p.name for p in found) or "none",
                remedy="run the stage again with --force",
            )
        facts = json.loads((folder / GRAPH_JSON).read_text())
        with found[0].open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != facts["sha256"]:
            raise ModelFileError(
                f"{folder.name}/{found[0].name} is not the graph that its graph.json describes",
                expected=f"sha256 {facts['sha256']}",
                found=f"sha256 {actual}",
                remedy=f"run the pipeline again with --from {folder.name} --force",
            )
        return cls(
            graph_def=read(found[0]),
            inputs=tuple(_spec(item) for item in facts["inputs"]),
            outputs=tuple(_spec(item) for item in facts["outputs"]),
            reader=facts["reader"],
        )


def serialize(graph_def: GraphDef) -> bytes:
    """The GraphDef as bytes that depend on its content alone (protobuf maps are sorted)."""
    return graph_def.SerializeToString(deterministic=True)


def _spec(item: dict) -> TensorSpec:
    return TensorSpec(item["name"], tuple(item["shape"]), item["dtype"])
