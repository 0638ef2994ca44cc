"""The operator check against its limits, just inside and just outside each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from check_cases import ISA0, ISA1, ROWS, SOURCES, Row
from check_networks import LAYER, Build, checked

from dnndk_prep.check import check
from dnndk_prep.check.judge import CHECKS
from dnndk_prep.check.rules import activations, joins, others
from dnndk_prep.check.rules.rule import Rule
from dnndk_prep.dpu.resolve import resolve_target


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_inside_it_is_no_matter_for_the_cpu(row: Row):
    verdict = {node.node: node for node in checked(row.make(**row.inside), row.target, row.family).nodes}[LAYER]
    assert verdict.placement != "cpu", verdict
    assert (verdict.limit, verdict.value, verdict.remedy) == (None, None, None)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_outside_it_is_the_cpus_by_that_rule(row: Row):
    target, family = row.outside_target or row.target, row.outside_family or row.family
    verdict = {node.node: node for node in checked(row.make(**row.outside), target, family).nodes}[LAYER]
    assert (verdict.placement, verdict.rule) == ("cpu", row.rule), verdict
    assert verdict.limit
    assert verdict.remedy
    assert row.value is None or verdict.value == row.value


def test_every_rule_has_a_case():
    rules = {check.id for checks in CHECKS.values() for check in checks if isinstance(check, Rule)}
    rules |= {row[0] for table in (activations.IN_WORDS, joins.IN_WORDS, others.IN_WORDS) for row in table}
    # Every DPU adds; and no padding of TensorFlow is that large for a pool.
    never = {"add.engine", "max_pool.pad_after", "avg_pool.pad_after", "global_pool.square"}
    assert rules - {row.rule for row in ROWS} == never


def test_every_row_cites_its_source():
    for row in ROWS:
        assert any(row.source.startswith(place) and row.source != place for place in SOURCES), row.source


def test_a_dpu_without_sums():
    build = Build()
    build.op("Add", build.image(), build.image(), name=LAYER)
    dpu = replace(resolve_target("zcu104").dpu, eltwise=())
    verdict = check(build.network(), dpu).nodes[-1]
    assert (verdict.rule, verdict.limit, verdict.value) == ("add.engine", "none", "add")


def test_a_global_pool_has_to_be_square_where_pools_are():
    build = Build()
    build.op("Mean", build.image((7, 5)), build.ints(1, 2), name=LAYER)
    verdict = check(build.network(), resolve_target("DPUCZDX8G_ISA0_B4096_MAX", None).dpu).nodes[-1]
    assert (verdict.placement, verdict.rule, verdict.value) == ("cpu", "global_pool.square", "7x5")


@pytest.mark.parametrize(
    ("kind", "kernel", "stride", "text"),
    [
        ("MaxPool", 9, 9, "pool 9x9 -> two pools: 3x3 with stride 3x3, then 3x3"),
        ("AvgPool", 9, 9, "pool 9x9 -> two pools: 3x3 with stride 3x3, then 3x3"),
        ("MaxPool", (12, 9), (12, 9), "two pools: 3x3 with stride 3x3, then 4x3"),
        ("MaxPool", 11, 11, "no parts in 1-8"),
        # Windows that overlap: maxima of maxima; averages are no averages of averages.
        ("MaxPool", 9, 1, "two pools: 5x5 with stride 1x1, then 5x5 with stride 1x1"),
        ("MaxPool", (10, 3), 2, "two pools: 6x3 with stride 1x1, then 5x1 with stride 2x2"),
        ("MaxPool", 22, 2, "three pools: 8x8 with stride 1x1, then 8x8 with stride 1x1, then 8x8 with stride 2x2"),
        ("AvgPool", 9, 1, "a depthwise convolution of 9x9 in its place, each weight 1/81"),
        ("AvgPool", 17, 1, "a kernel of 2-8: nothing on this DPU averages over 17x17"),
    ],
)
def test_a_large_pool_is_several_pools(kind, kernel, stride, text):
    result = checked(lambda b: b.pool(b.image(64), kind, kernel, stride), "DPUCZDX8G_ISA0_B4096_MAX")
    assert text in result.nodes[-1].remedy


def test_a_maximum_over_the_map_is_not_split():
    """Max is no pool to vai_q_tensorflow, which splits MaxPool and AvgPool."""
    rows = [checked(lambda b: b.op("Max", b.image(24), b.ints(1, 2), name=LAYER), ISA0).nodes[-1]]
    rows += [checked(lambda b: b.pool(b.image(24), "MaxPool", 24), ISA0).nodes[-1]]
    assert [(node.placement, node.rule) for node in rows] == [("cpu", "reduce_max.kernel"), ("dpu", "max_pool")]


def test_remedies_name_the_numbers():
    def remedy(make, target=ISA1):
        return checked(make, target).nodes[-1].remedy

    row = {row.rule: row for row in ROWS}
    assert "at most 512 input channels" in remedy(row["conv.weights"].make(kernel=8, channels=(513, 8)))
    assert remedy(row["conv.kernel"].make(kernel=17)).startswith("2 layers in a row")
    assert remedy(row["conv.kernel"].make(kernel=(1, 17))).endswith("each with a kernel of 1x9")
    # 3 x 13 + 1 is 40; of two layers each would have 21 rows.
    assert remedy(row["conv.kernel"].make(kernel=40)) == "3 layers in a row reach as far, each with a kernel of 14x14"
    for step, text in (
        (9, "of 3 and 3 "),
        (18, "of 3 and 6 "),
        (11, "of 1-8: 11 is no product"),
        (100, "4 and 5 and 5"),
    ):
        assert text in remedy(row["conv.stride"].make(stride=step, size=200)), step
    assert "at most 512 channels" in remedy(row["depthwise.weights"].make(kernel=8, channels=(513, 1)), ISA0)
    assert "width at most 2048" in remedy(row["depthwise.weights"].make(size=64, kernel=46, padding="VALID"))
    assert "at most 15 zeros" in remedy(row["depthwise.pad_before"].make(size=64, kernel=33))
    assert remedy(row["leaky_relu.slope"].make(kind="LeakyRelu", alpha=0.3)).startswith("alpha 0.3 -> 26/256")
    assert "[batch, 1, 1, 16]" in checked(row["input.rank"].make(shape=(None, 16))).nodes[0].remedy
