"""The drawing of a graph: edges go down, boxes do not touch, chains are straight, and large graphs take no time."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from dnndk_prep.report.drawing import HEIGHT, WIDTH, draw, shortened
from dnndk_prep.report.layout import layered, numbered

CHAIN = [(i, i + 1) for i in range(5)]
# 0 -> 1 -> 2 -> 3 -> 4 beside 0 -> 4.
SHORTCUT = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)]
# Three branches of different length, joined.
BRANCHES = [(0, 1), (0, 2), (0, 3), (1, 4), (4, 5), (2, 6), (5, 7), (6, 7), (3, 7)]
TWO_INPUTS = [(0, 2), (2, 3), (3, 4), (1, 4)]


def residual(blocks: int, length: int = 6) -> list[tuple[int, int]]:
    """Blocks of `length` nodes, each with an edge past it."""
    edges, last = [], 0
    for _ in range(blocks):
        chain = list(range(last, last + length + 1))
        edges += [*pairwise(chain), (last, chain[-1])]
        last = chain[-1]
    return edges


@pytest.mark.parametrize("edges", [CHAIN, SHORTCUT, BRANCHES, TWO_INPUTS, residual(5)])
def test_edges_go_down_and_boxes_do_not_touch(edges):
    count = 1 + max(map(max, edges))
    made = layered(count, edges)
    assert all(made.layer[a] < made.layer[b] for a, b in edges)
    for layer in set(made.layer):
        row = sorted(x for x, at in zip(made.x, made.layer, strict=True) if at == layer)
        assert all(right - left >= 1 for left, right in pairwise(row))
    for (a, b), route in zip(edges, made.routes, strict=True):
        assert [at for _, at in route] == list(range(made.layer[a], made.layer[b] + 1))
        assert (route[0][0], route[-1][0]) == (made.x[a], made.x[b])


def test_long_edges_pass_beside_the_boxes():
    made = layered(5, SHORTCUT)
    for x, layer in made.routes[-1][1:-1]:
        assert all(abs(x - made.x[node]) > 0.5 for node in range(5) if made.layer[node] == layer)


def test_chains_and_the_middles_of_blocks_are_straight():
    assert len(set(layered(6, CHAIN).x)) == 1
    edges = residual(4)
    made = layered(1 + max(map(max, edges)), edges)
    assert len({round(made.x[node], 6) for node in (0, 6, 12, 18, 24)}) == 1
    for first in (1, 7, 13, 19):
        assert len({round(made.x[node], 6) for node in range(first, first + 5)}) == 1


def test_an_input_stands_directly_above_what_reads_it():
    assert layered(5, TWO_INPUTS).layer == (0, 2, 1, 2, 3)


def test_nothing_and_single_nodes():
    assert layered(0, []).x == ()
    assert draw([]).boxes == ()
    assert draw([{"name": "a", "inputs": []}]).paths == ()


def test_a_thousand_nodes_with_long_edges_take_no_time():
    edges = [*residual(150, 7), (0, 1050), (3, 900)]
    started = time.process_time()
    layered(1051, edges)
    assert time.process_time() - started < 3


def test_edges_of_loops_and_to_what_is_not_drawn_are_left_out():
    assert numbered(["a", "b"], {"a": ["b"], "b": ["a", "constant", "a"]}) == [(0, 1)]


def test_the_drawing_in_pixels():
    drawing = draw(
        [{"name": name, "inputs": reads} for name, reads in (("a", []), ("b", ["a"]), ("c" * 60, ["a", "b"]))]
    )
    assert all(box.x >= 0 and box.x + WIDTH <= drawing.width for box in drawing.boxes)
    assert all(box.y >= 0 and box.y + HEIGHT <= drawing.height for box in drawing.boxes)
    assert drawing.boxes[2].label == f"{'c' * 14}…{'c' * 14}"
    assert all(path.startswith("M") for path in drawing.paths)
    assert shortened("short") == "short"
