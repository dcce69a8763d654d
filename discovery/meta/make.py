"""The meta-optimizer that a config names."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import PRNGKeyArray

from discovery.core.config.methods import MetaConfig, PBEConfig
from discovery.meta.base import MetaOptimizer
from discovery.meta.evolution.es import make_es
from discovery.meta.population.pbe import make_pbe
from discovery.meta.scaled import scaled


def make_meta(
    config: MetaConfig,
    init: Callable[[PRNGKeyArray], Any],
    references: Mapping[str, float | None] | None = None,
) -> MetaOptimizer:
    """An evolution strategy or population-based evolution; see `make_es`, `make_pbe` and `scaled`."""

    def method(begin: Callable[[PRNGKeyArray], Any]) -> MetaOptimizer:
        if isinstance(config, PBEConfig):
            return make_pbe(config, begin, references)
        return make_es(config, begin, references)

    return scaled(method, init, config.scales) if config.scales else method(init)
