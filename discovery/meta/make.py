"""The meta-optimizer that a config names."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import PRNGKeyArray

from discovery.core.config.methods import MetaConfig, PBEConfig, ProgramsConfig
from discovery.meta.base import MetaOptimizer
from discovery.meta.evolution.es import make_es
from discovery.meta.population.pbe import make_pbe
from discovery.meta.programs.evolution import make_programs
from discovery.meta.scaled import scaled


def make_meta(
    config: MetaConfig,
    init: Callable[[PRNGKeyArray], Any],
    references: Mapping[str, float | None] | None = None,
    generations: int = 0,
    reductions: int = 0,
) -> MetaOptimizer:
    """An evolution strategy, population-based evolution or evolution of programs; see `make_es`, `make_pbe`,
    `make_programs` and `scaled`. Only programs need the number of generations and of reductions.
    """
    if isinstance(config, ProgramsConfig):
        return make_programs(config, init, references or {}, generations, reductions)

    def method(begin: Callable[[PRNGKeyArray], Any]) -> MetaOptimizer:
        if isinstance(config, PBEConfig):
            return make_pbe(config, begin, references)
        return make_es(config, begin, references)

    return scaled(method, init, config.scales) if config.scales else method(init)
