"""The inputs on which an exported file is compared with this package: one trial for each kind of part."""

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec
from discovery.export import probe

N_UPDATES = 1024
"""N of the points' n / N: a power of two, so that n / N is exact however XLA divides."""

Arrays = dict[str, np.ndarray]
PROGRAM_ARRAYS = ("operations", "arguments", "outputs", "constants")
"""The arrays of an entry that is a program."""


class Trial(NamedTuple):
    """How files of one kind are compared with this package.

    Attributes:
        points: ``(spec, algorithm, numbers, n_points, seed) -> inputs``, arrays by name.
        ours: ``(algorithm, meta_params, inputs, dtype) -> {"value": array, ...}``, as `probe.evaluate`.
        place: ``(inputs, index of a number in a result) ->`` the place of the number, in words.
        unit: of the compared numbers, in words.
        small: whether differences are relative to the size of the results, and not to 1.
    """

    points: Callable[[AlgorithmSpec, Any, Mapping[str, float], int, int], Arrays]
    ours: Callable[[Any, Any, Mapping[str, np.ndarray], str], dict[str, Any]]
    place: Callable[[Mapping[str, np.ndarray], tuple[int, ...]], str]
    unit: str
    small: bool = False


def reference(
    algorithm: Any,
    entries: Any,
    numbers: Mapping[str, float],
    at: Mapping[str, np.ndarray],
    trial: "Trial | None" = None,
) -> Arrays:
    """The results of the algorithm itself, as `verify.probe` returns them; weights are upcast exactly."""
    import jax

    ours, results, entries = (trial or POLICY_LOSS).ours, {}, _as_written(entries)
    with jax.enable_x64(True), jax.default_device(_cpu()):
        for dtype in ("float64", "float32"):
            meta_params = _cast({**numbers, **entries}, dtype)
            for name, value in ours(algorithm, meta_params, at, dtype).items():
                results[f"{dtype}/{name}"] = np.asarray(value)
    return results


def _cast(tree: Any, dtype: str) -> Any:
    """The same with numbers of this type; whole ones, which are codes, stay."""
    import jax
    import jax.numpy as jnp

    return jax.tree.map(
        lambda x: jnp.asarray(x, None if np.issubdtype(np.asarray(x).dtype, np.integer) else dtype), tree
    )


def _as_written(entries: Any) -> Any:
    """Searched entries with constants of programs as files have them: as short decimals."""
    from objectives.programs.printer import literal

    def written(entry: Any) -> Any:
        if not isinstance(entry, Mapping) or set(entry) != {*PROGRAM_ARRAYS}:
            return entry
        constants = [float(literal(value)) for value in np.asarray(entry["constants"])]
        return {**entry, "constants": np.array(constants, np.float64)}

    return {name: written(entry) for name, entry in entries.items()}


def _cpu() -> Any:
    import jax

    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out; float64 is right elsewhere too
        return None


# Policy losses


def points(n_points: int, seed: int, log_ratio_clip: float, clip: float) -> Arrays:
    """The points of comparison: log ratios in [-3.5, 3.5], advantages 3 N(0, 1), n / N in [0, 1).

    One in five has a log ratio on or next to a boundary: exactly 0, the drift's own clipping, PPO's
    clip range, the ends; one in ten has an advantage of exactly 0 or 1. Log probabilities are
    multiples of 2^-16, so that all points and their log ratios are exact in float32.

    Returns:
        log_prob, old_log_prob, advantage, fraction (float64) and update (int32), each ``[n_points]``.
    """
    generator = np.random.default_rng(seed)
    grid = 2.0**-16
    special = [0.0, log_ratio_clip, -log_ratio_clip, 3.5, -3.5, np.log1p(clip), np.log1p(-min(clip, 0.95))]
    special = np.array([x for x in special if np.isfinite(x) and abs(x) <= 3.5])
    special = np.concatenate([special, special - grid, special + grid]).clip(-3.5, 3.5)
    log_ratio = generator.uniform(-3.5, 3.5, n_points)
    edges = np.arange(0, n_points, 5)
    log_ratio[edges] = special[np.arange(len(edges)) % len(special)]
    log_ratio = np.round(log_ratio / grid) * grid
    advantage = 3.0 * generator.standard_normal(n_points)
    advantage[::20], advantage[10::20] = 0.0, 1.0
    old_log_prob = np.round(generator.uniform(-4.0, 0.0, n_points) / grid) * grid
    update = generator.integers(0, N_UPDATES, n_points, dtype=np.int32)
    update[::50] = 0
    fraction = update.astype(np.float32) / np.float32(N_UPDATES)
    return {
        "log_prob": old_log_prob + log_ratio,
        "old_log_prob": old_log_prob,
        "advantage": advantage.astype(np.float32).astype(np.float64),
        "fraction": fraction.astype(np.float64),
        "update": update,
    }


def _loss_points(
    spec: AlgorithmSpec, algorithm: Any, numbers: Mapping[str, float], n_points: int, seed: int
) -> Arrays:
    return points(n_points, seed, dict(spec.options).get("log_ratio_clip", 3.0), numbers.get("clip", 0.2))


def _losses(algorithm: Any, meta_params: Any, at: Mapping[str, np.ndarray], dtype: str) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    from objectives.base import Progress

    class Each(Progress):
        """Of each sample its own."""

        @property
        def fraction(self) -> Any:
            return jnp.asarray(self.update, "float32") / self.n_updates

    def one(log_prob: Any, old_log_prob: Any, advantage: Any, update: Any) -> Any:
        progress = Progress(update, N_UPDATES)
        return algorithm.policy_loss.per_sample(meta_params, log_prob, old_log_prob, advantage, progress)

    def total(log_prob: Any, old_log_prob: Any, advantage: Any, update: Any) -> Any:
        progress = Each(update, N_UPDATES)
        losses = algorithm.policy_loss.per_sample(meta_params, log_prob, old_log_prob, advantage, progress)
        return losses.sum(), losses

    arrays = [_cast(at[name], dtype) for name in ("log_prob", "old_log_prob", "advantage")]
    if "policy_loss" in meta_params:  # a program, which may couple the samples
        gradient, value = probe.quickly(jax.grad(total, has_aux=True))(*arrays, at["update"])
    else:
        value, gradient = jax.jit(jax.vmap(jax.value_and_grad(one)))(*arrays, at["update"])
    return {"value": value, "gradient": gradient}


def _loss_place(at: Mapping[str, np.ndarray], index: tuple[int, ...]) -> str:
    row = index[0]
    log_ratio = at["log_prob"][row] - at["old_log_prob"][row]
    return f"log ratio {log_ratio:.6g}, advantage {at['advantage'][row]:.6g}, n/N {at['fraction'][row]:.3g}"


POLICY_LOSS = Trial(_loss_points, _losses, _loss_place, "points")


# Mirror maps: K times of a training, four actions


def _score_points(
    spec: AlgorithmSpec, algorithm: Any, numbers: Mapping[str, float], n_points: int, seed: int
) -> Arrays:
    generator, n_actions = np.random.default_rng(seed), 4
    updates = np.array([0, 1, 300, N_UPDATES - 1], np.int32)
    shape = (len(updates), -(-n_points // len(updates)))
    scores = (
        generator.standard_normal((*shape, n_actions))
        * np.array([0.1, 1.0, 5.0])[generator.integers(0, 3, (*shape, 1))]
    )
    raw = 2.0 + 3.0 * generator.standard_normal(shape)
    spread = raw.std(1, keepdims=True) + 1e-8
    return {
        "update": updates,
        "policy_fraction": np.maximum(updates - 1, 0) / N_UPDATES,
        "loss_fraction": updates / N_UPDATES,
        "scores": scores.astype(np.float32).astype(np.float64),
        "action": generator.integers(0, n_actions, shape, dtype=np.int32),
        "old_log_prob": -generator.uniform(0.0, 16.0, shape),
        "raw_advantage": raw,
        "advantage": (raw - raw.mean(1, keepdims=True)) / spread,
        "cotangent": generator.standard_normal((*shape, n_actions)),
    }


def _scores(algorithm: Any, meta_params: Any, at: Mapping[str, np.ndarray], dtype: str) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    from objectives.base import Batch, Progress
    from objectives.parts import AdvantageTargets

    alone = {**meta_params, "value_coef": np.zeros((), dtype), "entropy_coef": np.zeros((), dtype)}

    def shaped(update: Any, _: Any, scores: Any, action: Any, old_log_prob: Any, advantage: Any) -> Any:
        progress, zeros = Progress(update.astype("int32"), N_UPDATES), jnp.zeros_like(advantage)
        outputs = {"scores": scores, "value": zeros}
        targets = AdvantageTargets(advantage, zeros)
        rest = (zeros, zeros > 0, zeros > 0, outputs, targets)
        batch = Batch(zeros[:, None], action, old_log_prob, *rest)
        p = algorithm.policy.distribution(alone, outputs, progress).probabilities
        return p, algorithm.loss.per_sample(alone, batch, outputs, progress, jax.random.key(0))

    inputs = {**at, "policy_fraction": at["update"], "advantage": at["raw_advantage"]}
    value, gradient = probe.policies_and_losses(shaped, inputs, dtype)
    return {"value": value, "gradient": gradient}


def _score_place(at: Mapping[str, np.ndarray], index: tuple[int, ...]) -> str:
    time, row = divmod(index[0], at["action"].shape[1])
    scores = ", ".join(f"{x:.6g}" for x in at["scores"][time, row])
    return f"scores {scores}, n/N {at['loss_fraction'][time]:.3g}"


MIRROR_MAP = Trial(_score_points, _scores, _score_place, "numbers")


# Optimizers: some steps of an agent with an actor and a critic

STEPS = 8


def _step_points(
    spec: AlgorithmSpec, algorithm: Any, numbers: Mapping[str, float], n_points: int, seed: int
) -> Arrays:
    """Four rollouts of two passes, with gradients of any size, some of them zero, and dormant neurons."""
    import jax

    from discovery.inner.networks.network import Body, make_network

    network = make_network(algorithm.policy.heads(2, True), (3,), Body((5, 4)))
    params = jax.eval_shape(network.init, jax.random.key(0))
    outputs = jax.eval_shape(network.unroll, params, {}, np.zeros((6, 3), np.float32), np.zeros(6, bool))
    infos = jax.tree.structure(params).flatten_up_to(network.param_info)
    tensors = _layout(params)
    for member, info in zip(tensors, infos, strict=True):
        member["info"] = list(info)
    layout = {"tensors": tensors, "activations": _layout(outputs[2])}
    n, m = (members[-1]["stop"] for members in layout.values())
    generator = np.random.default_rng(seed)
    sizes = 10.0 ** generator.uniform(-3, 1, (STEPS, 1))
    gradients = sizes * generator.standard_normal((STEPS, n)) * (generator.random((STEPS, n)) < 0.9)
    active = np.maximum(generator.standard_normal((STEPS, m)), 0.0)
    return {
        "layout": np.array(json.dumps(layout)),
        "parameters": _exact(generator.standard_normal(n)),
        "gradients": _exact(gradients),
        "activations": _exact(active),
        "keys": generator.integers(0, 2**32, (STEPS, 2), dtype=np.uint32),
        "progress": np.array([(step // 2, 4, step % 2, 2) for step in range(STEPS)], np.int32),
    }


def _exact(x: np.ndarray) -> np.ndarray:
    """Float64 numbers that are exact in float32."""
    return x.astype(np.float32).astype(np.float64)


def _layout(tree: Any) -> list[dict[str, Any]]:
    """The position of each array of a tree in one flat array of all its numbers."""
    import jax

    members, start = [], 0
    for path, leaf in jax.tree.leaves_with_path(tree):
        stop = start + leaf.size
        keys = [key.key for key in path]
        members.append({"path": keys, "shape": list(leaf.shape), "start": start, "stop": stop})
        start = stop
    return members


def _steps(algorithm: Any, meta_params: Any, at: Mapping[str, np.ndarray], dtype: str) -> dict[str, Any]:
    from objectives.base import ParamInfo, Progress

    makers: Any = {"info": ParamInfo, "progress": lambda numbers: Progress(*numbers)}
    return {"value": probe.updates(_unscheduled(algorithm)(meta_params), at, dtype, **makers)}


def _unscheduled(algorithm: Any) -> Any:
    """The algorithm's optimizer, with the factor 1 in place of one that a schedule finds."""
    import jax.numpy as jnp

    from objectives.programs.steps import ScheduleMemory, schedule_memory

    if algorithm.memory is not schedule_memory:
        return algorithm.optimizer

    def optimizer(meta_params: Any) -> Any:
        scheduled = algorithm.optimizer(meta_params)
        memory = ScheduleMemory(factor=jnp.ones(()), largest=jnp.ones(()))
        return scheduled._replace(update=functools.partial(scheduled.update, memory=memory))

    return optimizer


def _step_place(at: Mapping[str, np.ndarray], index: tuple[int, ...]) -> str:
    for member in json.loads(str(at["layout"]))["tensors"]:
        if index[1] < member["stop"]:
            return f"step {index[0] + 1}, parameter {'/'.join(member['path'])}"
    raise BadInput(f"there is no number {index[1]}")


OPTIMIZER = Trial(_step_points, _steps, _step_place, "numbers", small=True)

# Programs: their inputs, of usual sizes


def _input_points(
    slot: str, spec: AlgorithmSpec, algorithm: Any, numbers: Mapping[str, float], n_points: int, seed: int
) -> Arrays:
    """Inputs of a slot within their ranges. Those of the whole minibatch differ between points too, which for
    functions of single samples is the same as one minibatch for each.
    """
    from objectives.programs.slots import slot_of

    generator, at = np.random.default_rng(seed), {}
    for one in slot_of(slot).inputs:
        if np.isfinite(one.low) and np.isfinite(one.high):
            at[one.name] = _exact(generator.uniform(one.low, one.high, n_points))
        else:
            at[one.name] = _exact(2 * one.scale * generator.standard_normal(n_points)).clip(one.low, one.high)
    if "done" in at:
        at["done"] = np.round(at["done"])
    if "delta_sign" in at:
        at["delta_sign"] = np.sign(np.round(1.5 * at["delta_sign"]))
    return at


def _programs(
    slot: str, algorithm: Any, meta_params: Any, at: Mapping[str, np.ndarray], dtype: str
) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    from objectives.known import LOG_RATIO_LIMIT
    from objectives.programs.code import decode
    from objectives.programs.interpreter import interpret
    from objectives.programs.primitives import PRIMITIVES
    from objectives.programs.steps import SMALLEST_FACTOR

    reductions = sum(PRIMITIVES[name].reduces for name in decode(slot, meta_params[slot]).operations)

    def total(inputs: dict[str, Any]) -> Any:
        if "log_ratio" in inputs:
            inputs = {**inputs, "log_ratio": inputs["log_ratio"].clip(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)}
        given = tuple(inputs[name] for name in at)
        found = jnp.stack(interpret(meta_params[slot], given, reductions), -1)
        if slot == "trace":
            found = found.clip(0.0, 1.0)
        if slot == "schedule":
            found = jnp.maximum(found, SMALLEST_FACTOR)
        return found.sum(), found

    inputs = {name: _cast(x, dtype) for name, x in at.items()}
    gradient, value = probe.quickly(jax.grad(total, has_aux=True))(inputs)
    return {"value": value, "gradient": jnp.stack([gradient[name] for name in at], -1)}


def _input_place(at: Mapping[str, np.ndarray], index: tuple[int, ...]) -> str:
    return ", ".join(f"{name} {x[index[0]]:.6g}" for name, x in at.items())


def _of_slot(slot: str) -> Trial:
    points, ours = functools.partial(_input_points, slot), functools.partial(_programs, slot)
    return Trial(points, ours, _input_place, "numbers")


TRIALS = {"policy_loss": POLICY_LOSS, "score_loss": MIRROR_MAP, "optimizer": OPTIMIZER}
TRIALS |= {slot: _of_slot(slot) for slot in probe.SLOTS}
"""Trials by the function that a file defines, see `parts.Kind.entry`."""
