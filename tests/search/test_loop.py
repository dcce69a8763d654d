"""Requests of three kinds in one search: who answers them, what is recorded, what is asked again."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from discovery.app.api import Silence
from discovery.core.config.evolution import ESConfig
from discovery.core.config.search import SearchConfig
from discovery.core.errors import RunError
from discovery.core.jobs import AlgorithmSpec, JobResult, Outcome
from discovery.executors.base import no_more
from discovery.executors.inline import Inline
from discovery.meta.base import (
    GradientRequest,
    GradientResult,
    MetaOptimizer,
    Proposal,
    ReplyRequest,
    ReplyResult,
    RequestId,
    ScoreRequest,
)
from discovery.search.loop import Responders, search
from discovery.store.run import Run
from environments.task import Setup, Task
from tests.search.interrupting import differences

SETUP = Setup("Catch-bsuite", n_envs=2, n_steps=8, n_minibatches=1, curve_points=2)
CONFIG = SearchConfig(
    generations=3, tasks=(Task("a", SETUP, 64), Task("b", SETUP, 64)), seeds=2, selection_seeds=2,
    selection_doublings=0, meta=ESConfig(population=2, answer_every=0),
)  # fmt: skip


class State(NamedTuple):
    """x moves by the gradients; `words` counts those of all replies."""

    generation: int
    x: np.ndarray
    carry: Any
    words: int
    score: float


def mixed() -> MetaOptimizer:
    """Asks for a reply, a gradient, and scores of an A2C and a proposal with integers, in each generation."""

    def init(key):
        return State(0, np.zeros(2), {"steps": np.int32(0)}, 0, 0.0)

    def ask(key, state):
        g = state.generation
        proposal = Proposal({"drift": state.x, "code": np.array([3, 1], np.int32)}, operator="sample")
        child = Proposal({}, AlgorithmSpec("a2c"), (f"g{g}/p0",), "rewrite", "def f(x): return x")
        return [
            ReplyRequest(RequestId(g, 0, "reply"), f"improve {g}", "small", {"temperature": 0.5}),
            GradientRequest(RequestId(g, 0, "gradient"), proposal, state.carry, window=4),
            ScoreRequest(RequestId(g, 0), proposal, seeds=(0, 1, 2)),
            ScoreRequest(RequestId(g, 1), child, tasks=("b",)),
        ], state

    def tell(state, results):
        g = state.generation
        reply, gradient = results[RequestId(g, 0, "reply")], results[RequestId(g, 0, "gradient")]
        assert results[RequestId(g, 0)].scores["a"].shape == (3,)
        assert list(results[RequestId(g, 1)].scores) == ["b"]
        score = float(results[RequestId(g, 0)].scores["a"].mean())
        words = state.words + len(reply.text.split())
        return State(g + 1, state.x + gradient.gradient["drift"], gradient.carry, words, state.score + score)

    def answer(state):
        return Proposal({"drift": state.x}, operator="gradient", source=f"{state.words} words")

    return MetaOptimizer(init, ask, tell, answer, lambda state: {"words": float(state.words)}, lambda s: [])


class Scores(Inline):
    """Every training scores 1 plus its seed; jobs are noted."""

    def __init__(self):
        super().__init__(4)
        self.jobs = []

    def run(self, jobs, more=no_more):
        self.jobs += jobs
        for job in jobs:
            score, curve = np.float32(1 + job.id.seed), np.zeros(2, np.float32)
            outcome = Outcome(score, score, score, curve, curve, curve, np.int32(-1), {"kl": curve})
            yield JobResult(job.id, outcome)


class Fakes(dict):
    """Answer replies and gradients, note who asked, and may stop with an error at a call."""

    def __init__(self, stop_at: int = -1):
        super().__init__(reply=self._each(reply), gradient=self._each(gradient))
        self.asked, self.stop_at = [], stop_at

    def _each(self, answer):
        def answers(requests):
            for request in requests:
                if len(self.asked) == self.stop_at:
                    raise KeyboardInterrupt
                self.asked.append(str(request.id))
                yield answer(request)

        return answers


def reply(request):
    return ReplyResult(request.id, f"{request.prompt} more", {"tokens": 3.0})


def gradient(request):
    steps = request.carry["steps"] + np.int32(request.window)
    return GradientResult(request.id, {"drift": np.full(2, 0.5)}, {"steps": steps}, {"loss": 1.0})


def test_one_search_asks_for_scores_gradients_and_replies(tmp_path):
    executor, responders = Scores(), Fakes()
    with Run.create(CONFIG, tmp_path, name="run") as run:
        search(run, executor, Silence(), responders, mixed())
        assert responders.asked == [f"g{g}/{kind}0" for g in range(3) for kind in ("gradient", "reply")]
        answer = run.answer()
        np.testing.assert_array_equal(answer.meta_params["drift"], [1.5, 1.5])
        assert (answer.operator, answer.source) == ("gradient", "9 words")
        rows = {row["id"]: row for row in run.ledger.proposals()}
    child = [job for job in executor.jobs if str(job.id.owner) == "g1/p1"]
    assert {(job.algorithm.name, job.task.name) for job in child} == {("a2c", "b")} and len(child) == 2
    code = next(job for job in executor.jobs if str(job.id.owner) == "g0/p0").meta_params["code"]
    assert code.dtype == np.int32 and code.tolist() == [3, 1]
    row = rows["g1/p1"]
    assert (row["parents"], row["operator"], row["source_text"]) == (
        '["g1/p0"]', "rewrite", "def f(x): return x"
    )  # fmt: skip
    assert rows["g2/reply0"]["kind"] == "reply" and rows["g2/reply0"]["source_text"] == "improve 2"


def test_a_resumed_search_asks_nobody_twice(tmp_path):
    with Run.create(CONFIG, tmp_path, name="whole") as run:
        search(run, Scores(), Silence(), Fakes(), mixed())
    for stop_at in (0, 1, 4):
        first, second = Fakes(stop_at), Fakes()
        with Run.create(CONFIG, tmp_path, name=f"parts{stop_at}") as run:
            with pytest.raises(KeyboardInterrupt):
                search(run, Scores(), Silence(), first, mixed())
            search(run, Scores(), Silence(), second, mixed())
        assert len(first.asked) == stop_at and len(set(first.asked + second.asked)) == 6
        assert set(first.asked).isdisjoint(second.asked)
        assert differences(tmp_path / "whole", tmp_path / f"parts{stop_at}") == []


def test_a_request_that_nobody_answers_ends_the_search(tmp_path):
    with Run.create(CONFIG, tmp_path, name="run") as run:
        with pytest.raises(RunError, match="asks for a gradient"):
            search(run, Scores(), Silence(), {}, mixed())
        lazy: Responders = {"gradient": lambda requests: [], "reply": lambda requests: []}
        with pytest.raises(RunError, match="g0/reply0, g0/gradient0"):
            search(run, Scores(), Silence(), lazy, mixed())
