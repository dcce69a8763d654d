"""AMPO: approximate mirror policy optimization, with known mirror maps, a learned one, or a program.

The agent's network gives scores f, and acts by pi(a|s) = relu(phi(eta f(s, a) + lambda_s)). Each rollout's
scores are regressed, for the actions taken, on

    A(s, a) + phi^{-1}(pi_old(a|s)) / eta,     phi^{-1} with the constant that makes it 1 at 1,

which in expectation is policy mirror descent with step size eta: eta times it is the dual point of the old
policy plus eta A. Alfano et al. (2023); with a learned map, Alfano et al. (2025).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import (
    NO_MEMORY,
    Algorithm,
    Batch,
    Distribution,
    Head,
    Loss,
    MetaParams,
    Outputs,
    Policy,
    Progress,
)
from objectives.distributions import Discrete
from objectives.mirror_map.learned_potential import check_units, learned, monotone, random_numbers
from objectives.mirror_map.potentials import Potential, l2, negative_entropy, tsallis
from objectives.mirror_map.program_potential import program, weights_of
from objectives.mirror_map.simplex import project
from objectives.optimizers import adam
from objectives.parts import DEFAULTS, gae, nothing_to_search, standardize, value_loss
from objectives.per_parameter import precision
from objectives.programs.code import Size, encode
from objectives.programs.known import known

POTENTIALS: dict[str, Potential] = {
    "negative_entropy": negative_entropy,
    "l2": l2,
    "tsallis": tsallis,
    "learned": learned,
    "program": program,
}
"""Potentials by the name of their mirror map."""

SMALLEST = 1e-6
"""Replaces an old probability of zero in the target, as in the authors' code: phi^{-1}(0) may be infinite."""

NUMBERS: dict[str, float] = {
    name: DEFAULTS[name] for name in DEFAULTS if name not in ("clip", "entropy_coef")
}
"""PPO's numbers that it reads: it has neither policy clipping nor an entropy bonus."""

CONTROL: dict[str, float] = {"learning_rate": 1e-3, "eta": 1.0, "gamma": 0.99, "gae_lambda": 0.95}
"""The authors' numbers for CartPole and Acrobot, in addition to `NUMBERS`. The agent: 10 environments, 128
steps, 10 epochs of 4 minibatches, 2 x 64 tanh, 640k environment steps."""

Weights = Callable[..., Any]
"""``(meta_params, n / N, dtype=float32) ->`` the potential's weights at that point of a training."""


ScoreLoss = Callable[[MetaParams, Array, Array, Array, Array, Progress], Float[Array, " B"]]
"""``(meta_params, scores [B, A], action, old_log_prob, advantage, progress) -> loss [B]`` of the scores; the
advantage is standardized over the minibatch."""


def _weights(map: str, anchored: bool, temporal: bool, normalized: bool) -> Weights:
    """How a mirror map finds its weights in `meta_params`."""
    if map == "learned":

        def network(meta_params: MetaParams, fraction: Array, dtype: Any = jnp.float32) -> Any:
            """The potential's network at n/N."""
            numbers = jax.tree.map(lambda x: jnp.asarray(x, dtype), meta_params["potential"])
            if temporal:
                passed = jnp.asarray(fraction, dtype)
                numbers = jax.tree.map(lambda x, d: x + passed * d, numbers["start"], numbers["change"])
            return monotone(numbers, anchored, normalized)

        return network

    def written(meta_params: MetaParams, fraction: Array, dtype: Any = jnp.float32) -> Any:
        """The program."""
        return weights_of(meta_params["potential"], normalized, dtype)

    def parameter(meta_params: MetaParams, fraction: Array, dtype: Any = jnp.float32) -> Any:
        """The exponent q of a Tsallis entropy."""
        return jnp.asarray(meta_params["tsallis_q"], dtype)

    def nothing(meta_params: MetaParams, fraction: Array, dtype: Any = jnp.float32) -> Any:
        return ()

    return {"tsallis": parameter, "program": written}.get(map, nothing)


def _heads(n_actions: int, continuous: bool) -> dict[str, Head]:
    if continuous:
        raise ValueError("ampo needs discrete actions, which have probabilities; these are continuous")
    return {"scores": Head(n_actions, scale=0.01), "value": Head(0, torso="critic", scale=1.0)}


def fitted_at(progress: Progress) -> Progress:
    """When the scores were fitted by which one acts at `progress`: one update earlier, at first at birth."""
    return progress._replace(update=jnp.maximum(jnp.asarray(progress.update) - 1, 0))


class Projected(NamedTuple):
    """`Policy.distribution` of a mirror map: pi = project(eta f), for the map that the scores were fitted
    for, the last update's.

    Attributes:
        potential: of the map.
        weights: how it finds its weights.
    """

    potential: Potential
    weights: Weights

    def __call__(self, meta_params: MetaParams, outputs: Outputs, progress: Progress) -> Distribution:
        fraction = fitted_at(progress).fraction
        return Discrete(probabilities(self.potential, self.weights, meta_params, outputs["scores"], fraction))


def probabilities(
    potential: Potential,
    weights: Weights,
    meta_params: MetaParams,
    scores: Float[Array, "... A"],
    fraction: Array,
) -> Float[Array, "... A"]:
    """relu(phi(eta f + lambda)) of scores f, by the map of the update n/N that they were fitted in."""
    scores = jnp.asarray(scores, precision([scores]))
    now = weights(meta_params, fraction, scores.dtype)
    return project(potential, now, meta_params["eta"] * scores)


def _dual(potential: Potential, weights: Any, p: Float[Array, " B"]) -> Float[Array, " B"]:
    """phi^{-1}(p) with 1 at p = 1, as the known maps have it.

    A constant moves no policy. But the scores of a new network are all near 0, and what it learns first is
    how far off they are: maps that differ in the constant alone would differ in how well they learn.
    """
    return potential.inverse(weights, p) + (1.0 - potential.inverse(weights, jnp.ones((), p.dtype)))


def score_error(
    potential: Potential,
    weights: Weights,
    meta_params: MetaParams,
    scores: Float[Array, "... A"],
    action: Array,
    old_log_prob: Float[Array, "..."],
    advantage: Float[Array, "..."],
    fraction: Array,
) -> Float[Array, "..."]:
    """(f(s, a) - A - phi^{-1}(pi_old(a|s)) / eta)^2, by the map of this update n/N."""
    scores = jnp.asarray(scores, precision([scores]))
    old = jnp.maximum(jnp.exp(old_log_prob), SMALLEST)
    now = weights(meta_params, fraction, scores.dtype)
    target = advantage + _dual(potential, now, old) / meta_params["eta"]
    actions = jax.lax.broadcasted_iota(jnp.int32, scores.shape, scores.ndim - 1)
    taken = jnp.expand_dims(action, -1) == actions
    return jnp.square(jnp.where(taken, scores, 0.0).sum(-1) - target)


def _fit(potential: Potential, weights: Weights) -> ScoreLoss:
    """`score_error` of a map."""

    def per_sample(
        meta_params: MetaParams,
        scores: Array,
        action: Array,
        old_log_prob: Array,
        advantage: Array,
        progress: Progress,
    ) -> Float[Array, " B"]:
        columns = scores, action, old_log_prob, advantage
        return score_error(potential, weights, meta_params, *columns, progress.fraction)

    return per_sample


def _loss(score_loss: ScoreLoss) -> Loss:
    """Loss of the scores + value_coef * clipped value loss."""

    def per_sample(
        meta_params: MetaParams, batch: Batch, outputs: Outputs, progress: Progress, key: PRNGKeyArray
    ) -> Float[Array, " B"]:
        advantage = standardize(batch.targets.advantage)
        actor = score_loss(meta_params, outputs["scores"], batch.action, batch.log_prob, advantage, progress)
        critic = value_loss(
            outputs["value"], batch.outputs["value"], batch.targets.value, meta_params["value_clip"]
        )
        return actor + meta_params["value_coef"] * critic

    return Loss(per_sample, couples_batch=True)


def fitted_scores(
    name: str,
    distribution: Callable[[MetaParams, Outputs, Progress], Distribution],
    score_loss: ScoreLoss,
    init: Callable[[PRNGKeyArray], dict[str, Any]] = nothing_to_search,
    numbers: Mapping[str, float] | None = None,
) -> Algorithm:
    """An `Algorithm` whose agent has scores, acts by `distribution` of them, and fits them by `score_loss`.

    Args:
        name: for messages and records.
        distribution: of discrete actions, by ``outputs["scores"]``.
        score_loss: of the scores.
        init: makes the searched entries of `meta_params` that both read.
        numbers: their defaults, over `NUMBERS` and `CONTROL`.
    """
    return Algorithm(
        name=name,
        policy=Policy(_heads, distribution),
        targets=gae,
        loss=_loss(score_loss),
        optimizer=adam,
        memory=NO_MEMORY,
        init=init,
        defaults=tuple(sorted({**NUMBERS, **CONTROL, **(numbers or {})}.items())),
    )


def ampo(
    map: str = "learned",
    units: int = 126,
    anchored: bool = True,
    temporal: bool = False,
    normalized: bool = False,
    start: str = "negative_entropy",
    instructions: int = 16,
    constants: int = 8,
) -> Algorithm:
    """AMPO: a mirror map, searched as ``meta_params["potential"]`` or known, shapes policy and loss.

    Reads "eta" (step size; of the learned map, its weights hold another unless they are `normalized`) and,
    with ``map = "tsallis"``, "tsallis_q".

    Args:
        map: a name in `POTENTIALS`; of these, "learned" (a network) and "program" are searched.
        units: of the learned map, a multiple of 6; it has 3 * units + 2 numbers.
        anchored: the search begins at negative entropy, else at a random map.
        temporal: the learned map's numbers are linear in n/N before they are cut off at zero, so it is always
            monotone; there are twice as many. Scores are read by the map they were fitted for.
        normalized: the searched map always has the rise of negative entropy between 1/2 and 1, so a search
            cannot change the step size instead of the shape.
        start: the known program with which a search over programs begins.
        instructions: most primitives of the program.
        constants: most constants of the program.

    Raises:
        ValueError: for an unknown map or start, such units, or a known map with temporal or normalized.
    """
    if map not in POTENTIALS:
        raise ValueError(f"map must be one of {', '.join(POTENTIALS)}, got {map!r}")
    searched = map in ("learned", "program")
    if temporal and map != "learned":
        raise ValueError(f'temporal is for map = "learned"; {map!r} does not change over a training')
    if normalized and not searched:
        raise ValueError(f"normalized is for searched maps; the step size of {map!r} is eta alone")
    code = encode(known("potential", start), Size(instructions, constants)) if map == "program" else None

    def init(key: PRNGKeyArray) -> dict[str, Any]:
        if code is not None:
            return {"potential": jax.tree.map(jnp.asarray, code)}
        numbers = random_numbers(key, units, anchored)
        if temporal:
            return {"potential": {"start": numbers, "change": jax.tree.map(jnp.zeros_like, numbers)}}
        return {"potential": numbers}

    if map == "learned":
        check_units(units)
    potential, weights = POTENTIALS[map], _weights(map, anchored, temporal, normalized)
    return fitted_scores(
        ("ta_" if temporal else "") + f"ampo_{map}",
        Projected(potential, weights),
        _fit(potential, weights),
        init if searched else nothing_to_search,
        {"tsallis_q": 1.5} if map == "tsallis" else {},
    )
