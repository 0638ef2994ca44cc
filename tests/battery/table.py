"""The table of the battery, as docs/reference/operators.md holds it: what the tests of tests/readers prove."""

from __future__ import annotations

from battery import GROUPS
from battery.patterns import Pattern

READERS = ("1.9", "1.12", "1.15")
SPELLINGS = {"2": "Keras 2", "3": "Keras 3", "graph": "TensorFlow 1"}

HEAD = """# Layers and operations, and the TensorFlow that reads them

Each row is a small model with weights of its own. It is built by the Keras in the second column (`tf_keras` for Keras
2; TensorFlow 1 where no Keras makes such a graph), frozen and optimized for each reader, and run by the real TensorFlow
1.9, 1.12 and 1.15: `same` means that the outputs are within 1e-5 of what Keras itself predicts. Anything else is the
reason with which the model is refused, in a sentence, before a file is written. This table is written by the tests from
what they run (`pytest tests/golden --update-golden`).

A later release is served by the newest registry before it: `graph.reader: "1.13"` gives the graph of 1.12, and
everything from 1.15 on (`"2.8"`, `"2.12"`) that of 1.15, which all later ones read.

A model of Keras 3 with a layer, activation or operation that Keras 2 has no form for is traced by Keras 3 ("traced"),
and its graph brought to the same form.

What is here and not in the reader becomes: a convolution in groups Split, Conv2D and ConcatV2, or a depthwise one; a
resize with half pixels an enlargement of the image with its edge repeated, or weighted sums of rows and columns; Einsum
MatMul between Transpose and Reshape; SelectV2 Select; LeakyRelu Maximum(Mul); EXPLICIT paddings a Pad.
"""


def table() -> str:
    """The text of docs/reference/operators.md."""
    parts = [HEAD]
    for title, patterns in GROUPS.items():
        parts.append(
            f"\n## {title}\n\n| model | built by | {' | '.join(READERS)} |\n|---|---|{'---|' * len(READERS)}\n"
        )
        parts += [_row(pattern) for pattern in patterns]
    return "".join(parts)


def _row(pattern: Pattern) -> str:
    built = ", ".join(SPELLINGS[spelling] for spelling in pattern.spellings)
    results = [pattern.refused.get(reader, "same") for reader in READERS]
    return f"| {pattern.name} | {built} | {' | '.join(results)} |\n"
