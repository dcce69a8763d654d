"""Several parts in one algorithm: one with the learned optimizer of another."""

import inspect

import jax
import jax.numpy as jnp
import optax
import pytest

from objectives import build, factory, is_known, parts_of
from objectives.base import NO_MEMORY, ParamInfo, Progress
from objectives.parts import with_optimizer

SMALL = {"lpo_width": 4, "open_gru_width": 2, "open_width": 4, "open_anchored": True}


def plain(algorithm):
    return {name: jnp.float32(value) for name, value in algorithm.defaults}


def step(algorithm, meta_params, gradient):
    """The first update of an agent whose actor and critic are one bias each, and the optimizer's state."""
    optimizer = algorithm.optimizer(meta_params)
    info = {
        torso: {"out": {"bias": ParamInfo(torso, 0, 1, (torso, "out"), 0)}} for torso in ("actor", "critic")
    }
    extra = {
        "key": jax.random.key(0),
        "progress": Progress(1, 4),
        "activations": {torso: {"out": jnp.ones((3, 2))} for torso in info},
        "param_info": info,
    }
    gradient = {torso: {"out": {"bias": jnp.array(slopes)}} for torso, slopes in gradient.items()}
    return jax.jit(lambda g: optimizer.update(g, optimizer.init(g), g, **extra))(gradient)


def test_it_has_the_loss_of_one_and_the_optimizer_of_the_other():
    both, drift = build("lpo+open", SMALL), build("lpo", {"width": 4})
    assert both.name == "lpo+open_anchored"
    entries = jax.jit(both.init)(jax.random.key(3))
    assert set(entries) == {"drift", "optimizer"}
    shapes = jax.tree.map(jnp.shape, jax.eval_shape(drift.init, jax.random.key(0)))
    assert jax.tree.map(jnp.shape, {"drift": entries["drift"]}) == shapes
    assert both.targets is drift.targets and both.policy is drift.policy
    x = jnp.array([-0.3, 0.2]), jnp.array([0.1, 0.1]), jnp.array([1.0, -2.0]), Progress(1, 4)
    meta_params = {**plain(both), **entries}
    alone = drift.policy_loss.per_sample({**plain(drift), "drift": entries["drift"]}, *x)
    assert jnp.array_equal(both.policy_loss.per_sample(meta_params, *x), alone)


def test_open_clips_actor_and_critic_apart_whatever_it_optimizes():
    """Its first momenta are shares of what the clip lets through."""
    both = build("lpo+open", {"lpo_width": 2, "open_gru_width": 0, "open_width": 2})
    meta_params = {**plain(both), **both.init(jax.random.key(0))}
    _, state = step(both, meta_params, {"actor": [0.1, -0.2], "critic": [30.0, 40.0]})
    momenta = optax.tree.get(state, "momenta")
    assert jnp.allclose(momenta / momenta[:, :1], jnp.array([1.0, -2.0, 3.0, 4.0]), rtol=1e-5)


@pytest.mark.parametrize("name", ["lpo", "ampo", "lpg"])
def test_the_numbers_are_those_of_the_first_one_but_for_the_optimizers_own(name):
    """Among these are a learning rate and a schedule that are not PPO's."""
    first = build(name)
    numbers = with_optimizer(first, build("open", {"gru_width": 0, "width": 4})).defaults
    assert dict(numbers) == {**dict(first.defaults), "open_scale": 1e-3, "clip_by_torso": 1.0}
    anchored = with_optimizer(first, build("open", {"anchored": True})).defaults
    assert dict(anchored) == {**dict(first.defaults), "open_scale": 1e-3}, "Adam's, as it was"
    without = build("lpg", {"optimizer": "sgd"})  # lacks Adam's, and reads no clip of ratios as PPO does
    numbers = dict(with_optimizer(without, build("open", {"anchored": True})).defaults)
    assert dict(without.defaults).items() <= numbers.items()
    assert numbers["adam_b2"] == 0.999 and "clip" not in numbers


def test_options_are_those_of_both():
    names = inspect.signature(factory("lpo+open")).parameters
    assert {"lpo_width", "open_width"} <= set(names) and "width" not in names
    parts = [("lpo", {"width": 4}), ("open", {"gru_width": 2, "width": 4, "anchored": True})]
    assert parts_of("lpo+open", SMALL) == parts
    assert is_known("my.module:f+open") and not is_known("dpo+opne")


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("open+lpo", {}, "open[+]lpo"),
        ("lpo+open+lodo", {}, "lpo[+]open[+]lodo"),
        ("lpo+opne", {}, "'opne'.* open"),
        ("open+open", {}, "same name"),
        ("open+optim4rl", {}, "optimizer"),
        ("lpo+open", {"width": 4}, "lpo_width or open_width"),
    ],
)
def test_what_does_not_go_together(name, options, says):
    with pytest.raises(ValueError, match=says):
        build(name, options)


def test_an_optimizer_whose_memory_would_be_lost_is_refused():
    remembering = build("open")._replace(memory=NO_MEMORY._replace(init=lambda *_: 1))
    with pytest.raises(ValueError, match="memory"):
        with_optimizer(build("ppo"), remembering)
