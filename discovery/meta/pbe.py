"""Search by population-based evolution: children of the best inherit, beside what is trained, how it changes.

    meta = make_pbe(ESConfig(strategy="PBE", population=32, pbe=PBEConfig(order=1)), init)

What is inherited and how is in `genes`. The state keeps the parents and the key, and no proposals: `ask`
makes the children, `tell` makes them again and lets the best of them be parents.

Scores are never carried over: a parent that is kept (elitism) is trained again, on the seeds of its new
generation, so neither luck nor an objective that has moved on makes it look good.

The answer of a search is the mean of the parents' x_0. A single child carries the whole noise of its last
mutation, and the best one owes its place to luck in part; in the mean of parents, which are close kin, both
average out (Beyer 1995 calls it genetic repair). It is scored on selection seeds like any mean.

Reference: Lu, Towers, Foerster 2023, arXiv 2303.09478.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from discovery.meta.base import MetaOptimizer
from discovery.meta.es_config import ESConfig
from discovery.meta.generation import check_mean, check_references, check_template, requests_of, scores_of
from discovery.meta.genes import children, founders, spread, survivors, with_elite
from discovery.meta.pbe_config import Mutation, PBEConfig
from discovery.meta.shaping import Scores, centered_ranks, failed, task_average

__all__ = ["PBEConfig", "PBEState", "make_pbe"]


class PBEState(NamedTuple):
    """Where a search stands: a pytree of numpy arrays and plain integers.

    Attributes:
        generation: number of the generation that is asked for next, or being evaluated.
        mean: mean of the parents' x_0, as meta-parameters; before there are parents, the initial mean.
        parents: float32 ``[orders, E, D]``, the genes of the last generation's best, the best first.
        n_parents: how many of them count: fewer than E where most proposals failed, 0 before the first
            generation.
        spread: float32 ``[orders]``, of each gene over the last population; before the first, of founders.
        key: uint32 ``[2]``, data of the key the generation is made with.
        asked: 1 between `ask` and `tell`, else 0.
        failed: proposals of the last generation that failed on at least one task.
        skipped: generations so far that changed nothing, because no proposal succeeded on any task.
    """

    generation: int
    mean: Any
    parents: np.ndarray
    n_parents: int
    spread: np.ndarray
    key: np.ndarray
    asked: int
    failed: int
    skipped: int


def make_pbe(
    config: ESConfig,
    init: Callable[[PRNGKeyArray], Any],
    references: Mapping[str, float | None] | None = None,
) -> MetaOptimizer:
    """A `MetaOptimizer` that searches by population-based evolution; arguments as for `make_es`."""
    config = config.resolved()
    references = dict(references or {})
    check_references(config, references)
    template = init(jax.random.key(0))
    check_template(template)
    flat, unravel = ravel_pytree(template)
    rule, sigmas, deviations = _rule(config), _sigmas(config), _deviations(config)

    def start(key):
        mean = _at_rest(init(jax.random.split(key)[0]))
        check_mean(mean)
        parents = np.zeros((len(sigmas), rule.parents, flat.size), np.float32)
        no_key = np.zeros_like(jax.random.key_data(key))
        return PBEState(0, mean, parents, 0, sigmas, np.asarray(no_key), asked=0, failed=0, skipped=0)

    def genes_of(state):
        key, n_parents = _keys(state)[0], int(state.n_parents)
        if n_parents:
            return _children(key, state.parents, n_parents, deviations, rule)
        return _founders(key, ravel_pytree(state.mean)[0].astype(np.float32), sigmas, rule.population)

    def ask(key, state):
        state = state._replace(key=np.asarray(jax.random.key_data(key)), asked=1)
        proposals = jax.vmap(unravel)(genes_of(state)[0].astype(flat.dtype))
        return requests_of(config, state, _at_rest(proposals)), state

    def tell(state, results):
        scores = scores_of(config, state, results)
        every = np.array([failed(task) for task in scores.values()])
        anywhere = np.any(every, axis=0)
        after = state._replace(
            generation=int(state.generation) + 1,
            asked=0,
            failed=int(anywhere.sum()),
            skipped=int(state.skipped) + int(every.all()),
        )
        if every.all():
            return after
        merit, n_parents = _merit(config, scores, anywhere, references)
        genes = genes_of(state)
        parents = np.asarray(_best(_keys(state)[1], genes, merit, rule.parents))
        mean = unravel(jnp.asarray(parents[0, :n_parents].mean(axis=0), flat.dtype))
        return after._replace(
            parents=parents, n_parents=n_parents, mean=_at_rest(mean), spread=np.asarray(_spread(genes))
        )

    return MetaOptimizer(start, ask, tell, mean=lambda state: state.mean, metrics=_metrics)


class Rule(NamedTuple):
    """The structure of a search, which is compiled in; its numbers are arguments.

    Attributes:
        population: P.
        parents: E.
        mutation, self_referential: see `children`.
        elitism: whether parents are kept.
    """

    population: int
    parents: int
    mutation: Mutation
    self_referential: bool
    elitism: bool


def _rule(config: ESConfig) -> Rule:
    """The structure of `config` (resolved)."""
    pbe = config.pbe
    assert pbe.parents is not None and pbe.mutation is not None, "the config must be resolved"
    return Rule(config.population, pbe.parents, pbe.mutation, bool(pbe.self_referential), bool(pbe.elitism))


def _sigmas(config: ESConfig) -> Float[np.ndarray, " orders"]:
    """Standard deviations of the founders' genes."""
    return np.array([config.sigma, *(config.pbe.gene_sigmas or ())], np.float32)


def _deviations(config: ESConfig) -> Float[np.ndarray, " orders"]:
    """Standard deviations of the noise in each gene, those that the rule does not read zero."""
    deviations, beta = np.zeros_like(_sigmas(config)), config.pbe.beta or ()
    deviations[len(deviations) - len(beta) :] = np.sqrt(beta)
    return deviations


def _merit(
    config: ESConfig,
    scores: Scores,
    anywhere: Bool[np.ndarray, " P"],
    references: Mapping[str, float | None],
) -> tuple[Float[np.ndarray, " P"], int]:
    """Ranks of the proposals by their average over tasks, and how many of them become parents.

    Those that failed `anywhere` come last and are no parents, unless all did.
    """
    pbe, normalization = config.pbe, config.task_normalization
    assert pbe.parents is not None and normalization is not None, "the config must be resolved"
    merit = centered_ranks(task_average(scores, normalization, references))
    if anywhere.all():
        return merit, pbe.parents
    return np.where(anywhere, -np.inf, merit), min(pbe.parents, int((~anywhere).sum()))


def _keys(state: PBEState) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    """Keys of the generation: to make it, and to break ties in it."""
    key_make, key_ties = jax.random.split(jax.random.wrap_key_data(jnp.asarray(state.key)))
    return key_make, key_ties


@functools.partial(jax.jit, static_argnames="rule")
def _children(
    key: PRNGKeyArray,
    parents: Float[Array, "orders E D"],
    n_parents: int,
    deviations: Float[Array, " orders"],
    rule: Rule,
) -> Float[Array, "orders P D"]:
    """The next generation, with its parents where they are kept."""
    size, own = rule.population, rule.self_referential
    genes = children(key, parents, n_parents, deviations, size, rule.mutation, own)
    return with_elite(genes, parents, n_parents) if rule.elitism else genes


_founders = jax.jit(founders, static_argnames="population")
_best = jax.jit(survivors, static_argnames="n_parents")
_spread = jax.jit(spread)


def _at_rest(tree: Any) -> Any:
    """The same tree of numpy arrays."""
    return jax.tree.map(np.asarray, jax.device_get(tree))


def _metrics(state: PBEState) -> dict[str, float]:
    """What `state` is worth recording; `spread_1` is that of x_1, and so on."""
    mean = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.mean)])
    return {
        **{f"spread_{order}": float(value) for order, value in enumerate(state.spread)},
        "mean_norm": float(np.linalg.norm(mean.astype(np.float64))),
        "parents": float(state.n_parents),
        "failed_proposals": float(state.failed),
        "skipped_generations": float(state.skipped),
    }
