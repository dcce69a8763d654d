"""What the export tests share: algorithms to export, with weights that matter."""

import jax
import numpy as np
import pytest

from discovery.core.jobs import AlgorithmSpec
from discovery.export import Provenance, export
from objectives import build


def _searched(spec: AlgorithmSpec, seed: int = 0) -> dict:
    """Searched entries as a search would leave them: none of them zero. Codes of programs stay."""
    entries = build(spec.name, dict(spec.options)).init(jax.random.key(seed))
    noise = np.random.default_rng(seed)

    def moved(x: jax.Array) -> np.ndarray:
        if np.issubdtype(x.dtype, np.integer):
            return np.asarray(x)
        return (np.asarray(x) + 0.1 * noise.standard_normal(x.shape)).astype(np.float32)

    return jax.tree.map(moved, entries)


@pytest.fixture(scope="session")
def searched():
    return _searched


@pytest.fixture(scope="session")
def exported():
    """``(spec, numbers=, target=) -> source`` without provenance."""

    def make(
        spec: AlgorithmSpec, numbers=None, target: str = "jax", provenance: Provenance | None = None
    ) -> str:
        return export(spec, _searched(spec), numbers or {}, provenance or Provenance(), target)

    return make


@pytest.fixture(scope="session")
def load():
    """``source -> namespace`` of an exported file, in this process."""

    def execute(source: str) -> dict:
        namespace = {"__name__": "exported"}
        exec(compile(source, "exported.py", "exec"), namespace)
        return namespace

    return execute
