"""What a report says, against numbers worked out by hand."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from discovery.app.loaded import LoadedRun, load_run
from discovery.core.config.search import Stopping
from discovery.core.jobs import JobKey
from discovery.display.report import RunFacts, collect
from discovery.display.report.commands import portable
from discovery.display.report.judged import best_known, verdict
from discovery.meta.base import Proposal
from discovery.store.ledger import Evaluation
from tests.display.report.fabricated import (
    CONFIG,
    KEY,
    begin,
    comparison,
    evaluate,
    mean_of,
    report,
    request,
    result,
    search,
)
from tests.ids import request_id


@pytest.fixture(scope="module")
def facts(made: LoadedRun) -> RunFacts:
    return collect(made)


def test_what_was_searched(facts: RunFacts) -> None:
    one = facts.searched
    assert (one.algorithm, one.size) == ("lpo", 8 * 2 + 2)
    assert dict(one.shapes) == {"drift.w_in": (8, 2), "drift.w_out": (2,)}
    assert (one.options["width"], one.options["anchored"]) == (2, False)
    near, far = one.tasks
    assert (near.name, near.use, near.steps, near.updates) == ("near", "search and selection", 1024, 2)
    assert dict(near.numbers) == {"learning_rate": 0.01, "value_clip": "inf"}
    assert (far.name, far.use, far.envs, far.length) == ("far", "held out", 8, 64)


def test_cost_and_failures(facts: RunFacts) -> None:
    """4 trainings of proposals, 4 of means, 16 x 9 reports; each of 1,024 steps, and 2 s, 0.5 to compile."""
    parts = {part.part: (part.trainings, part.failed, part.steps) for part in facts.cost.parts}
    assert parts["search"] == (4, 1, 4 * 1024)
    assert parts["selection"] == (4, 0, 4 * 1024)
    assert parts["report"] == (144, 1, 144 * 1024)
    total = facts.cost.total
    assert total.steps == 152 * 1024
    assert (total.seconds, total.compile_seconds) == pytest.approx((152 * 1.5, 152 * 0.5))
    assert (facts.cost.workers, facts.cost.saved) == (1, None)
    found = {(one.part, one.kind): one for one in facts.failures}
    lost = found["search", "failed"]
    assert (lost.count, lost.share, lost.example) == (1, 0.25, "g0/p1/search/near/s0")
    assert found["report", "failed"].share == pytest.approx(1 / 144)


def test_steps_saved_by_stopping(tmp_path: Path) -> None:
    """Proposal 1 lives for one rollout of two on both seeds: a quarter of all steps is saved."""
    config = replace(CONFIG, stopping=Stopping("halving", rungs=2), selection_seeds=1)
    with begin(config, tmp_path) as run:
        run.ledger.propose([request("g0/p0"), request("g0/p1")])
        evaluate(run.ledger, "g0/p0", "near", [2.0, 4.0])
        for seed in range(2):
            name = JobKey(request_id("g0/p1"), "search", "near", seed, until=1)
            what = Evaluation(str(name), "g0/p1", 0, "search", "near", seed, 2, 1, 0, KEY)
            run.ledger.record(what, result(name, 1.0))
        scores = {request_id("g0/p0"): 3.0, request_id("g0/p1"): 1.0}
        run.ledger.close_generation(0, {"x": np.zeros(1)}, {}, scores, Proposal(mean_of(run.config)))
    assert collect(load_run(run.folder)).cost.saved == pytest.approx(0.25)


def test_generations_and_means(facts: RunFacts) -> None:
    (one,) = facts.method.generations
    assert (one.generation, one.mean, one.best, one.failed) == (0, 3.0, 3.0, 0.5)
    first, second = facts.method.means
    assert (first.generation, first.scores["near"].estimate, first.seeds) == (0, 2.0, 2)
    assert (second.generation, second.scores["near"].estimate, second.status) == (1, 6.0, "chosen")
    assert facts.method.complete
    assert (facts.chosen, facts.label) == (1, "discovered")


def test_verdict_of_the_run(facts: RunFacts) -> None:
    (one,) = facts.verdict.judgments
    assert facts.verdict.status == "confirmed"
    assert (one.task, one.baseline, one.relation) == ("far", "ppo", "better")
    assert one.difference[:3] == (1.0, 1.0, 1.0)
    assert one.difference.n == 16
    # Of all 2^16 sign flips of equal differences, 2 reach the sum.
    assert one.p_value == pytest.approx(2 / 2**16, abs=5 / 2**16)


def test_winners_curse(facts: RunFacts) -> None:
    (one,) = facts.declines
    assert (one.task, one.generation) == ("near", 1)
    # Of two proposals one failed. The other scored 2 and 4, and was not trained on fresh seeds.
    assert (one.proposal, one.proposal_search, one.proposal_report) == ("g0/p0", 3.0, None)
    assert one.selection is not None and one.selection.estimate == 6.0
    assert one.decline == pytest.approx(6.0 - (-1 + sum(range(1, 16)) - 30) / 16)
    assert (one.ranked, one.correlation) == (1, None)


def test_the_best_proposal_on_fresh_seeds(tmp_path: Path) -> None:
    with begin(CONFIG, tmp_path) as run:
        search(run)
        report(run.ledger, "proposal g0/p0", "near", [1.0, 2.0], "made@g0/p0")
    (one,) = collect(load_run(run.folder)).declines
    assert (one.proposal, one.proposal_search) == ("g0/p0", 3.0)
    assert one.proposal_report is not None and one.proposal_report.estimate == 1.5
    assert one.report is None and one.decline is None  # what was chosen was not trained on fresh seeds


def test_sweeps(facts: RunFacts) -> None:
    (one,) = facts.sweeps
    assert (one.parameter, one.task, one.baseline) == ("learning_rate", "near", "ppo")
    found = {level.factor: level for level in one.levels if level.subject == "discovered"}
    assert sorted(found) == [0.5, 1.0, 2.0]
    lower = found[0.5].difference
    assert lower is not None and lower[:3] == (-1.0, -1.0, -1.0)
    assert found[0.5].score.estimate == 6.5
    # At any factor the worst is -3: what the failed training at factor 1 counts as.
    assert found[1.0].score.estimate == pytest.approx((-3 + sum(range(1, 16)) - 30) / 16)
    assert facts.commands.sweep == ("discovery evaluate made ppo --sweep learning_rate=0.5,1,2",)


def test_commands_name_the_run_and_not_the_machine(made: LoadedRun) -> None:
    command = "discovery evaluate '/some where/made@initial' /a/made@3 /other/made2 runs/made ppo"
    assert portable(command, made) == ("discovery evaluate made@initial made@3 /other/made2 runs/made ppo")
    assert portable('"', made) == '"'


def test_json_holds_everything(facts: RunFacts) -> None:
    data = json.loads(facts.to_json())
    assert data["verdict"]["judgments"][0]["difference"]["estimate"] == 1.0
    assert data["tables"][0]["rows"][0]["mean"]["n"] == 16
    assert data["found"]["formula"]["weights"]["w_out"] == [0.2, 0.4]
    assert set(data) == {field for field in facts.__dataclass_fields__}


def test_the_best_known_is_the_yardstick_task_by_task() -> None:
    base = np.linspace(0, 10, 16)
    scores = {("found", "a"): base, ("ppo", "a"): base + 1, ("dpo", "a"): base + 2}
    scores |= {("found", "b"): base, ("ppo", "b"): base + 2, ("dpo", "b"): base * math.nan}
    reports = comparison(scores)
    assert best_known(reports, "a") == "dpo"
    assert best_known(reports, "b") == "ppo"
    assert [task.baseline for task in verdict("found", ["a", "b"], reports).judgments] == ["dpo", "ppo"]


def test_not_yet_judged_without_a_known_algorithm_or_a_held_out_task() -> None:
    base = np.linspace(0, 10, 16)
    both = {("found", "a"): base, ("ppo", "a"): base}
    lost = both | {("found", "a"): base * math.nan}
    for scores, tasks in (({("found", "a"): base}, ["a"]), (both, []), (lost, ["a"])):
        assert verdict("found", tasks, comparison(scores)).status == "not yet judged"


@pytest.mark.parametrize("look", ["none", "before", "after"])
def test_the_verdict_rests_on_declared_tasks_and_on_looks_that_came_first(look: str, tmp_path: Path) -> None:
    """Of two tasks one decides; the other one is far above PPO, but only a look makes it count."""
    base, noise = np.arange(16.0), np.resize([1.0, -1.0, 0.5, -0.5], 16)
    scores = {("far", "discovered"): base + noise, ("other", "discovered"): base + 3}
    scores |= {(task, "ppo"): base for task in ("far", "other")}
    with begin(CONFIG, tmp_path) as run:
        search(run)
        looked = ("discovery evaluate made ppo --test", ["made", "ppo"], ["other"], 16, 0)
        if look == "before":
            run.ledger.record_test(*looked)
        for (task, subject), values in scores.items():
            report(run.ledger, subject, task, list(values), "made@1" if subject == "discovered" else "")
        if look == "after":
            run.ledger.record_test(*looked)
    found = collect(load_run(run.folder))
    standings = {table.task: table.standing for table in found.tables}
    assert "other" in " ".join(found.limits)
    assert len(found.looks) == (look != "none")
    if look == "before":
        assert standings == {"far": "held out", "other": "held out"}
        assert (found.verdict.status, found.verdict.better) == ("confirmed", 1)
        holm = [one.corrected > one.p_value for one in found.verdict.judgments]
        assert holm == [False, True]  # over both
    else:
        assert standings == {"far": "held out", "other": "not part of the search"}
        assert found.verdict.status == "inconclusive"
        (one,) = found.verdict.judgments
        assert one.task == "far" and one.corrected == one.p_value
