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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tasks": (Task("a", Setup(n_envs=8), 20_000), BEGUN.tasks[1])}, "tasks.0.setup.n_envs was 4, is 8"),
        ({"tasks": BEGUN.tasks[:1]}, "tasks.1"),
        ({"meta": dataclasses.replace(BEGUN.meta, sigma=0.5)}, "meta.sigma was 0.3, is 0.5"),
        ({"agents_per_call": 4}, "agents_per_call was 8, is 4"),
        ({}, None),
        ({"generations": 99}, None),
        ({"timeout": 5.0, "workers": 2}, None),
        ({"executor": "inline"}, None),
    ],
)
def test_edits_that_numbers_depend_on_are_refused_with_both_values(tmp_path: Path, changes, said) -> None:
    with Run.create(BEGUN, tmp_path, name="run") as run:
        config = dataclasses.replace(run.config, **changes)
    (tmp_path / "run" / CONFIG).write_text(dumps(config))
    with Run.open(tmp_path / "run", write=True) as run:
        assert run.config == config
        if said is None:
            run.refuse_changed_config()
        else:
            with pytest.raises(BadInput) as refused:
                run.refuse_changed_config()
            assert said in str(refused.value)
