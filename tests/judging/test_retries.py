"""Failures of the machine, end to end: real workers that die or lack an environment, then work again."""

from pathlib import Path

import numpy as np
import pytest

from discovery.app.api import evaluate, resume
from discovery.app.begin import begin
from discovery.app.loaded import load_run
from discovery.core.config.evolution import ESConfig
from discovery.core.config.search import SearchConfig
from discovery.executors.inline import Inline
from discovery.executors.processes import Processes
from discovery.search.loop import search
from discovery.store.ledger import Ledger
from environments.task import Setup, Task
from tests.judging.machine import RUN_CHUNK
from tests.search.interrupting import Interrupted, Interrupting, differences


def workers() -> Processes:
    return Processes(1, 1, 60.0, function=RUN_CHUNK)


@pytest.mark.parametrize("error", ["crashed", "environment"])
def test_evaluate_after_the_machine_failed(error: str, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is no score; the next command trains again, and gives what a sound machine gives."""
    monkeypatch.setenv("FAULT", error)
    with workers() as executor:
        lost = evaluate(copy, "ppo", seeds=1, executor=executor)
    assert [(row.n, row.failed, row.missing) for row in lost.rows] == [(0, 0, 1), (0, 0, 1)]
    assert lost.judgments == () and {r["error"] for r in load_run(copy).reports()} == {error}
    monkeypatch.delenv("FAULT")
    with workers() as executor:
        found = evaluate(copy, "ppo", seeds=1, executor=executor)
    assert [(row.n, row.failed, row.missing) for row in found.rows] == [(1, 0, 0), (1, 0, 0)]
    with Ledger.open(copy) as ledger:
        assert {row["error"] for row in ledger.retries()} == {error} and len(ledger.retries()) == 2
        assert {row["error"] for row in ledger.reports()} == {None}
    monkeypatch.setenv("FAULT", "failed")
    again = evaluate(copy, "ppo", seeds=1, executor=Inline(4, function=RUN_CHUNK))
    assert again.rows == found.rows  # nothing is left to train


def test_a_resumed_search_trains_again_what_the_machine_made_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends as a search on a sound machine does, with the failures on record."""
    setup = Setup(n_envs=2, n_steps=8, n_epochs=1, n_minibatches=2, hidden=(4,), curve_points=2)
    config = SearchConfig(
        generations=2, tasks=(Task("cart", setup, 160),), meta=ESConfig(population=4), selection_seeds=2
    )
    executor = Inline(1, function=RUN_CHUNK)
    folders = []
    for name, fault in (("sound", ""), ("broken", "environment")):
        run, _ = begin(config, tmp_path, "search", name, executor)
        folders.append(run.folder)
        monkeypatch.setenv("FAULT", fault)
        with run, pytest.raises(Interrupted):
            search(run, executor, Interrupting(3))
        monkeypatch.setenv("FAULT", "")
        resume(run.folder, executor)
    assert differences(*folders) == []
    with Ledger.open(folders[0]) as sound, Ledger.open(folders[1]) as broken:
        assert [row["error"] for row in broken.retries()] == ["environment"] * 3
        assert not sound.retries()
        assert np.isfinite([row["score"] for row in broken.evaluations()]).all()
