"""Searches that are ready to run: every one of them, made small."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from discovery.app.api import discover
from discovery.app.loaded import load_run
from discovery.core import presets
from discovery.executors.inline import Inline
from discovery.inner import compile as compiled


def test_a_search_compiles_once_whatever_its_numbers(
    finished_run: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proposals and means are one program; a search with other numbers and lifetimes uses it again."""
    assert len(finished_run.programs) == 1
    programs = dict(finished_run.programs)
    monkeypatch.setattr(compiled, "_executables", programs)
    config = load_run(finished_run.folder).config
    tasks = tuple(replace(task, shortest_life=0.3, numbers={"learning_rate": 0.02}) for task in config.tasks)
    meta = replace(config.meta, population=2, sigma=0.2)
    run = discover(replace(config, generations=1, tasks=tasks, meta=meta), tmp_path, "other", Inline(4))
    assert np.isfinite(run.scores).all()
    assert programs.keys() == finished_run.programs.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", presets.names())
def test_every_preset_compiles_once_for_each_kind_of_task(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two generations, their proposals, means and lifetimes are one program for each setup."""
    programs: dict = {}
    monkeypatch.setattr(compiled, "_executables", programs)
    config, _ = presets.read(name)
    tasks = tuple(
        replace(task, total_steps=min(task.total_steps, 16 * task.setup.steps_per_update))
        for task in config.tasks
    )
    meta = replace(config.meta, population=4, answer_every=1)
    small = replace(config, generations=2, seeds=1, selection_seeds=2, tasks=tasks, meta=meta)
    run = discover(small, tmp_path, "small", Inline(2))
    assert run.n_generations == 2 and np.isfinite(run.scores).all()
    assert len(programs) == len({task.setup for task in tasks})
