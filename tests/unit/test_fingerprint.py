"""Fingerprints: every known one decoded and put together again, its bits held against the published facts."""

from __future__ import annotations

import dataclasses
import random

import pytest

from dnndk_prep.dpu import from_bits
from dnndk_prep.dpu.bits import LAYOUTS, UNDOCUMENTED
from dnndk_prep.dpu.dpus import listed
from dnndk_prep.dpu.fingerprint import decode, differences, encode, explain, layout, normal
from dnndk_prep.errors import UsageError

KNOWN = [dpu for dpu in listed() if dpu.fingerprint]
IDS = [f"{dpu.name}-{dpu.releases[0]}" for dpu in KNOWN]

# Fingerprints by kind, from the targets of the Vitis AI releases; B4096_MAX_EM alone multiplies elementwise.
PUBLISHED = {
    "B512": ("0x1000020f7012200", "0x100002022010100", "0x101000016010200", "0x101000056010200"),
    "B800": ("0x1000020f7012201", "0x100002022010101", "0x101000016010201", "0x101000056010201"),
    "B1024": ("0x1000020f7014402", "0x100002022010102", "0x101000016010402", "0x101000056010402"),
    "B1152": ("0x1000020f7012203", "0x100002022010103", "0x101000016010203", "0x101000056010203"),
    "B1600": ("0x1000020f7014404", "0x100002022010104", "0x101000016010404", "0x101000056010404"),
    "B2304": ("0x1000020f7014405", "0x100002022010105", "0x101000016010405", "0x101000056010405"),
    "B3136": ("0x1000020f7014406", "0x100002022010106", "0x101000016010406", "0x101000056010406"),
    "B4096": ("0x1000020f7014407", "0x100002022010107", "0x101000016010407", "0x101000056010407"),
}
KINDS = (
    ("DPUCZDX8G_ISA0_{}_MAX", "vitis-ai-2.0"),
    ("DPUCZDX8G_ISA0_{}_MIN", "vitis-ai-2.0"),
    ("DPUCZDX8G_ISA1_{}", "vitis-ai-2.5"),
    ("DPUCZDX8G_ISA1_{}", "vitis-ai-3.5"),
)
OTHERS = {
    "0x1000020f6014405": ("DPUCZDX8G_ISA0_B2304_MAX_BG2", "vitis-ai-1.4"),
    "0x1000020f6014406": ("DPUCZDX8G_ISA0_B3136_MAX_BG2", "vitis-ai-1.3"),
    "0x1000020f6014407": ("DPUCZDX8G_ISA0_B4096_MAX_BG2", "vitis-ai-2.0"),
    "0x1000030f7014407": ("DPUCZDX8G_ISA0_B4096_MAX_EM", "vitis-ai-2.0"),
    "0x603000b56011811": ("DPUCVDX8G_ISA3_C32B1", "vitis-ai-3.0"),
    "0x603000b56011861": ("DPUCVDX8G_ISA3_C32B6", "vitis-ai-3.5"),
    "0x603000b16011861": ("DPUCVDX8G_ISA3_C32B6", "vitis-ai-2.5"),
    "0x603000b56011852": ("DPUCVDX8G_ISA3_C64B5", "vitis-ai-3.5"),
    "0x603000b16026831": ("DPUCVDX8G_ISA3_C32B3_PSMNET", "vitis-ai-3.0"),
    "0x602001036088231": ("DPUCVDX8G_ISA2_C32B3", "vitis-ai-2.0"),
    "0x900000004000414": ("DPUCV2DX8G_ISA0_C16M4B1", "vitis-ai-3.0"),
    "0x901400044000144": ("DPUCV2DX8G_ISA1_C20B1", "vitis-ai-3.5"),
    "0x901400044000e44": ("DPUCV2DX8G_ISA1_C20B14", "vitis-ai-3.5"),
    "0x20200000010002a": ("DPUCAHX8H_ISA2", "vitis-ai-2.5"),
    "0x20200000000002a": ("DPUCAHX8H_ISA2", "vitis-ai-2.0"),
    "0x20200000010002b": ("DPUCAHX8H_ISA2_DWC", "vitis-ai-3.5"),
    "0x20200000000002e": ("DPUCAHX8H_ISA2_ELP2", "vitis-ai-3.5"),
    "0x30000000000001d": ("DPUCAHX8L_ISA0", "vitis-ai-1.3"),
    "0x30000000000101d": ("DPUCAHX8L_ISA0_SP", "vitis-ai-3.5"),
    "0x501000000140fee": ("DPUCVDX8H_ISA1_F2W2_8PE", "vitis-ai-3.5"),
    "0x5010000001e082f": ("DPUCVDX8H_ISA1_F2W4_4PE", "vitis-ai-3.5"),
    "0x700000000000000": ("DPUCADF8H_ISA0", "vitis-ai-3.5"),
    "0x80000000020c242": ("V70_2x3_Overlay", "vitis-ai-3.0"),
}
for _arch, _values in PUBLISHED.items():
    OTHERS |= {value: (name.format(_arch), release) for value, (name, release) in zip(_values, KINDS, strict=True)}


@pytest.mark.parametrize("fingerprint", OTHERS)
def test_published_fingerprints_stand_for_their_names(fingerprint):
    name, release = OTHERS[fingerprint]
    assert name in {dpu.name for dpu in KNOWN if dpu.fingerprint == fingerprint and release in dpu.releases}
    if name.startswith("DPUCZDX8G"):
        arch = name.split("_")[2]
        assert next(row.meaning for row in explain(fingerprint) if row.field == "arch").startswith(f"{arch}:")


@pytest.mark.parametrize("dpu", KNOWN, ids=IDS)
def test_every_listed_fingerprint_goes_round(dpu):
    parts = decode(dpu.fingerprint)
    assert parts.isa == dpu.isa
    assert parts.family == dpu.family or (parts.family, dpu.family) == ("IPU_PHX", "IPUCVDX8G")
    assert encode(parts.family, parts.isa, parts.fields) == dpu.fingerprint
    assert dpu.fingerprint == dpu.fingerprint.lower() == normal(dpu.fingerprint.upper().replace("X", "x"))


@pytest.mark.parametrize("key", LAYOUTS, ids=str)
def test_random_fields_go_round(key):
    draw = random.Random(5)
    for _ in range(200):
        fields = {field.name: draw.randint(0, field.mask) for field in layout(*key)}
        found = decode(encode(*key, fields))
        assert (found.family, found.isa) == key
        assert found.fields == {**fields, UNDOCUMENTED: 0}


@pytest.mark.parametrize("key", LAYOUTS, ids=str)
def test_no_two_fields_share_a_bit(key):
    bits = [bit for field in layout(*key) for bit in range(field.low, field.low + field.width)]
    assert len(bits) == len(set(bits))
    assert max(bits) < 48


# The lists of 1.3 let kernels begin at 2; nothing in the bits says so.
SAME = [
    dpu
    for dpu in KNOWN
    if (dpu.family, dpu.isa) in LAYOUTS and not (dpu.family == "DPUCZDX8G" and dpu.releases == ("vitis-ai-1.3",))
]


@pytest.mark.parametrize("dpu", SAME, ids=[f"{dpu.name}-{dpu.releases[0]}" for dpu in SAME])
def test_the_bits_tell_what_the_target_file_tells(dpu):
    built = dataclasses.asdict(from_bits.built(dpu.fingerprint))
    listed_facts = dataclasses.asdict(dpu)
    for key in ("name", "releases", "source", "notes"):
        del built[key], listed_facts[key]
    assert built == listed_facts


def test_a_custom_dpu_is_built_from_its_bits():
    dpu = from_bits.built("0x1000020f2014404")
    assert dpu.name == "DPUCZDX8G_ISA0_B1600_01000020F2014404"
    assert (dpu.arch, dpu.channel_augmentation, len(dpu.image_banks)) == ("B1600", None, 2)
    assert dpu.depthwise.nonlinear == ("relu", "relu_six")
    assert (dpu.avg_pool.square, str(dpu.avg_pool.kernel)) == (True, "2-8")


@pytest.mark.parametrize(
    ("field", "value", "has"),
    [
        ("depthwise_parallel", 0, lambda dpu: dpu.depthwise is None),
        ("conv_leaky", 0, lambda dpu: "leaky_relu" not in dpu.conv.nonlinear),
        ("conv_relu6", 0, lambda dpu: "relu_six" not in dpu.conv.nonlinear),
        ("depthwise_relu6", 0, lambda dpu: dpu.depthwise.nonlinear == ("relu",)),
        ("avg_pool", 0, lambda dpu: dpu.avg_pool is None),
        ("eltwise_mult", 1, lambda dpu: dpu.eltwise == ("add", "mult")),
        ("max_reduce", 0, lambda dpu: not dpu.max_reduce),
        ("image_groups", 3, lambda dpu: len(dpu.image_banks) == 3),
        ("channel_augmentation", 0, lambda dpu: dpu.channel_augmentation is None),
        ("arch", 8, lambda dpu: dpu.arch == "B128"),
    ],
)
def test_each_bit_does_what_it_says(field, value, has):
    before = decode("0x1000020f6014407")
    changed = encode("DPUCZDX8G", 0, {**before.fields, field: value})
    assert has(from_bits.built(changed))
    assert not has(from_bits.built("0x1000020f6014407"))
    assert [item.field for item in differences("0x1000020f6014407", changed)] == [field]


def test_the_two_builds_of_one_name_differ_in_argmax():
    found = differences("0x101000016010407", "0x101000056010407")
    assert [(item.field, item.bits, item.first, item.second) for item in found] == [("argmax", "30", "off", "on")]


def test_instruction_sets_are_compared_by_the_names_of_their_fields():
    found = {item.field: item for item in differences("0x1000020f6014407", "0x101000056010407")}
    assert found["isa"].first == "instruction set 0"
    assert (found["avg_pool"].first, found["avg_pool"].second) == ("on", "-")
    assert "arch" not in found


def test_bits_without_a_source_are_named_so():
    assert explain("0x20200000010002a")[-1].meaning == "no source tells what these bits mean"
    assert [item.field for item in differences("0x20200000000002a", "0x20200000010002a")] == ["feature_code"]
    # Bit 16 of instruction set 1 is always set.
    assert explain("0x101000056010407")[-1].field == UNDOCUMENTED


@pytest.mark.parametrize("text", ["0x", "0x12345678901234567", "B4096", "", "0xzz", "-0x1"])
def test_what_is_no_fingerprint_is_refused(text):
    with pytest.raises(UsageError, match="is no fingerprint"):
        decode(text)


@pytest.mark.parametrize("text", ["0xa01000056010407", "0x1101000056010407", "0x0"])
def test_types_that_no_dpu_has_are_refused(text):
    with pytest.raises(UsageError, match="no DPU has type"):
        decode(text)


def test_fields_must_fit():
    with pytest.raises(UsageError, match="does not fit"):
        encode("DPUCZDX8G", 1, {"arch": 16})
    with pytest.raises(UsageError, match="does not fit"):
        encode("DPUCZDX8G", 1, {UNDOCUMENTED: 1})
    with pytest.raises(UsageError) as caught:
        encode("DPUCZDX8G", 1, {"argmin": 1})
    assert "argmax" in caught.value.remedy
    with pytest.raises(UsageError) as caught:
        encode("DPUCZDX8", 1, {})
    assert "DPUCZDX8G" in caught.value.remedy


@pytest.mark.parametrize("text", ["0x10100005601040c", "0x603000b56017811", "0x602001036088031"])
def test_bits_that_no_listed_dpu_has_are_refused(text):
    with pytest.raises(UsageError, match=r"no source knows|no listed DPU"):
        from_bits.built(text)
