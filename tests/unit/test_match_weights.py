"""Weights and tensors are paired only where there is no other choice."""

from __future__ import annotations

import pytest

from dnndk_prep.keras_io.match_weights import Tensor, Weight, fits, match_weights


def weight(name: str, *shape: int) -> Weight:
    return Weight(name.split("/")[0], name, shape, "float32")


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, "float32")


def pairs(weights: list[Weight], tensors: list[Tensor]) -> dict[str, str]:
    return {match.weight.name: match.tensor.name for match in match_weights(weights, tensors)}


@pytest.mark.parametrize(
    ("name", "wanted", "there", "result"),
    [
        ("a/kernel", (3, 3, 4, 8), (3, 3, 4, 8), True),
        ("a/kernel", (3, 3, 4, 8), (3, 3, 8, 4), False),
        ("fc/kernel", (16, 8), (1, 1, 16, 8), True),
        ("fc/kernel", (196, 8), (7, 7, 4, 8), True),
        ("fc/kernel", (196, 8), (7, 7, 8, 4), False),
        ("fc/embeddings", (196, 8), (7, 7, 4, 8), False),
        ("a/gamma", (8,), (1, 1, 1, 8), True),
        ("a/kernel", (1, 8), (8, 1), False),
    ],
)
def test_shapes_that_hold_the_same_numbers_in_the_same_order(name, wanted, there, result):
    assert fits(weight(name, *wanted), tensor("t", *there)) is result


def test_a_whole_number_is_no_weight():
    assert not fits(weight("a/bias", 3), Tensor("t", (3,), "int64"))


def test_the_same_name_under_two_prefixes_is_no_match():
    tensors = [tensor("one/conv/weights", 3, 4), tensor("two/conv/weights", 3, 4)]
    assert pairs([weight("conv/kernel", 3, 4)], tensors) == {}
    assert pairs([weight("conv/kernel", 3, 4)], tensors[:1]) == {"conv/kernel": "one/conv/weights"}


def test_numbers_pair_layers_only_where_all_of_them_agree():
    ours = [weight("dense_1/kernel", 4, 4), weight("dense_2/kernel", 4, 4)]
    same = [tensor("n/fc1/weights", 4, 4), tensor("n/fc2/weights", 4, 4)]
    moved = [tensor("n/fc2/weights", 4, 4), tensor("n/fc3/weights", 4, 4)]
    assert pairs(ours, same) == {"dense_1/kernel": "n/fc1/weights", "dense_2/kernel": "n/fc2/weights"}
    assert pairs(ours, moved) == {}
    assert pairs(ours, [*same, tensor("n/fc3/weights", 4, 4)]) == {}


def test_one_match_can_leave_a_single_choice_for_the_next():
    ours = [weight("a/kernel", 2, 2), weight("b/kernel", 2, 2), weight("b/bias", 2)]
    there = [tensor("a/weights", 2, 2), tensor("x/weights", 2, 2), tensor("x/biases", 2)]
    assert pairs(ours, there) == {"a/kernel": "a/weights", "b/kernel": "x/weights", "b/bias": "x/biases"}


def test_a_scope_without_all_weights_of_a_layer_is_not_it():
    ours = [weight("b/kernel", 2, 2), weight("b/bias", 2)]
    assert pairs(ours, [tensor("x/weights", 2, 2)]) == {}


def test_the_name_says_the_layer_once():
    assert weight("fc/kernel:0", 2, 2).name == "fc/kernel"
    assert Weight("body", "conv/kernel", (1,), "float32").name == "body/conv/kernel"
