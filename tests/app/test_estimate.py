"""What `--dry-run` says of a search's costs, by hand from the record of a past run."""

from dataclasses import replace

import pytest

from discovery.app.commands.estimate import estimate
from discovery.core.toml import CONFIG, load
from discovery.store.ledger import Ledger


@pytest.fixture
def past(finished_run):
    """The config of a run, to be trained in this process, and its record."""
    with Ledger.open(finished_run.folder) as ledger:
        rows = ledger.evaluations(outcomes=False)
    return replace(load(finished_run.folder / CONFIG), executor="inline"), rows


def test_time_is_that_of_the_newest_run_that_trained_the_same(past, finished_run):
    config, rows = past
    compiling = sum(row["compile_seconds"] for row in rows)
    training = sum(row["seconds"] for row in rows) - compiling
    plan = estimate(config, finished_run.folder.parent)
    # 3 generations of 4 proposals x 2 seeds; the mean on 4 seeds in generations 0 and 2, and at the end
    assert (plan.trainings, plan.steps, plan.workers) == (36, 36 * 480, 1)
    assert plan.seconds == pytest.approx(compiling + training)
    assert plan.run == str(finished_run.folder)
    twice = replace(config, seeds=4, selection_seeds=8)
    assert estimate(twice, finished_run.folder.parent).seconds == pytest.approx(compiling + 2 * training)
    two = replace(config, executor="processes", workers=1)
    assert estimate(two, finished_run.folder.parent).seconds == pytest.approx(plan.seconds)


def test_time_is_not_known_where_no_run_tells(past, finished_run, tmp_path):
    config, runs = past[0], finished_run.folder.parent
    task = config.tasks[0]
    for other in (
        replace(config, algorithm_options={**config.algorithm_options, "width": 5}),
        replace(config, tasks=(replace(task, setup=replace(task.setup, hidden=(9,))),)),
        replace(config, agents_per_call=64),
        replace(config, executor="ray", workers=None, address="head:6379"),
    ):
        plan = estimate(other, runs)
        assert plan.seconds is None and "not known" in plan.text(other)
    assert estimate(config, tmp_path / "nothing").seconds is None
