"""Inheritance in population-based evolution: founders, survivors, children. Pure functions of jax arrays.

Genes are ``[orders, P, D]``: an individual has genes ``x_0 .. x_n``, n + 1 orders of D searched entries each.
Only x_0 is scored; x_1 is an inherited step of x_0, x_2 is one of x_1, and so on. x_1 is selected only
indirectly: lineages whose x_1 improves x_0 survive.

Lu, Towers, Foerster 2023, "Arbitrary Order Meta-Learning with Simple Population-Based Evolution"
(arXiv 2303.09478). Its source code is not public: self-reference here is the simplest form that fits its
text.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from discovery.core.config.population import Mutation

LIMIT = 1e30
"""Genes are clipped to plus and minus this value. They can grow as a power of the number of generations, or
double in each. With this limit, sums and products of two genes and a normal number stay finite in float32.
"""


def founders(
    key: PRNGKeyArray, center: Float[Array, " D"], sigmas: Float[Array, " orders"], population: int
) -> Float[Array, "orders P D"]:
    """The first generation: ``x_0 = center + sigma_0 z_0`` and ``x_i = sigma_i z_i``, with z standard normal.

    Args:
        key: of this generation.
        center: the initial mean.
        sigmas: initial standard deviation of each order.
        population: P.
    """
    genes = sigmas[:, None, None] * jax.random.normal(key, (len(sigmas), population, len(center)))
    return _bounded(jnp.concatenate([genes[:1] + center, genes[1:]]))


def children(
    key: PRNGKeyArray,
    parents: Float[Array, "orders E D"],
    n_parents: Int[Array, ""] | int,
    deviations: Float[Array, " orders"],
    population: int,
    mutation: Mutation = "additive",
    self_referential: bool = False,
) -> Float[Array, "orders P D"]:
    """The next generation: each child mutates the genes of one parent, which is drawn uniformly.

    With z standard normal and d the deviations (square roots of beta):

        additive           x_i <- x_i + x_{i+1} + d_i z    i < n
                           x_n <- x_n + d_n z              or x_n + x_n + d_n z, self-referential
        multiplicative     x_i <- x_i + x_{i+1} z          i < n
                           x_n <- x_n + d_n z              or x_n + x_n z, self-referential

    Additive genes are steps, multiplicative ones are step sizes, whose sign has no meaning.

    Args:
        key: of this generation.
        parents: survivors of the last one; only the first `n_parents` rows count.
        n_parents: at least 1.
        deviations: d; those that the rule does not use are ignored.
        population: P.
        mutation: which rule.
        self_referential: whether the last gene also mutates itself, which makes the order unbounded.
    """
    key_pick, key_noise = jax.random.split(key)
    genes = parents[:, jax.random.randint(key_pick, (population,), 0, n_parents)]
    noise = jax.random.normal(key_noise, genes.shape)
    last = genes[-1:]
    if mutation == "multiplicative":
        own = last if self_referential else jnp.broadcast_to(deviations[-1], last.shape)
        return _bounded(genes + jnp.concatenate([genes[1:], own]) * noise)
    own = last if self_referential else jnp.zeros_like(last)
    return _bounded(genes + jnp.concatenate([genes[1:], own]) + deviations[:, None, None] * noise)


def survivors(
    key: PRNGKeyArray, genes: Float[Array, "orders P D"], merit: Float[Array, " P"], n_parents: int
) -> Float[Array, "orders E D"]:
    """The `n_parents` individuals with the highest merit, best first; ties are broken at random.

    Breaking ties by index would favor kept parents, which come first: if all scores were equal, the
    population would never change.
    """
    tie = jax.random.bits(key, merit.shape)
    return genes[:, jnp.lexsort((tie, -merit))[:n_parents]]


def with_elite(
    genes: Float[Array, "orders P D"],
    parents: Float[Array, "orders E D"],
    n_parents: Int[Array, ""] | int,
    first: Int[Array, ""] | int = 0,
) -> Float[Array, "orders P D"]:
    """Children, in which unchanged parents replace the first `n_parents` of the generation. `first` is the
    index in the generation of the first child in `genes`.
    """
    index = first + jnp.arange(genes.shape[1])
    kept = parents[:, jnp.minimum(index, parents.shape[1] - 1)]
    return jnp.where((index < n_parents)[:, None], kept, genes)


def spread(genes: Float[Array, "orders P D"]) -> Float[Array, " orders"]:
    """Standard deviation of each order over the individuals, averaged over entries."""
    return genes.std(axis=1).mean(axis=1)


def _bounded(genes: Float[Array, "orders P D"]) -> Float[Array, "orders P D"]:
    return jnp.clip(genes, -LIMIT, LIMIT)
