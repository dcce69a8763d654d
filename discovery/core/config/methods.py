"""The available search methods: one config type each, distinguished by `method`; imports no jax."""

from typing import get_args

from discovery.core.config.evolution import ESConfig
from discovery.core.config.population import PBEConfig
from discovery.core.config.programs import ProgramsConfig

MetaConfig = ESConfig | PBEConfig | ProgramsConfig
"""``[meta] method = "es"``, ``"pbe"`` or ``"programs"``: without a method, the first."""

METHODS: dict[str, type[MetaConfig]] = {cls.method: cls for cls in get_args(MetaConfig)}
"""Config types by their method's name."""
