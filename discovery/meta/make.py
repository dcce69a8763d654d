"""The meta-optimizer that a config names."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import PRNGKeyArray

from discovery.core.config.evolution import ESConfig
from discovery.meta.base import MetaOptimizer
from discovery.meta.evolution.es import make_es
from discovery.meta.population.pbe import make_pbe
from discovery.meta.scaled import scaled


def make_meta(
    config: ESConfig,
    init: Callable[[PRNGKeyArray], Any],
    references: Mapping[str, float | None] | None = None,
) -> MetaOptimizer:
    """An evolution strategy, or population-based evolution, in units of the entries' scales; see `make_es`,
    `make_pbe` and `scaled`.
    """
    method = make_pbe if config.strategy == "PBE" else make_es
    if not config.scales:
        return method(config, init, references)
    return scaled(lambda begin: method(config, begin, references), init, config.scales)
