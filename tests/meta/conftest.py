"""A small search problem for the tests of meta-optimizers."""

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from discovery.core.config.methods import ESConfig, MetaConfig, PBEConfig
from discovery.meta.base import MetaOptimizer, RequestId, ScoreResult
from discovery.meta.make import make_meta

TARGET = np.linspace(-1.0, 1.0, 7)


def flat(meta_params) -> np.ndarray:
    """``[7]``, float64."""
    return np.concatenate([np.ravel(meta_params["layer"]["w"]), np.ravel(meta_params["b"])]).astype(
        np.float64
    )


def config_of(strategy: Any = "Open_ES", **options) -> MetaConfig:
    """A config by the title of its method."""
    return PBEConfig(**options) if strategy == "PBE" else ESConfig(strategy=strategy, **options)


def initial_mean(key) -> dict:
    """Seven entries around 1.5, far from the target, in a nested tree with a scalar leaf."""
    key_w, key_b = jax.random.split(key)
    w = 1.5 + 0.1 * jax.random.normal(key_w, (2, 3))
    return {"layer": {"w": w}, "b": 1.5 + 0.1 * jax.random.normal(key_b)}


def score(meta_params) -> float:
    """``-||x - target||^2``, to be maximized."""
    return -float(np.sum((flat(meta_params) - TARGET) ** 2))


def key_of(generation: int):
    return jax.random.fold_in(jax.random.key(7), generation)


def results_of(requests, score_fn=score) -> dict[RequestId, ScoreResult]:
    """Results on one task with one seed; `score_fn` may return a dict of arrays per task instead."""
    results = {}
    for request in requests:
        value = score_fn(request.proposal.meta_params)
        scores = value if isinstance(value, dict) else {"task": np.array([value])}
        results[request.id] = ScoreResult(request.id, scores)
    return results


def search(meta: MetaOptimizer, n_generations: int, score_fn=score, state=None):
    """The state after `n_generations`."""
    state = meta.init(jax.random.key(0)) if state is None else state
    for _ in range(n_generations):
        requests, state = meta.ask(key_of(int(state.told)), state)
        state = meta.tell(state, results_of(requests, score_fn))
    return state


@pytest.fixture(scope="session")
def problem() -> SimpleNamespace:
    functions = (flat, initial_mean, score, key_of, results_of, search)
    return SimpleNamespace(**{function.__name__: function for function in functions})


@functools.cache
def _build(items: tuple, references: tuple) -> MetaOptimizer:
    options: dict[str, Any] = {
        name: dict(value) if name == "optimizer_options" else value for name, value in items
    }
    return make_meta(config_of(**options), initial_mean, dict(references))


@pytest.fixture(scope="session")
def build() -> Callable[..., MetaOptimizer]:
    """`make_meta` by options, once per set of options: each instance compiles."""

    def cached(references=(), **options):
        options = {"population": 16, "answer_every": 0, **options}
        if "optimizer_options" in options:
            options["optimizer_options"] = tuple(sorted(options["optimizer_options"].items()))
        return _build(tuple(sorted(options.items())), tuple(dict(references).items()))

    return cached
