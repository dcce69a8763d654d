"""Known programs against formulas in numpy, and against what is written by hand elsewhere in this package."""

import functools
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from objectives import known as originals
from objectives.base import ParamInfo, PolicyLoss, Progress
from objectives.optimizers import OPTIMIZERS
from objectives.parts import LOSS_DEFAULTS, actor_critic_loss, actor_critic_policy, gae, standardize
from objectives.programs import losses, steps, targets
from objectives.programs.code import Size, encode
from objectives.programs.interpreter import interpret
from objectives.programs.known import SOURCES, known
from objectives.programs.slots import slot_of
from objectives.programs.source import parse
from tests.objectives.by_hand import batch_of, random_rollout
from tests.objectives.programs.test_potential import ORIGINALS
from tests.objectives.programs.test_primitives import sigmoid, softplus

NOW = Progress(3, 8)
TOLERANCE = 1e-5
SIZE = Size(24, 8, 3)
INPUTS, SAMPLES = 10, 32

# The formulas, for real and complex numbers: a derivative is a step along the imaginary axis.


def relu(x):
    return np.where(x.real > 0, x, 0)


def logistic(x):
    """-log sigma(x)."""
    return softplus(-x)


def size_of(x):
    return np.where(x.real >= 0, x, -x)


def std(x):
    return np.sqrt(((x - x.mean()) ** 2).mean())


def tr_ppo_formula(log_ratio, advantage):
    """No derivative by the ratio where it is outside and would go further."""
    ratio = np.exp(log_ratio)
    held = (ratio - 1 - log_ratio).real > 0.03
    held &= ((ratio - 1) * advantage).real > 0
    return -np.where(held, ratio.real, ratio) * advantage


def gated(z, temperature):
    """LRML of z = beta h, and of z = log r A."""
    gate = sigmoid(z / temperature)
    return (1 - gate) * logistic(z) + gate * np.exp(-z)


def kto_formula(beta, chosen, rejected):
    kl_w, kl_l = relu(chosen.mean()), relu(rejected.mean())
    return (1 - sigmoid(beta * (chosen - kl_l)) + 1 - sigmoid(beta * (kl_w - rejected))) / 2


def dbaql_formula(h, beta):
    z = beta * h
    c = sigmoid(std(z / 0.05) ** 2)
    return c * logistic(z / 0.9) + (1 - c) * np.exp(-z * 0.9)


def aql_formula(h, beta):
    z = beta * h
    q = 0.5 + 0.01 * (sigmoid((z / 0.05).mean()) - 0.5)
    u = sigmoid(-(z / 0.05 - q))
    return u * logistic(z) + (1 - u) * relu(1 - z)


def aqfl_formula(h, beta):
    z = beta * h
    q_0 = std(z / 0.05) * sigmoid(-z / 0.05).mean()
    q = q_0 + 0.05 * (sigmoid((z / 0.05).mean()) - q_0)
    r = sigmoid(0.1 * size_of(z / 0.05 - q))
    return r * logistic(z) + (1 - r) * relu(1 - z)


def pfl_formula(h, beta, margin):
    return np.where(margin.real > 0, 0.5 * logistic(beta * h), 2 * relu(1 - beta * h))


BY_HAND: dict[str, dict[str, Any]] = {
    "policy_loss": {
        "tr_ppo": tr_ppo_formula,
        "lrml": lambda log_ratio, advantage: gated(log_ratio * advantage, 0.5),
    },
    "advantage": {
        "identity": lambda gae: gae,
        "signed_root": lambda gae: np.sign(gae.real) * np.sqrt(size_of(gae)),
        "positive_part": lambda gae: relu(gae),
    },
    "preference": {
        "dpo": lambda h, beta: logistic(beta * h),
        "ipo": lambda h, beta: (h - 1 / (2 * beta)) ** 2,
        "slic": lambda h, beta: relu(1 - beta * h),
        "kto": kto_formula,
        "lrml": lambda h, beta: gated(beta * h, 0.05),
        "dbaql": dbaql_formula,
        "aql": aql_formula,
        "padll": lambda h, beta: 0.9 * (1 - 0.5 * (h.real < 0)) * logistic(beta * h),
        "aqfl": aqfl_formula,
        "cell": lambda h, beta: 0.5 * np.exp(-beta * h) + 0.5 * logistic(beta * h),
        "pfl": pfl_formula,
    },
}
"""Of preference losses: those of the sheet of DiscoPOP, in their released form. Others are compared with what
is written by hand elsewhere.
"""


def with_derivatives(formula, inputs, weights):
    """The result, and the derivatives of its weighted sum by each input of the formula."""
    names = formula.__code__.co_varnames[: formula.__code__.co_argcount]
    given = {name: np.asarray(inputs[name], np.float64) for name in names}

    def slope(name, i):
        moved = given[name] + 1e-30j * (np.arange(SAMPLES) == i)
        return (weights * formula(**given | {name: moved})).sum().imag / 1e-30

    return formula(**given), {name: np.array([slope(name, i) for i in range(SAMPLES)]) for name in names}


# Programs.


@jax.jit
def run(code, inputs, weights):
    """Results, and derivatives of their weighted sum by all inputs: compiled once for all slots."""

    def total(inputs):
        (result,) = interpret(code, inputs, SIZE.reductions)
        return (weights * result).sum(), result

    slopes, result = jax.grad(total, has_aux=True)(inputs)
    return result, jnp.stack(slopes)


def of_program(program, inputs, weights):
    """The result and its derivatives by name. Inputs that the slot does not have come after its own."""
    slot = slot_of(program.slot)
    code, n = encode(program, SIZE), len(slot.inputs)
    moved = {
        name: np.where(code[name] < n, code[name], code[name] + INPUTS - n)
        for name in ("arguments", "outputs")
    }
    given = [np.asarray(inputs[name], np.float32) for name in slot.names]
    given += [np.zeros(SAMPLES, np.float32)] * (INPUTS - n)
    result, slopes = map(np.asarray, run(code | moved, tuple(given), np.float32(weights)))
    return result, dict(zip(slot.names, slopes, strict=False))


def inputs_of(slot):
    """Random inputs by name; a log-ratio, and a margin, of exactly zero is among them."""
    rng = np.random.default_rng(0)
    given = {one.name: rng.normal(0, 1, SAMPLES) for one in slot_of(slot).inputs}
    if "beta" in given:
        given |= {"beta": np.full(SAMPLES, 0.05), "h": 20 * given["h"]}
        given |= {"chosen": 1 + 10 * given["chosen"], "rejected": 10 * given["rejected"] - 1}
    for name in ("log_ratio", "h"):
        if name in given:
            given[name][:3] = 0.0, 2.5, -2.5
    given = {name: np.float32(x) for name, x in given.items()}
    return given, np.float32(rng.normal(0, 1, SAMPLES))


def assert_close(found, expected, what=""):
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE / 10, err_msg=what)


@pytest.mark.parametrize(("slot", "name"), [(slot, name) for slot in BY_HAND for name in BY_HAND[slot]])
def test_values_and_derivatives_are_the_formulas(slot, name):
    inputs, weights = inputs_of(slot)
    value, slopes = with_derivatives(BY_HAND[slot][name], inputs, weights)
    result, found = of_program(known(slot, name), inputs, weights)
    assert_close(result, value)
    for one, slope in found.items():
        assert_close(slope, slopes.get(one, np.zeros(SAMPLES)), one)


def test_all_are_compared():
    elsewhere = {
        "policy_loss": [*PER_SAMPLE, "vsop"],
        "loss": ["ppo", "a2c"],
        "trace": ["constant", "apart"],
        "advantage": ["standardized"],
        "optimizer": [*OPTAX, "adam"],
        "schedule": ["constant", "linear", "cosine", "adaptive_kl"],
        "potential": ORIGINALS,
    }
    compared = {slot: {*BY_HAND.get(slot, ()), *elsewhere.get(slot, ())} for slot in SOURCES}
    assert compared == {slot: {*names} for slot, names in SOURCES.items()}
    with pytest.raises(ValueError, match="no program for loss is called 'dpo'"):
        known("loss", "dpo")


# Policy losses and advantages.


NUMBERS = {"clip": 0.2, "kl_coef": 1.0, "dpo_alpha": 2.0, "dpo_beta": 0.6}
DRIFTS = {
    "policy_gradient": originals.no_drift,
    "ppo": originals.ppo_drift,
    "ppo_kl": originals.kl_drift,
    "dpo": originals.dpo_drift,
}
PER_SAMPLE = {name: originals.drift_loss(drift).per_sample for name, drift in DRIFTS.items()}


@pytest.mark.parametrize("name", [*PER_SAMPLE, "vsop"])
def test_policy_losses_are_the_originals(name):
    """In value, and in the derivatives by log pi and A. VSOP lacks log pi_old max(A, 0)."""
    inputs, weights = inputs_of("policy_loss")
    old = np.full(SAMPLES, -0.25 if name == "vsop" else 0.0, np.float32)
    log_prob, advantage = inputs["log_ratio"] + old, inputs["advantage"]
    per_sample = PER_SAMPLE.get(name, originals._vsop_loss)

    @jax.jit
    def both(log_prob, old, advantage):
        def total(log_prob, advantage):
            loss = per_sample(NUMBERS, log_prob, old, advantage, NOW)
            if name == "vsop":
                loss += old * jax.nn.relu(advantage)
            return (weights * loss).sum(), loss

        return jax.grad(total, (0, 1), has_aux=True)(log_prob, advantage)

    (by_log_prob, by_advantage), value = both(log_prob, old, advantage)
    result, slopes = of_program(known("policy_loss", name), inputs, weights)
    assert_close(result, value)
    assert_close(slopes["log_ratio"], by_log_prob)
    assert_close(slopes["advantage"], by_advantage)


def test_standardized_advantages_are_the_original():
    inputs, weights = inputs_of("advantage")
    value, slope = jax.jit(jax.value_and_grad(lambda x: (weights * standardize(x)).sum()))(inputs["gae"])
    result, slopes = of_program(known("advantage", "standardized"), inputs, weights)
    assert_close((weights * result).sum(), value)
    assert_close(slopes["gae"], slope)


# The whole loss.


@pytest.fixture(scope="module")
def whole_loss():
    """``(code, logits, value) -> per sample, gradient by logits and value`` of a random minibatch, and it."""
    rng = np.random.default_rng(1)
    normal = functools.partial(rng.normal, 0, 1)
    estimates = targets.Estimates(*(jnp.asarray(normal(SAMPLES), jnp.float32) for _ in range(3)))
    old_logits = normal((SAMPLES, 4))
    action = rng.integers(0, 4, SAMPLES)
    old_log_prob = jax.nn.log_softmax(jnp.asarray(old_logits, jnp.float32))[np.arange(SAMPLES), action]
    outputs = {"value": jnp.asarray(normal(SAMPLES), jnp.float32)}
    batch = batch_of(action, estimates, log_prob=old_log_prob, outputs=outputs)
    now = {
        "logits": jnp.asarray(old_logits + 0.3 * normal((SAMPLES, 4)), jnp.float32),
        "value": outputs["value"] + jnp.asarray(0.3 * normal(SAMPLES), jnp.float32),
    }
    weights = jnp.asarray(normal(SAMPLES), jnp.float32)

    def evaluate(loss, meta_params):
        def total(now):
            each = loss.per_sample(meta_params, batch, now, NOW, jax.random.key(0))
            return (weights * each).sum(), each

        return jax.grad(total, has_aux=True)(now)

    program = losses.whole_loss(actor_critic_policy, losses.gae_as_it_is, True, 0)
    return evaluate, jax.jit(lambda code: evaluate(program, {"loss": code}))


@pytest.mark.parametrize(
    ("name", "original", "numbers"),
    [
        ("ppo", originals.drift_loss(originals.ppo_drift), {}),
        ("a2c", PolicyLoss(originals._a2c_loss, True), {"value_clip": np.inf}),
    ],
)
def test_whole_losses_are_the_usual_total(whole_loss, name, original, numbers):
    """Per sample, and in the derivatives by the network's logits and value, advantages standardized."""
    evaluate, program = whole_loss
    numbers = {**LOSS_DEFAULTS, "entropy_coef": 0.01, **numbers}
    usual = jax.jit(lambda: evaluate(actor_critic_loss(actor_critic_policy, original), numbers))
    slopes, each = program(encode(known("loss", name), SIZE._replace(reductions=0)))
    expected_slopes, expected = usual()
    assert_close(each, expected)
    for head in ("logits", "value"):
        assert_close(slopes[head], expected_slopes[head], head)


# Traces.


def test_traces_are_generalized_advantage_estimation():
    """One lambda, or one of the advantages and another of the values; with ends of both kinds."""
    rollout = random_rollout(12, 3, {"value": (), "logits": (3,)}, [(4, 0), (7, 1)], [(5, 1), (11, 2)])
    numbers = {"gamma": 0.97, "gae_lambda": 0.5}
    estimate = jax.jit(
        lambda code: targets.with_traces(actor_critic_policy)({**numbers, "trace": code}, (), rollout, NOW)
    )
    original = jax.jit(lambda decay: gae({"gamma": 0.97, "gae_lambda": decay}, (), rollout, NOW))
    usual = {decay: original(decay) for decay in (0.95, 0.8)}
    for name, of_value in (("constant", 0.95), ("apart", 0.8)):
        found = estimate(encode(known("trace", name), SIZE._replace(reductions=0)))
        assert_close(found.advantage, usual[0.95].advantage)
        assert_close(found.value, usual[of_value].value)
    ended = rollout.terminated | rollout.truncated
    assert ended.sum() == 4
    delta = np.asarray(rollout.reward) + 0.97 * np.where(rollout.terminated, 0, rollout.outputs_next["value"])
    delta -= np.asarray(rollout.outputs["value"])
    assert_close(found.delta_size, np.abs(delta) / delta.std())


# Optimizers.


PARAMS = {"actor": {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}, "critic": {"w": jnp.ones(4)}}
INFO = {
    "actor": {name: ParamInfo("actor", 0, 2, None, 1) for name in ("w", "b")},
    "critic": {"w": ParamInfo("critic", 1, 2, None, 1)},
}
N, RATE = 6, 0.1


def adam_without_correction(gradients):
    m, v = 0.0, 0.0
    for n, g in enumerate(gradients):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        yield -RATE * (1 - n / N) * m / (np.sqrt(v) + 1e-5)


OPTAX = {
    "sgd": optax.sgd(1.0),
    "momentum": optax.chain(optax.ema(0.9, debias=False), optax.scale(-1.0)),
    "rmsprop": optax.chain(optax.scale_by_rms(decay=0.99, eps=1e-5), optax.scale(-1.0)),
    "lion": optax.chain(optax.scale_by_lion(b1=0.9, b2=0.99), optax.scale(-1.0)),
    "sign_sgd": optax.chain(optax.stateless(lambda g, _: jax.tree.map(jnp.sign, g)), optax.scale(-1.0)),
}


@functools.cache
def optimizer_step() -> Any:
    def step(code, gradients, state, update):
        numbers = {"learning_rate": RATE, "anneal": 1.0, "max_grad_norm": np.inf, "clip_by_torso": 0.0}
        optimizer = steps.program_optimizer({**numbers, "optimizer": code})
        return optimizer.update(gradients, state, PARAMS, progress=Progress(update, N), param_info=INFO)

    return jax.jit(step)


@pytest.mark.parametrize("name", SOURCES["optimizer"])
def test_optimizers_are_optax_s(name):
    """Several steps along random gradients; the learning rate falls linearly; one gradient is zero."""
    rng = np.random.default_rng(2)
    gradients = [
        jax.tree.map(lambda p: np.float32(rng.normal(0, 10.0 ** rng.integers(-3, 2), p.shape)), PARAMS)
        for _ in range(N)
    ]
    for each in gradients:
        each["critic"]["w"][0] = 0.0
    if name == "adam":
        series = [
            list(adam_without_correction(leaves))
            for leaves in zip(*map(jax.tree.leaves, gradients), strict=True)
        ]
        expected = [
            jax.tree.unflatten(jax.tree.structure(PARAMS), leaves) for leaves in zip(*series, strict=True)
        ]
    else:
        state, update, expected = OPTAX[name].init(PARAMS), jax.jit(OPTAX[name].update), []
        for n, each in enumerate(gradients):
            updates, state = update(each, state)
            expected.append(jax.tree.map(lambda u, n=n: RATE * (1 - n / N) * np.asarray(u), updates))
    code = encode(known("optimizer", name), SIZE._replace(reductions=0))
    state = steps.RunningMeans(jnp.zeros((3, 13)), jnp.zeros((2, 13)))
    for n, each in enumerate(gradients):
        updates, state = optimizer_step()(code, each, state, n)
        jax.tree.map(assert_close, updates, expected[n])
    assert optimizer_step()._cache_size() == 1


# Schedules.


@functools.cache
def schedule():
    """``code -> memory`` at first, and ``(code, memory, kl, episodes, return, n) -> memory`` later."""

    def after(code, memory, kl, episodes, total, n):
        seen = SimpleNamespace(episodes=episodes, episode_return=total, named={"kl": kl})
        rollout = random_rollout(1, 1, {}, [], [])  # not read
        return steps.schedule_memory.update({"schedule": code}, memory, rollout, None, seen, Progress(n, 8))

    return jax.jit(
        lambda code: steps.schedule_memory.init({"schedule": code}, None, jax.random.key(0))
    ), jax.jit(after)


def factors(program, kls, episodes=(), returns=()):
    """The factor before each update."""
    code = encode(program, SIZE._replace(reductions=0))
    init, after = schedule()
    memory, found = init(code), []
    for n, kl in enumerate(kls):
        found.append(float(memory.factor))
        played, total = (float(each[n]) if len(each) else 0.0 for each in (episodes, returns))
        memory = after(code, memory, np.float32(kl), np.float32(played), np.float32(total), n)
    return [*found, float(memory.factor)]


def test_schedules_of_the_progress():
    """The factor of update n is that of n / N; none is below 1e-8."""
    t = np.arange(9) / 8
    for name, expected in [("constant", t**0), ("linear", 1 - t), ("cosine", (1 + np.cos(np.pi * t)) / 2)]:
        assert_close(factors(known("schedule", name), np.zeros(8)), np.maximum(expected, 1e-8), name)


def test_the_schedule_that_watches_the_divergence():
    """Before the first update the KL counts as 0, so the factor begins at 1.5."""
    kls = [0.021, 0.5, 0.019, 0.006, 0.004, 0.0, 0.01, 0.03]
    changes = [1.5, 1 / 1.5, 1 / 1.5, 1, 1, 1.5, 1.5, 1, 1 / 1.5]
    assert_close(factors(known("schedule", "adaptive_kl"), kls), np.cumprod(changes))


def test_what_a_schedule_sees_of_returns():
    """The mean return over the largest size so far; 0 before the first episode ends, and without one."""
    seen = parse("def f(episode_return):\n    return 2 + episode_return", "schedule")
    episodes, returns = [0, 2, 4, 0, 1, 1], [0, -8.0, 8.0, 0, 16.0, -4.0]
    assert_close(factors(seen, np.zeros(6), episodes, returns), [2, 2, 1, 2.5, 2, 3, 1.75])


def test_a_scheduled_optimizer_takes_the_factor_for_its_rate():
    """And no annealing beside it."""
    made, defaults = OPTIMIZERS["sgd"]
    numbers = {**defaults, "learning_rate": 0.5, "anneal": 1.0, "max_grad_norm": np.inf}
    optimizer = steps.scheduled(made)(numbers)

    @jax.jit
    def updates(factor):
        memory = steps.ScheduleMemory(factor, jnp.zeros(()))
        state = optimizer.init(PARAMS)
        return optimizer.update(PARAMS, state, PARAMS, memory=memory, progress=NOW, param_info=INFO)[0]

    jax.tree.map(lambda u, p: assert_close(u, -0.125 * np.asarray(p)), updates(0.25), PARAMS)


# Preference losses.


def test_reference_values_of_lrml():
    """At beta = 0.05: three values, and the local minimum and maximum."""
    h = np.zeros(SAMPLES)
    h[:5] = -10, 0, 10, -2.371, 1.441
    h[5:9] = -2.38, -2.36, 1.43, 1.45
    inputs = {**inputs_of("preference")[0], "h": h}
    result, slopes = of_program(known("preference", "lrml"), inputs, np.ones(SAMPLES))
    np.testing.assert_allclose(result[:3], [0.9741, 0.8466, 0.6065], atol=5e-5)
    np.testing.assert_allclose(result[3:5], [0.78592, 0.87829], atol=5e-6)
    np.testing.assert_allclose(slopes["h"][3:5], 0, atol=1e-4)
    assert np.sign(slopes["h"][5:9]).tolist() == [-1, 1, 1, -1]
