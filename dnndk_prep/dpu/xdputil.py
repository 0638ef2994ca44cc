"""What a board reports of its DPU: the output of `xdputil query` or `show_dpu`, as JSON or amid a console's log."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnndk_prep.dpu.fingerprint import normal
from dnndk_prep.dpu.small_files import read_small
from dnndk_prep.errors import ModelFileError

# A console's log of hours is less.
_LIMIT = 1 << 22
# The report begins with one of its own keys; warnings and the shell's prompt may stand around it.
_BEGIN = re.compile(r'\{\s{0,200}"(?:DPU IP Spec|VAI Version|kernels)"')
_TRIES = 10
# In JSON that a terminal cut off, from show_dpu, and in the runtime's message when a network does not load.
_LOOSE = re.compile(
    r'(?:"fingerprint"\s{0,9}:\s{0,9}"|\bfingerprint\s{0,9}=\s{0,9}|\bdpu_fingerprint\s{1,9})(0x[0-9a-fA-F]{1,16})\b'
)


@dataclass(frozen=True)
class Kernel:
    """One DPU core; `arch` is the name that the board's runtime gives it, None where the report does not hold it."""

    fingerprint: str
    arch: str | None = None
    mhz: int | None = None


@dataclass(frozen=True)
class BoardReport:
    """The DPU cores of a board (other engines, softmax among them, have no fingerprint and are left out)."""

    kernels: tuple[Kernel, ...]
    ip_version: str | None = None
    # The release of the runtime on the board, "3.0.0".
    runtime: str | None = None


def read_report(path: Path) -> BoardReport:
    """Read a saved output. Raises ModelFileError for files without any DPU's fingerprint, and for huge ones."""
    text = _read(path)
    report = _in_json(text) or BoardReport(tuple(Kernel(normal(word)) for word in _loose(text)))
    if not report.kernels:
        raise ModelFileError(
            f"{path} holds no DPU's fingerprint",
            expected='the output of `xdputil query` on the board, with "kernels" and "fingerprint"',
            found=ascii(text.strip()[:60]) if text.strip() else "an empty file",
            remedy="on the board: xdputil query > query.txt; images before Vitis AI 1.4 have show_dpu instead",
        )
    return report


def _read(path: Path) -> str:
    data = read_small(path, _LIMIT, "the output of `xdputil query`", "on the board: xdputil query > query.txt")
    # PowerShell writes `ssh board xdputil query > query.txt` in two bytes a letter.
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8", errors="replace")


def _in_json(text: str) -> BoardReport | None:
    """The first whole report in the text with a DPU in it; None where there is none."""
    for match in list(_BEGIN.finditer(text))[:_TRIES]:
        try:
            found, _ = json.JSONDecoder().raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        kernels = _kernels(found.get("kernels"))
        if kernels:
            spec, versions = _dict(found.get("DPU IP Spec")), _dict(found.get("VAI Version"))
            runtime = re.search(r"target-factory\.(\d+\.\d+\.\d+)", str(versions.get("target_factory", "")))
            ip_version = re.fullmatch(r"v?[\d.]{1,20}", str(spec.get("IP version")))
            return BoardReport(kernels, ip_version[0] if ip_version else None, runtime[1] if runtime else None)
    return None


def _kernels(found: Any) -> tuple[Kernel, ...]:
    kernels = []
    for item in found if isinstance(found, list) else []:
        facts = _dict(item)
        arch, word, mhz = (facts.get(key) for key in ("DPU Arch", "fingerprint", "DPU Frequency (MHz)"))
        arch = arch if isinstance(arch, str) and arch else None
        if not isinstance(word, str) and arch is not None and (tail := re.fullmatch(r"\w+_([0-9A-Fa-f]{16})", arch)):
            word = tail[1]
        if not isinstance(word, str) or not re.fullmatch(r"(0x)?[0-9A-Fa-f]{1,16}", word) or not int(word, 16):
            continue
        kernels.append(Kernel(hex(int(word, 16)), arch, mhz if isinstance(mhz, int) else None))
    return tuple(kernels)


def _loose(text: str) -> list[str]:
    words = (match[1].lower() for match in _LOOSE.finditer(text))
    return [word for word in dict.fromkeys(words) if int(word, 16)]


def _dict(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}
