"""Exported optimizers: parity where nothing is missing that ours is told, defaults by hand, other loops."""

import ast
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.training.train_state import TrainState

from discovery.core.errors import RunError
from discovery.core.jobs import AlgorithmSpec
from discovery.export import Provenance, export
from discovery.export.trials import OPTIMIZER, reference
from discovery.export.verify import compare, probe
from discovery.export.write import numbers_in_files, resolve
from environments import Setup, Task
from objectives import build
from tests.objectives.open_by_hand import MOMENTUM, Open, Tensor, descending

FEW_FEATURES = (("features", "momentum,gradient"), ("gru_width", 0), ("width", 4))
NO_FEATURES = (("features", "raw"), ("gru_width", 0), ("width", 4))
RECURRENT = (("gru_width", 3), ("width", 4))
SPECS: dict[str, tuple[AlgorithmSpec, dict[str, float]]] = {
    "open": (AlgorithmSpec("open", RECURRENT), {"open_scale": 0.3}),
    "open anchored": (AlgorithmSpec("open", (("anchored", True), *RECURRENT)), {"learning_rate": 3e-2}),
    "open with few features": (AlgorithmSpec("open", FEW_FEATURES), {"clip_by_torso": 0.3}),
    "open without features": (AlgorithmSpec("open", NO_FEATURES), {"open_scale": 0.3}),
    "optim4rl": (AlgorithmSpec("optim4rl", (("width", 3),)), {"max_gradient": 0.7}),
    "lodo": (AlgorithmSpec("lodo", (("block", 2), ("layers", 3))), {"lodo_step": 0.1}),
    "lodo as published": (AlgorithmSpec("lodo"), {}),
    "open as published": (AlgorithmSpec("open"), {}),
    "open without features, anchored": (AlgorithmSpec("open", (("anchored", True), ("features", "raw"))), {}),
    "open anchored, unclipped": (AlgorithmSpec("open", (("anchored", True),)), {"max_grad_norm": np.inf}),
}
SMALL = ("open", "open anchored", "open with few features", "open without features", "optim4rl", "lodo")
NOW = ("open anchored", "optim4rl")
"""Compared by default: what the others do is in these, or small."""


def searched(spec, size=0.5):
    """Weights that matter: with those that a search begins with, networks say nothing."""
    shapes = jax.eval_shape(build(spec.name, dict(spec.options)).init, jax.random.key(0))
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda w: rng.normal(0, size, w.shape).astype(np.float32), shapes)


@functools.cache
def source_of(name):
    spec, numbers = SPECS[name]
    return export(spec, searched(spec), numbers, Provenance(), "optax")


@pytest.fixture(scope="module")
def file(load):
    return functools.cache(lambda name: load(source_of(name)))


@functools.cache
def ours(name):
    """Where to compare, and what we compute there."""
    spec, numbers = SPECS[name]
    algorithm, entries, resolved = resolve(spec, searched(spec), numbers)
    at = OPTIMIZER.points(spec, algorithm, resolved, 0, 0)
    return at, reference(algorithm, entries, resolved, at, OPTIMIZER)


def assert_ours(name, theirs):
    at, expected = ours(name)
    compare(SPECS[name][0], theirs, expected, at, OPTIMIZER)
    size = np.abs(expected["float64/value"]).max()
    assert expected["float64/value"].shape[0] == 8 and size > 1e-5
    np.testing.assert_allclose(theirs["float32/value"], expected["float32/value"], atol=2e-4 * size)


def test_with_all_arguments_and_one_tree_it_is_ours_and_another_rate_is_refused():
    """Right files and a wrong one, in one process that cannot import our packages."""
    texts = {name: source_of(name) for name in NOW}
    texts["wrong"] = texts["optim4rl"].replace("ANNEAL = 1.0\n", "ANNEAL = 0.999999\n")
    at, expected = ours("optim4rl")
    theirs = dict(zip(texts, probe(list(texts.values()), at), strict=True))
    for name in NOW:
        assert_ours(name, theirs[name])
    with pytest.raises(RunError, match=r"value of 'optim4rl'.*parameter (actor|critic)/"):
        compare(SPECS["optim4rl"][0], theirs["wrong"], expected, at, OPTIMIZER)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SPECS if name not in NOW])
def test_with_all_arguments_and_one_tree_it_is_ours_whatever_the_options(name):
    assert_ours(name, probe([source_of(name)], ours(name)[0])[0])


def agent(dtype: Any = jnp.float32):
    """One tree of an actor with a free vector, and a critic."""
    rng = np.random.default_rng(1)

    def normal(*shape):
        return jnp.asarray(rng.normal(0, 1, shape), dtype)

    first = {"bias": normal(3), "kernel": normal(2, 3)}
    actor = {"layer_0": first, "layer_1": {"kernel": normal(3, 1)}, "log_std": normal(1)}
    return {"actor": actor, "critic": {"layer_0": {"bias": normal(2), "kernel": normal(2, 2)}}}


def test_networks_and_layers_of_a_tree(file):
    networks, describe = file("open")["networks"], file("open")["describe"]
    assert networks(agent()) == [0, 0, 0, 0, 1, 1]
    assert networks({"params": agent()["actor"]}) == [0] * 4
    assert networks([{"w": jnp.ones(2)}, {"w": jnp.ones(2)}]) == [0, 0]
    assert networks(jnp.ones(3)) == [0]

    info = describe(agent())["actor"]
    assert info["layer_0"]["kernel"][3:] == (("actor", "layer_0"), 1)
    assert info["log_std"][3:] == (None, 0)
    many = {"params": {f"Dense_{i}": {"bias": jnp.ones(2), "kernel": jnp.ones((2, 2))} for i in range(12)}}
    described = describe(many, lambda path: True)["params"]
    for i in range(12):
        layer = described[f"Dense_{i}"]
        assert layer["bias"][:3] == layer["kernel"][:3] == ("actor", i, 12)
    flat = describe({"w": jnp.ones((2, 3)), "b": jnp.ones(3)})
    assert {tuple(info)[:3] for info in flat.values()} == {("other", 0, 1)}


def test_the_counter_tells_the_time(file):
    """12 updates of two rollouts, each with 3 passes of 2 minibatches; then beyond the end."""
    module = file("open")
    at = [module["progress_at"](jnp.int32(k), 12, 3, 2) for k in (0, 1, 2, 5, 6, 11)]
    assert [tuple(map(int, now)) for now in at] == [
        (0, 2, 0, 3), (0, 2, 0, 3), (0, 2, 1, 3), (0, 2, 2, 3), (1, 2, 0, 3), (1, 2, 2, 3),
    ]  # fmt: skip
    shares = [tuple(map(float, module["proportions"](now))) for now in at]
    assert shares == [(0, 0), (0, 0), (0, 0.5), (0, 1), (1, 0), (1, 1)]
    unknown = [tuple(map(int, module["progress_at"](jnp.int32(k), None, 3, 2))) for k in (0, 3, 50)]
    assert unknown == [(0, 1, 0, 3), (0, 1, 1, 3), (0, 1, 1, 3)]
    assert tuple(map(float, module["proportions"](module["progress_at"](jnp.int32(9), 3, 1, 1)))) == (1, 0)


def test_dormancy_is_one_unless_it_is_told(file):
    module = file("open")
    info = module["ParamInfo"]("actor", 0, 1, ("actor", "layer_0"), 1)

    def dormancy(activations, info, shape):
        infos, active = module["with_activations"]({"w": jnp.ones(shape)}, {"w": info}, activations)
        return module["dormancy"](active, infos["w"], shape)

    for nothing in (None, {}, {"actor": {}}, {"actor": {"layer_1": jnp.ones((4, 3))}}):
        np.testing.assert_array_equal(dormancy(nothing, info, (2, 3)), 1.0)
    active = {"actor": {"layer_0": jnp.array([[[1.0, -3.0, 0.0]], [[3.0, 1.0, 0.0]]])}}  # means 2, 2, 0
    np.testing.assert_allclose(dormancy(active, info, (2, 3)), [[1.5, 1.5, 0.0]] * 2, atol=1e-6)
    np.testing.assert_array_equal(dormancy(active, info._replace(path=None), (2, 3)), 1.0)
    with pytest.raises(ValueError, match="4 neurons"):
        dormancy(active, info, (2, 4))


def test_a_step_with_nothing_told_is_open_by_hand(file):
    """In numpy: no dormancy, the counter's time, layers by name, each network's own norm, noise by `seed`."""
    spec, numbers = SPECS["open"]
    weights = jax.tree.map(lambda w: np.asarray(w, np.float64), searched(spec)["optimizer"])
    by_hand, params = Open(weights, numbers["open_scale"]), agent()
    tx = file("open")["optimizer"](8, 2, 1, seed=5)
    update, state = jax.jit(tx.update), tx.init(params)
    layers = [0.0, 0.0, 0.5, 1.0, 0.0, 0.0]
    for k in range(3):
        gradients = jax.tree.map(lambda p, k=k: jnp.sin(3 * p + k), params)
        got, state = update(gradients, state, params)
        leaves = [np.asarray(p, np.float64) for p in jax.tree.leaves(params)]
        clipped = []
        for network in gradients.values():
            tensors = [np.asarray(g, np.float64) for g in jax.tree.leaves(network)]
            norm = np.sqrt(sum((g**2).sum() for g in tensors))
            clipped += [g * min(1.0, 0.5 / norm) for g in tensors]
        tensors = [
            Tensor(p, g, layers[i], i < 4, None) for i, (p, g) in enumerate(zip(leaves, clipped, strict=True))
        ]
        noise = np.asarray(jax.random.normal(jax.random.fold_in(jax.random.key(5), k), (13,)), np.float64)
        noise = np.split(noise, np.cumsum([p.size for p in leaves[:4]])[:-1]) + leaves[4:]
        expected = by_hand(tensors, k, (1, 2, 4), noise)
        largest = max(np.abs(x).max() for x in expected)
        assert largest > 1e-2
        for a, b in zip(jax.tree.leaves(got), expected, strict=True):
            np.testing.assert_allclose(a, b, atol=3e-4 * largest)
        params = optax.apply_updates(params, got)
    assert int(state.count) == 3


def test_an_extra_argument_goes_before_its_default(file):
    """What the defaults would have been changes nothing; of others, each changes the step."""
    module, params = file("open"), agent()
    tx = module["optimizer"](8, 2, 1, seed=5)
    gradients = jax.tree.map(jnp.cos, params)
    info = module["describe"](params)
    ones = {"actor": {f"layer_{i}": jnp.ones((4, 3 - 2 * i)) for i in range(2)}, "critic": {}}
    silent = jax.tree.map(lambda a: a.at[..., 0].set(0.1), ones)
    swapped = jax.tree.map(lambda i: i._replace(role="other"), info, is_leaf=lambda x: hasattr(x, "role"))
    key = jax.random.fold_in(jax.random.key(5), 0)
    defaults = {"key": key, "progress": (0, 4, 0, 2), "activations": ones, "param_info": info}
    changed = {"key": jax.random.key(1), "progress": (2, 4, 1, 2)}
    changed |= {"activations": silent, "param_info": swapped}

    @jax.jit
    def all_of_them():
        state = tx.init(params)
        plain, _ = tx.update(gradients, state, params)

        def change(**context):
            updates, _ = tx.update(gradients, state, params, **context)
            return optax.tree.norm(optax.tree.sub(updates, plain)) / optax.tree.norm(plain)

        return change(**defaults), {name: change(**{name: value}) for name, value in changed.items()}

    same, changes = all_of_them()
    assert same < 1e-5
    assert min(changes.values()) > 1e-4, changes


def regression():
    """A network without a library, and its loss on a function of two numbers."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(0, 1, (32, 2)), jnp.float32)
    first, second = (
        {"bias": jnp.zeros(n), "kernel": jnp.asarray(rng.normal(0, size, (m, n)), jnp.float32)}
        for m, n, size in ((2, 8, 0.7), (8, 1, 0.35))
    )
    params = {"params": {"Dense_0": first, "Dense_1": second}}

    def loss(params):
        first, second = params["params"]["Dense_0"], params["params"]["Dense_1"]
        hidden = jnp.tanh(x @ first["kernel"] + first["bias"])
        return jnp.square(hidden @ second["kernel"] + second["bias"] - jnp.sin(2 * x[:, :1])).mean()

    return params, loss


def trained(source, load, **arguments):
    """Flax's TrainState gives no extra argument, and the state keeps its types in a scan. Also the losses."""
    params, loss = regression()
    tx = optax.chain(load(source)["optimizer"](**arguments), optax.identity())

    @jax.jit
    def train(params):
        def step(state, _):
            value, gradients = jax.value_and_grad(loss)(state.params)
            return state.apply_gradients(grads=gradients), value

        state = TrainState.create(apply_fn=lambda: None, params=params, tx=tx)
        state, losses = jax.lax.scan(step, state, None, 150)
        return state, jnp.append(losses, loss(state.params))

    return train(params)


@pytest.mark.parametrize(("name", "number"), [("optim4rl", "learning_rate"), ("lodo", "lodo_step")])
def test_a_supervised_loss_falls_in_a_plain_loop(name, number, load):
    """With zeros for weights, which is sign descent of Optim4RL."""
    spec, _ = SPECS[name]
    rate = 0.3 if name == "lodo" else 0.02
    source = export(spec, searched(spec, 0.0), {number: rate}, Provenance(), "optax")
    _, losses = trained(source, load, **({} if name == "lodo" else {"total_steps": 150}))
    assert losses[0] > 0.4 and losses[-1] < 0.15 * losses[0]


@pytest.mark.parametrize("sign", [1, -1])
def test_open_alone_lets_the_loss_fall_and_its_opposite_lets_it_rise(sign, load):
    """Weights of steps of 0.02 against the sign of a momentum: there is no Adam that would do the work."""
    spec = AlgorithmSpec("open", (("gru_width", 0), ("width", 2)))
    entries = {"optimizer": descending(20.0 * sign, MOMENTUM)}
    _, losses = trained(export(spec, entries, {}, Provenance(), "optax"), load, total_steps=150)
    assert losses[-1] < 0.15 * losses[0] if sign > 0 else losses[-1] > 10 * losses[0]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_types_of_updates_and_state_are_stable_without_rank_promotion(name, dtype, file):
    with jax.enable_x64(dtype == jnp.float64), jax.numpy_rank_promotion("raise"):
        params, optimizer = agent(dtype), optax.chain(file(name)["optimizer"](), optax.identity())

        def update(state):
            return optimizer.update(params, state, params)

        state = jax.eval_shape(optimizer.init, params)
        updates, following = jax.eval_shape(update, state)
        shapes = jax.tree.map(lambda x: (x.shape, x.dtype), (updates, following))
        assert shapes == jax.tree.map(lambda x: (x.shape, x.dtype), (params, state))
        assert jax.tree.structure(following) == jax.tree.structure(state)


def test_missing_parameters_and_counts_that_no_training_has_are_refused(file):
    params, optimizer = agent(), file("open")["optimizer"]()
    with pytest.raises(ValueError, match="params"):
        jax.eval_shape(lambda: optimizer.update(params, optimizer.init(params)))
    for counts, name in (((8, 0), "n_epochs"), ((0,), "total_steps")):
        with pytest.raises(ValueError, match=name):
            file("optim4rl")["optimizer"](*counts)


@pytest.mark.parametrize("name", ["open", "optim4rl", "lodo"])
def test_numbers_and_recipe_are_in_the_file(name, load):
    spec, numbers = SPECS[name]
    task = Task("cart", Setup(n_envs=4, n_epochs=3, n_minibatches=2), 50_000, {"max_grad_norm": 0.7})
    provenance = Provenance(run="r", tasks=(task,))
    numbers = {**numbers, "max_grad_norm": 0.7}
    module = load(export(spec, searched(spec), numbers, provenance, "optax"))
    assert module["RECIPE"]["max_grad_norm"] == 0.7
    for _, number, default in numbers_in_files(spec):
        assert module[number.upper()] == numbers.get(number, default)
    if name != "lodo":
        assert (module["N_EPOCHS"], module["N_MINIBATCHES"]) == (3, 2)
        jax.tree.map(np.testing.assert_array_equal, module["WEIGHTS"], searched(spec)["optimizer"])


def test_it_imports_jax_numpy_optax_and_the_standard_library():
    for name in SMALL:
        nodes = ast.walk(ast.parse(source_of(name)))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        assert names <= {"jax", "jax.numpy", "optax", "numpy", "re"}
