"""YAML as plain data with the place of every key: safe types only, duplicate keys and alias bombs are mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

Place = tuple[str | int, ...]

# A pipeline file has some dozens of nodes; aliases that unfold into more are an attack or an accident.
MAX_NODES = 10_000
MAX_DEPTH = 20
# Python takes seconds, or refuses, to write out what a few more digits stand for (`0x` and four thousand `f`).
MAX_NUMBER = 2**63
PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


@dataclass(frozen=True, order=True)
class Mark:
    """A place in a file (`pipeline.yaml:3:5`), or the words of a `--set` option."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake and where it stands."""

    mark: Mark
    text: str

    def __str__(self) -> str:
        return f"{self.mark}: {self.text}"


def load_marked(text: str, source: str, max_nodes: int = MAX_NODES) -> tuple[Any, dict[Place, Mark], list[Problem]]:
    """The data of `text`, the mark of every key and list item, and the mistakes found while reading."""
    reader = _MarkedReader(source, max_nodes)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = None if node is None else reader.value(node, ())
    except yaml.MarkedYAMLError as error:
        spot = error.problem_mark or error.context_mark
        mark = Mark(source, spot.line + 1, spot.column + 1) if spot else Mark(source, 1, 1)
        return None, {}, [Problem(mark, f"not YAML: {error.problem or error.context}")]
    except yaml.YAMLError as error:
        return None, {}, [Problem(Mark(source, 1, 1), f"not YAML: {error}".splitlines()[0])]
    except RecursionError:
        return None, {}, [Problem(Mark(source, 1, 1), "nested too deep")]
    except _TooLargeError as error:
        return None, {}, [Problem(Mark(source, 1, 1), str(error))]
    return data, reader.marks, reader.problems


class _TooLargeError(Exception):
    pass


class _MarkedReader:
    def __init__(self, source: str, max_nodes: int) -> None:
        self.source = source
        self._max_nodes = max_nodes
        self.marks: dict[Place, Mark] = {}
        self.problems: list[Problem] = []
        self._constructor = yaml.constructor.SafeConstructor()
        self._nodes = 0

    def value(self, node: yaml.Node, place: Place) -> Any:
        self._nodes += 1
        if self._nodes > self._max_nodes or len(place) > MAX_DEPTH:
            limit = f"{self._max_nodes} values or {MAX_DEPTH} levels"
            raise _TooLargeError(f"more than {limit} once its aliases are unfolded")
        if not isinstance(node, yaml.ScalarNode) and node.tag not in PLAIN_TAGS:
            self.problems.append(Problem(self._mark(node), f"not a plain value: the tag {node.tag!r} is not read"))
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.marks[(*place, index)] = self._mark(item)
            return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
        try:
            value = self._constructor.construct_object(node)
            if isinstance(value, int) and abs(value) >= MAX_NUMBER:
                raise ValueError("a number of 64 bits or more")
            if isinstance(value, str) and "\0" in value:
                raise ValueError("a text with a NUL")
            return value
        except yaml.constructor.ConstructorError as error:
            self.problems.append(Problem(self._mark(node), f"not a plain value: {error.problem}"))
        except ValueError as error:  # a date such as 2024-13-01
            self.problems.append(Problem(self._mark(node), f"not a value: {error}"))
        return None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = self._mark(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(mark, "a key must be a word"))
                continue
            key = key_node.value
            if key in data:
                self.problems.append(Problem(mark, f"{key!r} stands here twice; first at {self.marks[(*place, key)]}"))
                continue
            self.marks[(*place, key)] = mark
            data[key] = self.value(value_node, (*place, key))
        return data

    def _mark(self, node: yaml.Node) -> Mark:
        return Mark(self.source, node.start_mark.line + 1, node.start_mark.column + 1)
