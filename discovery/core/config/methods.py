"""The available search methods: one config type each, distinguished by `method`; imports no jax."""

from typing import get_args

from discovery.core.config.evolution import ESConfig
from discovery.core.config.population import PBEConfig

MetaConfig = ESConfig | PBEConfig
"""``[meta] method = "es"`` or ``"pbe"``: without a method, the first."""

METHODS: dict[str, type[MetaConfig]] = {cls.method: cls for cls in get_args(MetaConfig)}
"""Config types by their method's name."""
