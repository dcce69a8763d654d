"""The meta-optimizer of a config, and its random keys."""

from typing import Any

import jax
import jax.numpy as jnp

from discovery.core.config.search import SearchConfig
from discovery.inner.compile import build_algorithm
from discovery.meta.base import MetaOptimizer
from discovery.meta.make import make_meta
from discovery.search.requests import seed_words


def meta_optimizer(config: SearchConfig, start: Any = None) -> MetaOptimizer:
    """The meta-optimizer of a config. Build it once per search, because its functions compile.

    `start` replaces the family's own initial mean.
    """
    algorithm = build_algorithm(config.spec)
    init = algorithm.init if start is None else lambda key: start
    references = {task.name: task.reference for task in config.tasks}
    options = {name: value for part in config.spec.parts for name, value in part.options}
    reductions = int(options.get("reductions", 0))
    return make_meta(config.proposing, init, references, config.generations, reductions)


def key_of(config: SearchConfig, *parts: object) -> jax.Array:
    """A meta-optimizer's key, derived from the run's seed."""
    return jax.random.wrap_key_data(jnp.asarray(seed_words(config.seed, "meta", *parts)))
