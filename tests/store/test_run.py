"""A run goes on with the config that it began with: what may change, and what is refused."""

import dataclasses
from pathlib import Path

import pytest

from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.core.toml import CONFIG, dumps
from discovery.store.run import Run
from environments.task import Setup, Task

BEGUN = SearchConfig(tasks=(Task("a", Setup(n_envs=4), 20_000), Task("b", Setup(), 20_000)), seed=3)


def edited(folder: Path, **changes: object) -> Run:
    """The run after its config file was edited."""
    with Run.create(BEGUN, folder, name="run") as run:
        config = dataclasses.replace(run.config, **changes)
    (folder / "run" / CONFIG).write_text(dumps(config))
    return Run.open(folder / "run", write=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tasks": (Task("a", Setup(n_envs=8), 20_000), BEGUN.tasks[1])}, "tasks.0.setup.n_envs was 4, is 8"),
        ({"tasks": BEGUN.tasks[:1]}, "tasks.1"),
        ({"meta": dataclasses.replace(BEGUN.meta, sigma=0.5)}, "meta.sigma was 0.3, is 0.5"),
        ({"agents_per_call": 4}, "agents_per_call was 8, is 4"),
    ],
)
def test_edits_that_numbers_depend_on_are_refused_with_both_values(tmp_path: Path, changes, said) -> None:
    with edited(tmp_path, **changes) as run, pytest.raises(BadInput, match="was changed") as refused:
        run.refuse_changed_config()
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "changes", [{}, {"generations": 99}, {"timeout": 5.0, "workers": 2}, {"executor": "inline"}]
)
def test_edits_that_numbers_do_not_depend_on_are_accepted(tmp_path: Path, changes) -> None:
    with edited(tmp_path, **changes) as run:
        run.refuse_changed_config()
        assert all(getattr(run.config, name) == value for name, value in changes.items())
