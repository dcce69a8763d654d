"""Learned targets are found: an evolution strategy that begins at a network of zeros."""

import pytest

from discovery.app.api import discover
from discovery.core.config.evolution import ESConfig
from discovery.core.config.search import SearchConfig
from discovery.executors.inline import Inline
from discovery.search.selection import selection_scores
from discovery.store.run import Run
from environments.task import Setup, Task


@pytest.mark.slow
def test_a_search_from_zero_finds_targets_that_teach_on_grid_worlds(tmp_path):
    """Ten generations of 32: from the return of random steps, 0.13, to 0.6 on 32 levels of their own.

    Tabular agents, sixty updates each; published sigma, pairs on levels of their own and signs within pairs.
    """
    setup = Setup("grid/small", n_envs=16, n_steps=20, n_epochs=1, n_minibatches=1, hidden=())
    config = SearchConfig(
        generations=10,
        algorithm="lpg",
        algorithm_options={"optimizer": "sgd", "width": 16},
        meta=ESConfig(population=32, sigma=0.1, learning_rate=0.1, shaping="pairwise_sign", answer_every=9),
        tasks=(Task("grid", setup, 60 * setup.steps_per_update),),
        seeds=4,
        selection_seeds=32,
        selection_doublings=0,
        antithetic_tasks=True,
    )
    with Run.open(discover(config, tmp_path, "search", Inline(8)).folder) as run:
        means = {generation: scores["grid"].mean() for generation, scores in selection_scores(run).items()}
    assert means[9] > means[0] + 0.25, means
