"""Reads files as the product does, one line of JSON for each; run by test_inputs.py in processes of its own."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from dnndk_prep.config_file import load_config
from dnndk_prep.data.images import read_image
from dnndk_prep.data.sources.npz import read_arrays
from dnndk_prep.errors import DnndkPrepError
from dnndk_prep.keras_io.load import read_architecture_weights, read_model
from dnndk_prep.quant.calibration_data import BatchFile, require_meaning


def read_graph(path: Path) -> None:
    """A TensorFlow graph of the user's, on to the inference graph that is made of it."""
    from dnndk_prep.graph.foreign import foreign_graph
    from dnndk_prep.graph.sources import read_source
    from dnndk_prep.graph.wanted import Wanted

    foreign_graph(read_source(path), Wanted({}, (), {}))


def read_values(prefix: Path) -> None:
    """A checkpoint."""
    from dnndk_prep.keras_io.checkpoint import read_checkpoint

    read_checkpoint(prefix)


def read_one(path: Path) -> None:
    """What `infer` is fed with."""
    from dnndk_prep.graph.infer import read_array

    read_array(path)


def read_batches(path: Path) -> None:
    """Calibration batches."""
    require_meaning(iter(BatchFile(path, ["image"])))


READ = {
    **{"model": read_model, "pair": read_architecture_weights, "config": load_config, "graph": read_graph},
    **{"checkpoint": read_values, "image": read_image, "arrays": read_batches, "dataset": read_arrays},
    "array": read_one,
}


def said(kind: str, paths: list[str]) -> dict[str, str]:
    """`read`, the error that the user is told, or the traceback of any other."""
    try:
        READ[kind](*map(Path, paths))
    except DnndkPrepError as error:
        # What is told must be text that a terminal takes.
        return {"error": type(error).__name__, "text": str(error).encode().decode()}
    except BaseException:
        return {"traceback": traceback.format_exc()}
    return {"read": kind}


def main() -> None:
    # Whatever Keras and HDF5 print goes elsewhere.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        kind, paths = json.loads(line)
        answers.write(json.dumps(said(kind, paths)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
