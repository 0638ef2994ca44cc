"""The commands that work on a graph alone: `infer`, `evaluate`, and `inspect` of a graph."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from dnndk_prep.errors import ModelFileError, UsageError
from dnndk_prep.quiet import quiet_start

if TYPE_CHECKING:
    import numpy as np


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the parsers of `infer` and `evaluate`."""
    command = commands.add_parser(
        "infer", help="run a graph by tensor names", description="run a graph by tensor names"
    )
    command.set_defaults(command=infer)
    command.add_argument("graph", type=Path, metavar="GRAPH.pb", help="a frozen graph, of any TensorFlow")
    command.add_argument(
        "--feed", action="append", default=[], metavar="NAME=FILE.npy", help="a tensor and its array; may be repeated"
    )
    command.add_argument(
        "--fetch", action="append", nargs="+", required=True, metavar="NAME", help="a node (x) or a tensor (x:0, x:1)"
    )
    command.add_argument("--name", default="", metavar="PREFIX", help="the names begin with this, as imported under it")
    command.add_argument("--out", type=Path, metavar="FILE.npz", help="write the arrays there, by their names")
    command = commands.add_parser(
        "evaluate", help="accuracy of a graph on the configured data", description="accuracy of any frozen graph"
    )
    command.set_defaults(command=evaluate)
    command.add_argument("graph", type=Path, metavar="GRAPH.pb", help="a frozen graph, float or quantized")
    command.add_argument("pipeline", nargs="?", type=Path, default=Path("pipeline.yaml"), help="the YAML file")
    command.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="set one key of the YAML")
    command.add_argument("--input", action="append", default=[], metavar="NAME", help="where several could be meant")
    command.add_argument("--output", metavar="NAME", help="the scores, where several could be meant")
    command.add_argument("--images", type=int, metavar="N", help="the first N alone")
    command.add_argument("--json", action="store_true", help="as JSON, for programs")


def infer(args: argparse.Namespace) -> int:
    """`infer`: what some tensors of a graph are for some arrays."""
    import numpy as np

    from dnndk_prep import repeatable

    with quiet_start():
        from dnndk_prep.graph.infer import Inference, read_array
        from dnndk_prep.graph.sources import read_source

    feeds = {}
    for word in args.feed:
        name, equals, file = word.rpartition("=")
        if not equals or not name or not file:
            raise UsageError(f"--feed {word} feeds nothing", expected="--feed NAME=FILE.npy", found=word)
        feeds[name] = read_array(Path(file))
    fetches = [name for names in args.fetch for name in names]
    with Inference(read_source(args.graph), list(feeds), fetches, args.name) as inference:
        values = dict(zip(fetches, inference.run(feeds), strict=True))
    for name, value in values.items():
        print(f"{name}: {_summary(np.asarray(value))}")
    if args.out is not None:
        repeatable.save_npz(args.out, {name: np.asarray(value) for name, value in values.items()})
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """`evaluate`: top-1 and top-5 of a graph, and with class maps the mean intersection over union."""
    from dnndk_prep.config_file import load_config

    cfg = load_config(args.pipeline, args.set)
    with quiet_start():
        from dnndk_prep.data.parts import misfit, with_inputs
        from dnndk_prep.evaluation import evaluate as evaluated
        from dnndk_prep.graph.classifier import Classifier
        from dnndk_prep.graph.sources import read_source
        from dnndk_prep.stages import _inputs

    if args.images is not None and args.images < 1:
        raise UsageError("--images counts images", expected="a number above 0", found=str(args.images))
    part, preprocess = _inputs.dataset(cfg).test, _inputs.preprocess(cfg)
    with Classifier(read_source(args.graph), args.input, args.output) as graph:
        reason = misfit(part, preprocess, {spec.name: spec.shape for spec in graph.inputs})
        if reason or not len(part):
            raise ModelFileError(
                f"the dataset {cfg.dataset.name} does not fit {args.graph}",
                expected="test data of the graph's inputs, after preprocess",
                found=reason or "no test part",
                remedy="correct dataset and preprocess in the YAML, or name the input: --input",
            )
        fitting = with_inputs(part, [spec.name for spec in graph.inputs])
        result = evaluated(graph.run, graph.inputs, fitting, preprocess, args.images)
    if result["reason"]:
        raise ModelFileError(
            f"{args.graph} cannot be evaluated on {cfg.dataset.name}",
            expected="labels, and one score a class",
            found=result["reason"].removeprefix("not measured: "),
            remedy="name the scores: --output",
        )
    facts = {"graph": str(args.graph), "dataset": cfg.dataset.name, "output": graph.output, **result}
    print(json.dumps(facts, indent=2) if args.json else _accuracy_text(facts))
    return 0


def inspect_graph(path: Path, as_json: bool) -> str:
    """What a graph holds, as text or as JSON."""
    with quiet_start():
        from dnndk_prep.graph.facts import inspect_graph as inspected

    facts = inspected(path)
    return json.dumps(facts.as_dict(), indent=2) if as_json else facts.as_text()


def _accuracy_text(facts: dict) -> str:
    lines = [f"{facts['images']} images of {facts['dataset']}, by {facts['output']}"]
    for key, title in (("top1", "top-1"), ("top5", "top-5"), ("mean_iou", "mean IoU")):
        if facts[key] is not None:
            lines.append(f"{title + ':':<10}{100 * facts[key]:.2f} %")
    return "\n".join(lines)


def _summary(value: np.ndarray) -> str:
    text = f"{value.dtype.name if value.dtype != object else 'bytes'} {list(value.shape)}"
    if value.dtype.kind not in "fiu" or not value.size:
        return f"{text} {value.tolist()}" if value.size <= 16 else text
    if value.size <= 16:
        return f"{text} {value.tolist()}"
    return f"{text} from {value.min():.6g} to {value.max():.6g}, mean {value.mean():.6g}"
