"""Findings about what is done to values: activations, scales, averages."""

from __future__ import annotations

from collections.abc import Iterator

from dnndk_prep.check.findings.scene import ERROR, INFO, WARNING, Finding, Scene
from dnndk_prep.check.forms import ADDS, scalar
from dnndk_prep.check.fusion import BATCH_NORMS, LAYERS
from dnndk_prep.check.network import INPUTS, Op
from dnndk_prep.check.rules.activations import NEAR_SLOPE, SLOPE, SNAPS
from dnndk_prep.check.rules.pools import SPLIT_AREA, split


def relu_ceiling(scene: Scene) -> Iterator[Finding]:
    for one, form in scene.forms("relu_n"):
        clips = form.number is not None and form.number >= 0
        yield Finding(
            "relu_ceiling",
            ERROR,
            form.end,
            f"the quantizer takes Minimum(Relu, {form.number:g}) for a ReLU6: the ceiling {form.number:g} becomes 6",
            f"ReLU6, or ReLU; or keep it in float: --ignore_nodes {one.end}",
            "clip" if clips else None,
            clips,
        )


def rescaling(scene: Scene) -> Iterator[Finding]:
    for op in scene.ops("Mul", "Sub", "Add", "AddV2", "RealDiv", "Div", "FusedBatchNorm", "FusedBatchNormV3"):
        makers = [scene.network.maker(name) for name in op.inputs[:2]]
        reads_input = any(maker.op in INPUTS for maker in makers)
        if reads_input and (op.op in BATCH_NORMS or any(maker.op == "Const" for maker in makers)):
            yield Finding(
                "rescaling",
                WARNING,
                op.name,
                "the input is rescaled in the network: its raw values, 0 to 255, are rounded to 8 bits first, in steps "
                "of 2 or 4, and then once more behind it",
                f"preprocess before the network; or begin behind {op.name}: --input_nodes"
                if scene.family == "tf1"
                else "preprocess before the network: the scale goes to preprocess in the YAML",
                # vai_q_tensorflow2 begins where the model does.
                "cut_rescaling" if scene.family == "tf1" else None,
                scene.family == "tf1",
            )


def standalone_relu(scene: Scene) -> Iterator[Finding]:
    for kind in ("relu", "relu_six"):
        for one, form in scene.forms(kind):
            if not one.nodes:
                maker = scene.network.maker(form.source)
                movable = maker.op in MOVERS and _takes_relu(scene, form.source, scene.network.ops[form.nodes[0]])
                yield Finding(
                    "standalone_relu",
                    WARNING,
                    form.end,
                    f"it follows {maker.name} ({maker.op}), which computes no activation: it is quantized on its own, "
                    "by vai_q_tensorflow2 not at all",
                    "move it before the concat, pool or reshape: the numbers stay the same"
                    if maker.op in MOVERS
                    else "put it directly behind a layer that nothing else reads",
                    "early_relu" if movable else None,
                    movable,
                )


# A ReLU before these gives the same numbers as one behind them.
MOVERS = ("ConcatV2", "MaxPool", "Reshape", "Squeeze", "ExpandDims")
TAKERS = (*LAYERS, *ADDS, "BiasAdd")


def _takes_relu(scene: Scene, reference: str, reader: Op) -> bool:
    """Whether all that this value is made of are layers of which a ReLU may be part."""
    maker, network = scene.network.maker(reference), scene.network
    if maker.op in ("Relu", "Relu6"):
        return reader.op == "Relu" or maker.op == "Relu6"
    if network.is_output(maker.name) or network.read_by(maker.name) != [reader.name]:
        return False
    if maker.op in MOVERS:
        data = maker.inputs[:-1] if maker.op == "ConcatV2" else maker.inputs[:1]
        return all(_takes_relu(scene, name, maker) for name in data)
    return maker.op in TAKERS


def leaky_slope(scene: Scene) -> Iterator[Finding]:
    for _, form in scene.forms("leaky_relu"):
        slope = form.number if form.number is not None else 0.0
        if abs(slope - SLOPE) <= 1e-7:
            continue
        if abs(slope - NEAR_SLOPE) <= SNAPS[scene.family]:
            yield Finding(
                "leaky_slope",
                INFO,
                form.end,
                f"the quantizer changes the slope 0.1 to 26/256 ({SLOPE:g}): negative values grow by 1.6 %",
                "alpha 0.1 -> 26/256: train with it, and nothing changes",
                "leaky_26_256",
            )
        else:
            yield Finding(
                "leaky_slope",
                WARNING,
                form.end,
                f"the slope {slope:g} stays as it is, and only 26/256 ({SLOPE:g}) runs on the DPU",
                f"alpha {slope:g} -> 26/256, and train again",
                "leaky_26_256",
            )


def leaky_form(scene: Scene) -> Iterator[Finding]:
    for _, form in scene.forms("leaky_relu"):
        end = scene.network.ops[form.end]
        product = scene.network.ops[form.nodes[0]]
        if end.op == "Maximum" and scalar(scene.network, product.inputs[1]) is not None:
            yield Finding(
                "leaky_form",
                WARNING,
                form.end,
                "vai_q_tensorflow 3.5 does not know Maximum(x * slope, x) for a LeakyReLU: it quantizes product and "
                "maximum each on their own, and does not set the slope to 26/256",
                'write the graph for TensorFlow 1.15, where it stays one LeakyRelu: graph.reader: "1.15"',
            )


def hard_sigmoid(scene: Scene) -> Iterator[Finding]:
    for kind, hard in (("sigmoid", "ReLU6(x + 3) / 6"), ("swish", "x * ReLU6(x + 3) / 6")):
        for _, form in scene.forms(kind):
            yield Finding(
                "hard_sigmoid",
                WARNING,
                form.end,
                f"vai_q_tensorflow2 writes {hard} in place of the {kind}: the model's numbers change",
                "train with the hard form, or quantize with convert_sigmoid_to_hard_sigmoid=False (then on the CPU)",
            )


def output_on_pool(scene: Scene) -> Iterator[Finding]:
    for one in scene.of_kind("avg_pool", "global_pool"):
        if scene.network.is_output(one.end):
            yield Finding(
                "output_on_pool",
                ERROR,
                one.end,
                "the output is an average pool: the quantizer's scale and rounding behind it never run, its position "
                "stays 0, and 0 is copied to what feeds the pool",
                "name a later node as the output, for example a Reshape or the layer behind it",
                "later_output",
                True,
            )


def split_pool(scene: Scene) -> Iterator[Finding]:
    for one in scene.of_kind("max_pool", "avg_pool", "global_pool"):
        (height, width), area = scene.numbers(one).kernel, scene.numbers(one).area
        if area is not None and height is not None and width is not None and area >= SPLIT_AREA:
            (a, c), (b, d) = split(height), split(width)
            yield Finding(
                "split_pool",
                INFO,
                one.main,
                f"a pool over {height}x{width} becomes two: {a}x{b} and {c}x{d}; averages are rounded twice",
                "a smaller map before it, or the same two pools in the model",
            )


def half_pixels(scene: Scene) -> Iterator[Finding]:
    for op in scene.ops("ResizeBilinear"):
        if op.attrs.get("half_pixel_centers"):
            yield Finding(
                "half_pixels",
                INFO,
                op.name,
                "a bilinear resize with half_pixel_centers: by the rules of Vitis AI 3.5 the DPU does it by 2 and 4; "
                "of earlier compilers no source tells",
                "nearest, which is the same in all releases; or hold what the board gives against the float graph",
            )


# The product with which the DPU divides by the area of an average pool, over the area: as measured.
POOL_SCALES = {3: (9 * 7, 64), 5: (25 * 10, 256), 6: (36 * 7, 256), 7: (49 * 21, 1024), 14: (196 * 21, 4096)}


def pool_scale(scene: Scene) -> Iterator[Finding]:
    for one in scene.of_kind("avg_pool", "global_pool"):
        height, width = scene.numbers(one).kernel
        if height is not None and height == width and height in POOL_SCALES:
            over, under = POOL_SCALES[height]
            yield Finding(
                "pool_scale",
                INFO,
                one.main,
                f"the DPU has no division: the average over {height}x{width} comes out {over}/{under} "
                f"({over / under:.4f}) of what it is",
                "nothing: the quantizer calibrates with it",
            )


def mean_after_norm(scene: Scene) -> Iterator[Finding]:
    for one in scene.of_kind("global_pool"):
        for before in scene.before(one):
            if before.kind == "scale" and before.activation is None:
                yield Finding(
                    "mean_after_norm",
                    ERROR,
                    one.main,
                    f"it reads the batch norm {before.end} directly: vai_q_tensorflow 3.5 ends with signal "
                    "11, every time",
                    "put a ReLU between batch norm and pool",
                    "norm_behind_mean",
                    True,
                )
