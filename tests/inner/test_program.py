"""What the program of a life is made of: nothing in it waits for the host, or is done twice."""

from collections import Counter
from dataclasses import replace

import jax
import numpy as np
import pytest

from discovery.core.jobs import AlgorithmSpec
from discovery.inner import compile as compiled
from environments.task import Setup, Task

SETUP = Setup("CartPole-v1", n_envs=2, n_steps=6, n_epochs=3, n_minibatches=4, hidden=(4,), curve_points=2)


def equations(jaxpr):
    """Yields every equation, those inside of others included."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else [value]:
                if hasattr(inner := getattr(inner, "jaxpr", inner), "eqns"):
                    yield from equations(inner)


def life(setup, algorithm="ppo"):
    """The jaxpr of a chunk of two lanes."""
    spec, task = AlgorithmSpec(algorithm), Task("task", setup, 10 * setup.steps_per_update)
    searched = compiled.build_algorithm(spec).init(jax.random.key(0))
    stacked = jax.tree.map(lambda x: np.stack([np.asarray(x)] * 2), searched)
    lanes = np.zeros((2, 2), np.uint32), np.full(2, 10)
    arguments = compiled.arguments_of(spec, task, stacked, *lanes)
    program = compiled._program(compiled.build_algorithm(spec), setup, compiled._devices(1))
    return jax.make_jaxpr(program)(*arguments).jaxpr


def names(jaxpr):
    return Counter(equation.primitive.name for equation in equations(jaxpr))


@pytest.mark.parametrize("algorithm", [pytest.param("ppo", marks=pytest.mark.slow), "lpo", "open"])
def test_nothing_waits_for_the_host_and_nothing_is_computed_again(algorithm):
    found = names(life(SETUP, algorithm))
    unwanted = ("callback", "infeed", "print", "checkpoint", "remat")
    assert not [name for name in found if any(word in name for word in unwanted)]
    assert found["scan"] > 0 and found["while"] > 0


def test_loops_are_loops():
    """One over the life, whose length is an argument; steps, epochs and minibatches are scans."""
    short, long = life(SETUP), life(replace(SETUP, n_steps=24, n_epochs=5, n_minibatches=8))
    assert names(short) == names(long)
    loops = [equation for equation in equations(short) if equation.primitive.name == "while"]
    inside = [list(equations(loop.params["body_jaxpr"].jaxpr)) for loop in loops]
    (scans,) = filter(None, ([e for e in body if e.primitive.name == "scan"] for body in inside))
    lengths = {scan.params["length"] for scan in scans}
    assert lengths >= {SETUP.n_steps, SETUP.n_epochs, SETUP.n_minibatches}
