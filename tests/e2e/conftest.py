"""What a stage reads of the YAML is what it is declared to read: else a change of that key would not run it again."""

from collections.abc import Collection
from typing import Any

import pytest

from dnndk_prep.stage_list import entered_at, entry_of
from dnndk_prep.stages import context


class Declared:
    """A configuration that shows the keys in `reads` alone; anything else is an error."""

    def __init__(self, value: Any, reads: Collection[str], path: str = "") -> None:
        self._value, self._reads, self._path = value, reads, path

    def __getattr__(self, name: str) -> Any:
        path, value = f"{self._path}{name}", getattr(self._value, name)
        # Where modules are looked for; their files count by content.
        if path == "model.folder" or any(f"{path}.".startswith(f"{read}.") for read in self._reads):
            return value
        assert any(read.startswith(f"{path}.") for read in self._reads), f"{path} is not declared in stage_list.py"
        return Declared(value, self._reads, f"{path}.")


@pytest.fixture(autouse=True)
def stages_read_what_they_declare(monkeypatch: pytest.MonkeyPatch) -> None:
    class Context(context.StageContext):
        def __post_init__(self) -> None:
            stages = {stage.name: stage for stage in entered_at(entry_of(self.cfg.model))}
            reads = stages[self.out.name.removeprefix(".new-")].reads
            object.__setattr__(self, "cfg", Declared(self.cfg, reads))

    monkeypatch.setattr(context, "StageContext", Context)
