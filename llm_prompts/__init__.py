"""Versioned prompt templates for LLM proposals; none yet."""

__distribution__ = "rl-discovery"
__all__ = ["__distribution__"]
