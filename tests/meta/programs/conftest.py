"""Searches over programs with scores that need no training."""

from collections.abc import Iterator
from typing import Any

import jax
import jaxtyping
import pytest

from discovery.core.config.programs import ProgramsConfig
from discovery.meta.base import MetaOptimizer, Proposal
from discovery.meta.programs.evolution import make_programs
from objectives.programs.code import Size, decode, encode
from objectives.programs.graph import Program
from objectives.programs.source import parse

SIZE = Size(24, 8, 0)
"""One for all, so that probes are compiled once."""


@pytest.fixture(scope="module", autouse=True)
def _unchecked() -> Iterator[None]:
    """Without the checks of annotations that tests/conftest.py adds, which take most of the time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def program(text: str) -> Program:
    """A policy loss of x = log_ratio, y = advantage and progress; c0 and c1 are the constants 0 and 1."""
    head = "def loss(log_ratio, advantage, progress, c0=0.0, c1=1.0): x, y = log_ratio, advantage; "
    return parse(f"{head}return {text}", "policy_loss")


def loss(text: str) -> dict[str, Any]:
    """The same as meta-parameters."""
    return {"policy_loss": encode(program(text), SIZE)}


def programs_of(proposal: Proposal) -> dict[str, Program]:
    """The programs of a proposal, by slot."""
    slots = proposal.meta_params.keys() & {"policy_loss", "schedule"}
    return {slot: decode(slot, proposal.meta_params[slot]) for slot in slots}


def make(first: Any, generations: int = 20, **options: Any) -> MetaOptimizer:
    """A search on one task that starts with a policy loss, or with meta-parameters."""
    first = loss(first) if isinstance(first, str) else first
    usual = {"population": 8, "begin": "start", "tuning": 0, "simplification": 0}
    return make_programs(ProgramsConfig(**{**usual, **options}), lambda key: first, {"a": None}, generations)


def key_of(batch: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(7), batch)


def search(meta: MetaOptimizer, generations: int, results: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yields (requests, state when asked, state when told), batch by batch."""
    state = meta.init(jax.random.key(0))
    for generation in range(generations):
        requests, asked = meta.ask(key_of(generation), state)
        state = meta.tell(asked, results(requests))
        yield requests, asked, state
