"""A Keras model in Theano's order, or trained by Theano, as one for TensorFlow in channels_last."""

import argparse
import json
import sys
from pathlib import Path

import _entry  # noqa: F401

from dnndk_prep.legacy_cli import guarded


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=__doc__)
    result.add_argument(
        "-w", "--weights", required=True, type=Path, help="complete model, or weights with --json (.h5)"
    )
    result.add_argument("-j", "--json", type=Path, help="architecture (.json)")
    clear = result.add_argument("-c", "--clear", action="store_true")
    clear.help = "leave out optimizer and loss; they are left out in any case, for they are in the old order"
    result.add_argument("-o", "--output", required=True, type=Path, help="folder for both files, under their old names")
    return result


def convert(args: argparse.Namespace) -> None:
    from dnndk_prep.errors import UsageError
    from dnndk_prep.keras_io.load import read_architecture_weights, read_model
    from dnndk_prep.keras_io.stored_weights import write_complete

    target = args.output / args.weights.with_suffix(".h5").name
    architecture = args.output / (args.json.name if args.json else "architecture.json")
    for old, new in ((args.weights, target), (args.json, architecture)):
        if old and old.resolve() == new.resolve():
            raise UsageError(f"{new} would be written over the model itself", remedy="give another folder with -o")
    source = read_architecture_weights(args.json, args.weights) if args.json else read_model(args.weights)
    write_complete(source.config, source.keras_version, source.weights, target)
    text = json.dumps({**source.config, "keras_version": source.keras_version, "backend": "tensorflow"}, indent=1)
    architecture.write_text(text + "\n", encoding="utf-8")
    print(f"written: {target}, {architecture}")


if __name__ == "__main__":
    sys.exit(guarded(parser(), convert))
