"""Algorithms that are programs in one or several slots, and PPO elsewhere."""

import difflib
from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from objectives.base import NO_MEMORY, Algorithm
from objectives.family import Export, Family
from objectives.known import drift_loss, ppo_drift
from objectives.optimizers import OPTIMIZERS, RATE_DEFAULTS
from objectives.parts import LOSS_DEFAULTS, actor_critic_policy
from objectives.programs import losses, steps, targets
from objectives.programs.code import Size, encode
from objectives.programs.known import known
from objectives.programs.slots import slot_of

STARTS = {
    "policy_loss": "ppo",
    "loss": "ppo",
    "trace": "constant",
    "advantage": "identity",
    "optimizer": "adam",
    "schedule": "linear",
}
"""Slots of an actor-critic algorithm, each with the known program that a search begins with by default."""


def programs(
    slots: str = "policy_loss",
    start: str = "",
    condition: str = "",
    instructions: int = 24,
    constants: int = 8,
    reductions: int = 0,
    normalize_advantage: bool = True,
    optimizer: str = "adam",
) -> Algorithm:
    """PPO in which some parts are programs: readable losses, return estimators, optimizers and schedules.

    Each open slot reads the entry of `meta_params` of its name, a program as arrays (see `interpreter`). So a
    search trains every program with one compiled training.

    Args:
        slots: the open slots, separated by commas; of `STARTS`.
        start: the known program that each slot begins with, in their order, separated by commas; by default
            those of `STARTS`.
        condition: of the policy loss: "drift" to hold the conditions of mirror learning by construction.
        instructions: most primitives of a program.
        constants: most constants of a program.
        reductions: most reductions over the minibatch, in slots that allow them.
        normalize_advantage: whether the losses' advantages are standardized over the minibatch.
        optimizer: the optimizer, if it is no program: a name in `OPTIMIZERS`.

    Raises:
        ValueError: for unknown slots, programs, conditions or optimizers, or slots that do not go together.
    """
    names = slots_in({"slots": slots})
    begun = tuple(name.strip() for name in start.split(",")) if start else tuple(map(_default, names))
    _check(names, begun, condition, optimizer)
    size = Size(instructions, constants, reductions)
    entries = {
        slot: encode(known(slot, name), size_in(slot, size)) for slot, name in zip(names, begun, strict=True)
    }

    def init(key: PRNGKeyArray) -> dict[str, Any]:
        return jax.tree.map(jax.numpy.asarray, entries)

    shape = losses.shaped(reductions) if "advantage" in names else losses.gae_as_it_is
    policy_loss = drift_loss(ppo_drift, normalize_advantage)
    if "policy_loss" in names:
        policy_loss = losses.policy_loss(condition, normalize_advantage, reductions)
    loss = losses.of_policy_loss(actor_critic_policy, policy_loss, shape)
    if "loss" in names:
        policy_loss = None
        loss = losses.whole_loss(actor_critic_policy, shape, normalize_advantage, reductions)
    made, numbers = OPTIMIZERS[optimizer]
    if "optimizer" in names:
        made, numbers = steps.program_optimizer, RATE_DEFAULTS
    scheduled = "schedule" in names
    return Algorithm(
        name="programs",
        policy=actor_critic_policy,
        targets=targets.with_traces(actor_critic_policy) if "trace" in names else targets.estimates,
        loss=loss,
        optimizer=steps.scheduled(made) if scheduled else made,
        memory=steps.schedule_memory if scheduled else NO_MEMORY,
        init=init,
        defaults=tuple(sorted({**LOSS_DEFAULTS, **numbers}.items())),
        policy_loss=policy_loss,
    )


def slots_in(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The open slots that the options of `programs` name."""
    return tuple(name.strip() for name in options["slots"].split(","))


PROGRAMS = Family(
    programs,
    baselines=("ppo", "dpo"),
    starts=("start",),
    picture="objectives.programs.picture:PICTURES",
    export=Export("program", parts=slots_in),
)


def size_in(slot: str, size: Size) -> Size:
    """The size of a slot's programs: only some slots allow reductions."""
    return size if slot_of(slot).couples else size._replace(reductions=0)


def _default(slot: str) -> str:
    if slot not in STARTS:
        near = difflib.get_close_matches(slot, STARTS)
        hint = f"did you mean {' or '.join(near)}, of" if near else "there are:"
        raise ValueError(
            f"no slot of an actor-critic algorithm is called {slot!r}; {hint} {', '.join(STARTS)}"
        )
    return STARTS[slot]


def _check(names: tuple[str, ...], begun: tuple[str, ...], condition: str, optimizer: str) -> None:
    """Refuse slots, starts and conditions that do not go together."""
    for slot in names:
        _default(slot)
    if len(set(names)) < len(names) or {"loss", "policy_loss"} <= set(names):
        raise ValueError(f"slots must differ, and loss includes policy_loss; got {', '.join(names)}")
    if len(begun) != len(names):
        raise ValueError(f"start needs one program per slot ({', '.join(names)}), got {', '.join(begun)}")
    offers = {offer for slot in names for offer in slot_of(slot).offers}
    if condition and condition not in offers:
        raise ValueError(
            f"condition must be one of {', '.join(offers) or 'none'} with slots {', '.join(names)}, "
            f"got {condition!r}"
        )
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
