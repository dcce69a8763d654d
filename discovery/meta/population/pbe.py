"""Search by population-based evolution: children inherit meta-parameters, and also how these change.

    meta = make_pbe(PBEConfig(population=32, order=1), init)

`genes` defines the inheritance. `ask` makes a batch of children; `tell` makes the best of the last P told
proposals the parents. A batch is a whole generation, unless the search is asynchronous: then several batches
are in flight, and they are told in the order in which they finish.

Scores are not inherited: a parent that is kept (elitism) is trained again, on the seeds of its new
generation. So neither luck nor a changed objective can make it look good for more than P proposals.

The answer of a search is the mean of the parents' x_0. A single child has all the noise of its last mutation,
and the best child is partly lucky; both average out in the mean of parents, which are closely related (Beyer
1995 calls this genetic repair). The answer is scored on selection seeds like any mean.

Reference: Lu, Towers, Foerster 2023, arXiv 2303.09478.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from discovery.core.config.population import Mutation, PBEConfig
from discovery.meta.base import MetaOptimizer, Proposal
from discovery.meta.evolution.shaping import Scores, centered_ranks, failed, task_average
from discovery.meta.generation import (
    asked_for,
    batches_of,
    check_mean,
    check_references,
    check_template,
    places_of,
    requests_of,
)
from discovery.meta.in_flight import InFlight, as_numpy, none_in_flight
from discovery.meta.population.genes import children, founders, spread, survivors, with_elite

__all__ = ["PBEConfig", "PBEState", "make_pbe"]


class PBEState(NamedTuple):
    """The state of a search: a pytree of numpy arrays and plain integers.

    Attributes:
        told: number of batches that were told.
        mean: mean of the parents' x_0, as meta-parameters; before there are parents, the initial mean.
        parents: float32 ``[orders, E, D]``, genes of the best of the last P told proposals, best first.
        n_parents: how many rows of `parents` count: fewer than E if most proposals failed, 0 until P were
            told.
        spread: float32 ``[orders]``, standard deviation of each gene over the last P told proposals; until
            then, the founders' sigmas.
        flight: batches that were asked for and not told, each with its genes ``[orders, B, D]``.
        window: the last P - B told proposals; parents are chosen from these and the next batch.
        failed: proposals of the last P that failed on at least one task.
        skipped: number of batches that changed nothing, because none of the last P succeeded on any task.
    """

    told: int
    mean: Any
    parents: Float[np.ndarray, "orders E D"]
    n_parents: int
    spread: Float[np.ndarray, " orders"]
    flight: InFlight
    window: "Window"
    failed: int
    skipped: int


class Window(NamedTuple):
    """The last W proposals that were told, the oldest first; filled up with zeros in front.

    Attributes:
        genes: float32 ``[orders, W, D]``.
        scores: by task, float64 ``[W]``: means over seeds, NaN for a failure.
    """

    genes: Float[np.ndarray, "orders W D"]
    scores: dict[str, Float[np.ndarray, " W"]]


def make_pbe(
    config: PBEConfig,
    init: Callable[[PRNGKeyArray], Any],
    references: Mapping[str, float | None] | None = None,
) -> MetaOptimizer:
    """A `MetaOptimizer` that searches by population-based evolution; arguments as for `make_es`.

    In an asynchronous search, `references` must have all tasks.
    """
    config = config.resolved()
    references = dict(references or {})
    check_references(config, references)
    template = init(jax.random.key(0))
    check_template(template)
    flat, unravel = ravel_pytree(template)
    rule, sigmas, deviations = _rule(config), _sigmas(config), _deviations(config)
    most, memory = config.batches_in_flight, config.population - rule.batch

    def start(key):
        mean = as_numpy(init(jax.random.split(key)[0]))
        check_mean(mean)
        return PBEState(
            told=0,
            mean=mean,
            parents=np.zeros((len(sigmas), rule.parents, flat.size), np.float32),
            n_parents=0,
            spread=sigmas,
            flight=none_in_flight(most - 1, np.zeros((len(sigmas), rule.batch, flat.size), np.float32)),
            window=Window(
                np.zeros((len(sigmas), memory, flat.size), np.float32),
                {task: np.zeros(memory) for task in references if memory},
            ),
            failed=0,
            skipped=0,
        )

    def ask(key, state):
        if len(state.flight.batches()) >= most:
            return [], state
        number, (key_make, _) = asked_for(state), jax.random.split(key)
        if state.n_parents:
            first = places_of(config, number)[0][1]
            genes = _children(key_make, state.parents, int(state.n_parents), deviations, first, rule)
        else:
            genes = _founders(key_make, ravel_pytree(state.mean)[0].astype(np.float32), sigmas, rule.batch)
        state = state._replace(flight=state.flight.with_batch(number, key, np.asarray(genes)))
        return requests_of(config, number, proposals(genes)), state

    def proposals(genes):
        return as_numpy(jax.vmap(unravel)(jnp.asarray(genes[0], flat.dtype)))

    def tell(state, results):
        for number, scores in batches_of(config, state, results):
            _, key_ties = jax.random.split(state.flight.key(number))
            known, after = _with_scores(config, state, number, scores)
            merit, n_parents = _ranks(config, known.scores, references)
            if n_parents:
                parents = np.asarray(_best(key_ties, known.genes, merit, rule.parents))
                mean = as_numpy(unravel(jnp.asarray(parents[0, :n_parents].mean(axis=0), flat.dtype)))
                spread = np.asarray(_spread(known.genes))
                after = after._replace(parents=parents, n_parents=n_parents, mean=mean, spread=spread)
            state = after
        return state

    def in_flight(state):
        flight = state.flight
        return [requests_of(config, n, proposals(flight.of(n))) for n in flight.batches()]

    share = rule.batch / config.population

    def answer(state):
        return Proposal(state.mean, operator="mean of parents")

    return MetaOptimizer(start, ask, tell, answer, lambda state: _metrics(state, share), in_flight)


class Rule(NamedTuple):
    """The static part of a search, which is compiled in; the other numbers are traced arguments.

    Attributes:
        batch: B, proposals that are made together.
        parents: E.
        mutation, self_referential: see `children`.
        elitism: whether parents are kept.
    """

    batch: int
    parents: int
    mutation: Mutation
    self_referential: bool
    elitism: bool


def _rule(config: PBEConfig) -> Rule:
    """The static part of the resolved `config`."""
    assert config.parents is not None and config.mutation is not None, "the config must be resolved"
    own, elitism = bool(config.self_referential), bool(config.elitism)
    return Rule(config.batch_size, config.parents, config.mutation, own, elitism)


def _sigmas(config: PBEConfig) -> Float[np.ndarray, " orders"]:
    """Standard deviations of the founders' genes."""
    return np.array([config.sigma, *(config.gene_sigmas or ())], np.float32)


def _deviations(config: PBEConfig) -> Float[np.ndarray, " orders"]:
    """Standard deviations of the noise in each gene; zero for those that the rule does not use."""
    deviations, beta = np.zeros_like(_sigmas(config)), config.beta or ()
    deviations[len(deviations) - len(beta) :] = np.sqrt(beta)
    return deviations


def _with_scores(config: PBEConfig, state: PBEState, number: int, scores: Scores) -> tuple[Window, PBEState]:
    """The last P told proposals including batch `number`, and the state after it with the old parents."""
    window, size = state.window, config.batch_size
    genes = np.concatenate([window.genes, state.flight.of(number)], axis=1)
    means = {}
    for task, table in scores.items():
        sound = np.where(failed(table)[:, None], np.nan, table)
        means[task] = np.concatenate([window.scores.get(task, np.zeros(0)), sound.mean(axis=1)])
    told = int(state.told) + 1
    blank = max(config.population - told * size, 0)  # while fewer than P were told
    known = Window(genes[:, blank:], {task: values[blank:] for task, values in means.items()})
    bad = np.array([np.isnan(values) for values in known.scores.values()])
    after = state._replace(
        told=told,
        flight=state.flight.without(number, config.batches_in_flight - 1),
        window=Window(genes[:, size:], {task: means[task][size:] for task in window.scores}),
        failed=int(bad.any(axis=0).sum()),
        skipped=int(state.skipped) + int(bad.all()),
    )
    return known, after


def _ranks(
    config: PBEConfig, scores: Mapping[str, Float[np.ndarray, " W"]], references: Mapping[str, float | None]
) -> tuple[Float[np.ndarray, " W"], int]:
    """Ranks of the proposals by their average over tasks, and the number of parents. It is 0 while there are
    fewer than P proposals, and if all failed on all tasks.

    Proposals that failed on any task rank last and do not become parents, unless all proposals failed.
    """
    parents, normalization = config.parents, config.task_normalization
    assert parents is not None and normalization is not None, "the config must be resolved"
    bad = np.array([np.isnan(values) for values in scores.values()])
    anywhere = np.any(bad, axis=0)
    if bad.shape[1] < config.population or bad.all():
        return np.zeros(bad.shape[1]), 0
    tables = {task: values[:, None] for task, values in scores.items()}
    merit = centered_ranks(task_average(tables, normalization, references))
    if anywhere.all():
        return merit, parents
    return np.where(anywhere, -np.inf, merit), min(parents, int((~anywhere).sum()))


@functools.partial(jax.jit, static_argnames="rule")
def _children(
    key: PRNGKeyArray,
    parents: Float[Array, "orders E D"],
    n_parents: int,
    deviations: Float[Array, " orders"],
    first: int,
    rule: Rule,
) -> Float[Array, "orders B D"]:
    """A batch that begins at index `first` of its generation, with unchanged parents if there is elitism."""
    genes = children(key, parents, n_parents, deviations, rule.batch, rule.mutation, rule.self_referential)
    return with_elite(genes, parents, n_parents, first) if rule.elitism else genes


_founders = jax.jit(founders, static_argnames="population")
_best = jax.jit(survivors, static_argnames="n_parents")
_spread = jax.jit(spread)


def _metrics(state: PBEState, share: float) -> dict[str, float]:
    """Metrics to record; `spread_1` is the spread of x_1, and so on. `share` is a batch's share of a
    generation.
    """
    mean = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.mean)])
    return {
        **{f"spread_{order}": float(value) for order, value in enumerate(state.spread)},
        "mean_norm": float(np.linalg.norm(mean.astype(np.float64))),
        "parents": float(state.n_parents),
        "failed_proposals": float(state.failed),
        "skipped_generations": float(state.skipped) * share,
    }
