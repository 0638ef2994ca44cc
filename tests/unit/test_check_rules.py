"""The operator check against its limits, just inside and just outside each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from check_cases import ISA1, ROWS, SOURCES, Row
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
    ("kernel", "text"),
    [(9, "pool 9x9 -> two pools: 3x3 with stride 3x3, then 3x3"), ((12, 9), "then 4x3"), (11, "no factors in 1-8")],
)
def test_a_large_pool_is_two_pools(kernel, text):
    result = checked(lambda b: b.pool(b.image(64), "MaxPool", kernel), "DPUCZDX8G_ISA0_B4096_MAX")
    assert text in result.nodes[-1].remedy


def test_remedies_name_the_numbers():
    def remedy(make, target=ISA1):
        return checked(make, target).nodes[-1].remedy

    row = {row.rule: row for row in ROWS}
    assert "at most 512 input channels" in remedy(row["conv.weights"].make(kernel=8, channels=(513, 8)))
    assert "9x9, twice" in remedy(row["conv.kernel"].make(kernel=17))
    assert remedy(row["leaky_relu.slope"].make(kind="LeakyRelu", alpha=0.3)).startswith("alpha 0.3 -> 26/256")
    assert "[batch, 1, 1, 16]" in checked(row["input.rank"].make(shape=(None, 16))).nodes[0].remedy
