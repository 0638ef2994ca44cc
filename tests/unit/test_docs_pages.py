"""The pages of the documentation: no command hides from the tests, links lead somewhere, the YAML is right."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pages
import pytest

from dnndk_prep import cli
from dnndk_prep.config import Config
from dnndk_prep.config_file import load_checked
from dnndk_prep.sweep.settings import SweepFile

# What a fence may say. Commands stand in sh alone.
LANGUAGES = {"sh", "python", "yaml", "json", "text", "java"}
PROGRAMS = re.compile(
    r"\s*(\$ )?(dnndk-prep|python3?|pip|conda|docker|podman|sudo|source|bash|mkdocs|cp|cd|mkdir|saved_model_cli|"
    r"tensorboard|xdputil|javac?|gcc|curl|scripts/\w+|\./\w+\.sh)\b"
)
# Written from the code: usage lines and the examples of errors, which tests/e2e/test_pains.py meets.
GENERATED = {"cli.md", "errors.md", "python_api.md"}
# Every block of commands that is not run here, by page: what it begins with, and why.
ELSEWHERE = {
    "README.md": {
        "dnndk-prep init my_model.h5": "the same, with a model that is there, further down",
        "python3 -m venv .venv": "an environment of its own",
        "source run_all.sh": "runs in tests/e2e/shells with stand-ins, since it sets an environment up",
        "conda activate vitis-ai-tensorflow": "needs the vendor's container",
    },
    "docs/container.md": {
        "docker build -t dnndk_prep .": "needs a container engine",
        "mkdir -p workspace": "needs a container engine",
        "docker run --rm --user": "needs a container engine",
        "docker run --rm --read-only": "needs a container engine",
        "sudo apt-get install buildah": "needs a container engine",
    },
    "docs/how-to/boards.md": {"xdputil query": "runs on the board"},
    "docs/how-to/ckpt2keras.md": {
        "python -m dnndk_prep ckpt2keras vgg_16.ckpt": (
            "half a gigabyte of weights; tests/e2e/test_ckpt2keras.py does it with a small VGG16"
        ),
    },
    "docs/how-to/environments.md": {
        "source run_all.sh": "runs in tests/e2e/shells with stand-ins, since it sets an environment up",
        "python3.11 -m venv .venv": "an environment of its own; tried by hand, as the README has it",
        "conda env create": "needs conda",
    },
    "docs/how-to/java.md": {"javac -cp": "needs TensorFlow's package for Java"},
    "docs/how-to/saved_model.md": {"docker run --rm -p 8501:8501": "needs a container engine"},
    "docs/how-to/sweep.md": {
        "dnndk-prep sweep --dry-run": "takes minutes; tests/e2e/test_sweep.py runs others",
        "pip install 'dnndk_prep[ray]'": "needs the extra ray; tests/e2e/test_sweep.py has it",
    },
    "docs/how-to/tensorboard.md": {"tensorboard --logdir": "a server, of a package of its own"},
}
PAGES = pages.pages()
IDS = [str(page.relative_to(pages.ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_what_is_not_run_is_listed_with_its_reason(page: Path):
    found = {block.text.strip(): block.elsewhere for block in pages.blocks(page) if block.elsewhere is not None}
    wanted = ELSEWHERE.get(str(page.relative_to(pages.ROOT)), {})
    assert len(found) == len(wanted)
    for begin, why in wanted.items():
        assert [told for text, told in found.items() if text.startswith(begin)] == [why]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_stand_in_blocks_that_are_run(page: Path):
    found = pages.blocks(page)
    assert page.read_text(encoding="utf-8").count("```") == 2 * len(found)
    for block in found:
        assert block.language in LANGUAGES, block.place
        known = (pages.NOT_RUN, pages.ENDS_WITH) if block.language == "sh" else ("",)
        assert not block.title or block.title.startswith(known), block.place
        if block.language in ("text", "json", "java") and page.name not in GENERATED:
            hidden = [line for line in block.text.splitlines() if PROGRAMS.match(line)]
            assert not hidden, f"{block.place}: {hidden}"
    outside = pages.FENCE.sub("", page.read_text(encoding="utf-8"))
    indented = [line for line in re.findall(r"^ {4}.+", outside, flags=re.M) if PROGRAMS.match(line)]
    assert not indented


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_amid_the_text_are_commands(page: Path, capsys: pytest.CaptureFixture[str]):
    """`dnndk-prep explain CODE` in a sentence: the words are taken, though nothing is run."""
    outside = pages.FENCE.sub("", page.read_text(encoding="utf-8"))
    for command in re.findall(r"`(?:dnndk-prep|python -m dnndk_prep) ([^`]+)`", outside):
        words = shlex.split(command.replace("COMMAND", "run"))
        if "--help" in words or len(words) == 1:
            words = [words[0], "--help"]
            with pytest.raises(SystemExit, match="0"):
                cli._arguments(words)
        else:
            assert cli._arguments(words).command


def test_the_yaml_is_right(tmp_path: Path):
    """Every block of YAML is a part of a configuration or a sweep, or the map of ckpt2keras."""
    checked = 0
    for page in PAGES:
        for block in pages.blocks(page):
            if block.language == "yaml" and page.name != "ckpt2keras.md":
                (tmp_path / "p.yaml").write_text(block.text, encoding="utf-8")
                load_checked(tmp_path / "p.yaml", SweepFile if page.name == "sweep.md" else Config)
                checked += 1
    assert checked > 5


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path):
    outside = pages.FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", outside):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_page_is_in_the_site_and_in_the_readme():
    nav = (pages.ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    readme = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    for page in PAGES[1:]:
        name = page.relative_to(pages.DOCS)
        assert f": {name}\n" in nav
        assert name.name == "index.md" or f"(docs/{name})" in readme, name
