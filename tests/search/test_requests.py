"""Which trainings a request needs, on which seeds and for how long, and which generation is chosen."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from discovery.core.config.methods import ESConfig, PBEConfig
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput, RunError
from discovery.meta.base import Proposal
from discovery.search.requests import jobs_of, report_jobs, result_of
from discovery.search.selection import Contest, choose, contest, selection_scores
from environments.task import Setup, Task
from tests.ids import job_key, request_id, score_request

NAN = float("nan")
SETUP = Setup("Catch-bsuite", n_envs=2, n_steps=5, n_minibatches=1)
TASKS = (Task("a", SETUP, 1000), Task("b", SETUP, 2000, score="auc"))
CONFIG = SearchConfig(seed=7, tasks=TASKS, seeds=3, selection_seeds=2, meta=ESConfig(population=4))


def proposal(index, generation=5, pair=-1, split: Any = "search"):
    return replace(score_request(generation, index, pair=pair), split=split)


def keys(request, config=CONFIG):
    return [tuple(job.key.tolist()) for job in jobs_of(request, config)]


def test_a_key_is_the_hash_of_what_the_training_is():
    digest = hashlib.sha256(b"7/search/5/b/2").digest()
    job = next(job for job in jobs_of(proposal(0), CONFIG) if job.id == job_key("g5/p0/search/b/s2"))
    assert job.key.tolist() == np.frombuffer(digest[:8], "<u4").tolist()
    assert job.key.dtype == np.uint32 and job.key.shape == (2,)


def test_a_request_is_tasks_times_seeds():
    jobs = jobs_of(proposal(1), CONFIG)
    assert [(job.task.name, job.lifetime) for job in jobs] == [("a", 100)] * 3 + [("b", 200)] * 3
    assert len({job.id for job in jobs}) == 6 and len(set(keys(proposal(1)))) == 6
    assert len(jobs_of(proposal(-1, split="selection"), CONFIG)) == 4
    assert all(job.algorithm == CONFIG.spec for job in jobs)


def test_common_random_numbers():
    assert keys(proposal(0)) == keys(proposal(3))
    assert not set(keys(proposal(0))) & set(keys(proposal(0, generation=6)))
    own = replace(CONFIG, common_random_numbers=False)
    assert not set(keys(proposal(0), own)) & set(keys(proposal(3), own))
    assert not set(keys(proposal(0))) & set(keys(proposal(0), replace(CONFIG, seed=8)))


def short_lived():
    """The config with tasks whose lifetimes vary tenfold."""
    return replace(CONFIG, tasks=tuple(replace(task, shortest_life=0.1) for task in TASKS))


def test_antithetic_pairs_have_tasks_of_their_own():
    config = replace(short_lived(), antithetic_tasks=True)
    plus, minus, other = (proposal(index, pair=index % 2) for index in (0, 2, 1))
    assert keys(plus, config) == keys(minus, config)
    assert not set(keys(plus, config)) & set(keys(other, config))
    lives = [[job.lifetime for job in jobs_of(request, config)] for request in (plus, minus, other)]
    assert lives[0] == lives[1] != lives[2]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"common_random_numbers": False}, "common_random_numbers"),
        ({"meta": replace(CONFIG.meta, strategy="CMA_ES")}, "CMA_ES"),
        ({"meta": PBEConfig()}, "PBE"),
    ],
)
def test_pairs_that_would_share_nothing_are_refused(changes, word):
    with pytest.raises(BadInput, match=word):
        replace(CONFIG, antithetic_tasks=True, **changes)


def test_splits_share_no_seed():
    searched = {key for g in range(50) for i in range(4) for key in keys(proposal(i, g))}
    selected = set(keys(proposal(-1, split="selection")))
    assert keys(proposal(-1, 0, split="selection")) == keys(proposal(-1, 9, split="selection"))
    reported = {tuple(job.key.tolist()) for job in report_jobs("ppo", CONFIG.spec, {}, TASKS, 200)}
    assert len(searched) == 50 * 6 and len(reported) == 400
    assert not searched & selected and not searched & reported and not selected & reported


def test_lifetimes_are_log_uniform_between_their_share_and_all():
    config = replace(short_lived(), seeds=1000)
    lives = [job.lifetime for job in jobs_of(proposal(0), config) if job.task.name == "b"]
    assert 20 <= min(lives) <= 21 and 195 <= max(lives) <= 200
    shares = [np.mean(np.array(lives) <= 20 * 10**share) for share in (0.25, 0.5, 0.75)]
    assert shares == pytest.approx([0.25, 0.5, 0.75], abs=0.05)
    means = jobs_of(proposal(-1, split="selection"), config)
    assert {job.lifetime for job in means} == {100, 200}  # a choice is made between whole lives
    assert {job.lifetime for job in report_jobs("x", config.spec, {}, TASKS, 5)} == {100, 200}


def test_a_result_has_its_scores_by_task_and_nan_for_what_failed():
    request = proposal(0)
    outcomes: dict[Any, Any] = {
        job.id: SimpleNamespace(outcome=SimpleNamespace(score=np.float32(n)))
        for n, job in enumerate(jobs_of(request, CONFIG))
    }
    outcomes[job_key("g5/p0/search/b/s1")] = SimpleNamespace(outcome=None)
    result = result_of(request, CONFIG, outcomes)
    np.testing.assert_array_equal(result.scores["a"], [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(result.scores["b"], [3.0, np.nan, 5.0])
    assert (result.id, result.scores["a"].dtype) == (request_id("g5/p0"), np.float64)


def run_of(scores, tasks=TASKS, seeds=2, doublings=0) -> Any:
    """A run whose ledger holds selection scores, generation -> task -> scores."""
    rows = [
        {"split": "selection", "generation": generation, "task": task, "seed": seed, "score": score}
        for generation, of_task in scores.items()
        for task, values in of_task.items()
        for seed, score in enumerate(values)
    ]
    rows.append({"split": "search", "generation": 0, "task": "a", "seed": 0, "score": 1e9})
    ledger = SimpleNamespace(evaluations=lambda outcomes: rows[::-1])
    config = SimpleNamespace(selecting=tasks, selection_seeds=seeds, selection_doublings=doublings)
    return SimpleNamespace(ledger=ledger, config=config, folder="run", answer=lambda _: Proposal({}))


@pytest.mark.parametrize(
    ("scores", "generation"),
    [
        ({0: {"a": [1, 2]}, 4: {"a": [4, 2]}, 8: {"a": [0, 3]}}, 4),
        ({0: {"a": [1, 1]}, 4: {"a": [9, NAN]}, 8: {"a": [2, 2]}}, 8),  # a training of 4 failed
        ({0: {"a": [0, 0], "b": [NAN, NAN]}, 4: {"a": [4, 4], "b": [NAN, NAN]}}, 0),  # all failed on b
        (
            {  # without standardizing, 0 would win by b alone
                0: {"a": [1, 1], "b": [2000, 2000]},
                4: {"a": [3, 3], "b": [1900, 1900]},
                8: {"a": [1, 1], "b": [0, 0]},
            },
            4,
        ),
    ],
)
def test_the_best_standardized_mean_on_all_selection_seeds_is_chosen(scores, generation):
    tasks = TASKS[: len(scores[0])]
    chosen = choose(run_of(scores, tasks))
    assert chosen.generation == generation
    assert chosen.scores["a"].tolist() == scores[generation]["a"]


def test_only_means_that_are_wholly_evaluated_take_part():
    run = run_of({0: {"a": [1, 1], "b": [1, 1]}, 4: {"a": [9, 9]}, 8: {"a": [9, 9], "b": [9]}})
    assert list(selection_scores(run)) == [0] and choose(run).generation == 0
    with pytest.raises(RunError, match="no mean"):
        choose(run_of({4: {"a": [9, 9]}}))


def test_means_between_which_the_seeds_do_not_decide_get_more():
    """Generation 0 is clearly worse and drops out; 4 leads by luck, 8 is better on the further seeds."""
    noise = np.random.default_rng(0).normal(size=16)
    first = {0: noise[:8] - 9, 4: noise[:8] + np.tile([0.4, -0.2], 4), 8: noise[:8]}
    begun = run_of({g: {"a": s} for g, s in first.items()}, TASKS[:1], seeds=8, doublings=1)
    assert contest(begun) == Contest((4, 8), 8, range(8, 16))
    assert choose(begun).generation == 4  # what is known by now
    more = {4: [*first[4], *noise[8:] - 1], 8: [*first[8], *noise[8:]]}
    halfway = first | {4: more[4], 8: more[8][:12]}
    assert contest(run_of({g: {"a": s} for g, s in halfway.items()}, TASKS[:1], 8, 1)).further == range(8, 16)
    settled = run_of({g: {"a": s} for g, s in (first | more).items()}, TASKS[:1], seeds=8, doublings=1)
    assert contest(settled) == Contest((4, 8), 16, range(0))
    assert choose(settled).generation == 8 and len(choose(settled).scores["a"]) == 16
    lone = run_of({0: {"a": noise[:8] - 9}, 4: {"a": noise[:8]}}, TASKS[:1], seeds=8, doublings=1)
    assert contest(lone) == Contest((4,), 8, range(0))
