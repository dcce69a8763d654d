"""Slots: the parts of an algorithm that a program can be, each with its inputs, outputs and conditions."""

import difflib
from collections.abc import Mapping
from math import inf
from typing import NamedTuple

from objectives.programs.primitives import Kind


class Input(NamedTuple):
    """An input of a slot.

    Attributes:
        name: as programs write it.
        what: a description.
        kind: a number per sample, or one for the whole minibatch.
        latex: its symbol.
        scale: its usual size.
        low, high: between which it lies.
    """

    name: str
    what: str
    kind: Kind = "sample"
    latex: str = ""
    scale: float = 1.0
    low: float = -inf
    high: float = inf


class Slot(NamedTuple):
    """A part of an algorithm that a program can be.

    Attributes:
        name: of the slot.
        what: what its result is.
        inputs: in the order of the program's arguments.
        outputs: names of its results.
        reaches: the result must have a differentiable path to an input of each entry.
        couples: whether programs may reduce over the minibatch.
        conditions: what else a program must fulfil, in words, by name; `checks.CHECKS` tests these.
        offers: conditions that can be asked for, and are then fulfilled by construction, by name.
    """

    name: str
    what: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    reaches: tuple[tuple[str, ...], ...] = ()
    couples: bool = False
    conditions: Mapping[str, str] = {}
    offers: Mapping[str, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(one.name for one in self.inputs)


PROGRESS = Input(
    "progress", "n/N, the share of the training that has passed, in [0, 1)", "scalar", "t", low=0.0, high=1.0
)
LOG_RATIO = Input("log_ratio", "log pi(a|s) - log pi_old(a|s)", latex=r"\ell", scale=0.3)
ADVANTAGE = Input(
    "advantage", "A, standardized over the minibatch unless the family says otherwise", latex="A"
)
DELTA_SIZE = Input(
    "delta_size", "abs(delta) / sd(delta), of the TD errors of the rollout", latex="d", low=0.0
)

POLICY_LOSS = Slot(
    "policy_loss",
    "the policy loss per sample, which is minimized",
    (LOG_RATIO, ADVANTAGE, PROGRESS),
    ("loss",),
    reaches=(("log_ratio",),),
    couples=True,
    offers={"drift": "the loss is f - r A with the drift f = relu(program) (r - 1)^2"},
)
LOSS = Slot(
    "loss",
    "the whole loss per sample, which is minimized",
    (
        LOG_RATIO,
        ADVANTAGE,
        PROGRESS,
        Input("value", "V(s), of the network that learns", latex="V"),
        Input("old_value", "V(s) when the agent acted", latex="V_0"),
        Input("target", "the value target R", latex="R"),
        Input("entropy", "entropy of the policy at s", latex="H", low=0.0, high=5.0),
        Input("log_prob", "log pi(a|s)", latex=r"\log\pi"),
        Input("old_log_prob", "log pi_old(a|s)", latex=r"\log\pi_0"),
    ),
    ("loss",),
    reaches=(("log_ratio", "log_prob"), ("value",)),
    couples=True,
)
TRACE = Slot(
    "trace",
    "lambda of the advantages and of the value targets at a step, in [0, 1]",
    (
        DELTA_SIZE,
        Input("delta_sign", "sign of the TD error: -1, 0 or 1", latex="s", low=-1.0, high=1.0),
        PROGRESS,
        Input(
            "explained_variance",
            "1 - var(R - V) / var(R) of the critic on this rollout",
            "scalar",
            "E",
            low=-1.0,
            high=1.0,
        ),
        Input(
            "entropy",
            "entropy of the policy at s, as a share of the largest possible",
            latex="H",
            low=0.0,
            high=1.0,
        ),
        Input("done", "1 where the episode ended at this step, else 0", latex="e", low=0.0, high=1.0),
    ),
    ("advantage_lambda", "value_lambda"),
    conditions={"unit": "results lie in [0, 1]: others are clipped"},
)  # fmt: skip
SHAPE = Slot(
    "advantage",
    "the advantage that the policy loss uses",
    (
        Input("gae", "A by generalized advantage estimation", latex=r"\hat{A}"),
        PROGRESS,
        DELTA_SIZE,
        Input("value", "V(s) when the agent acted", latex="V"),
        Input("target", "the value target R", latex="R"),
    ),
    ("advantage",),
    couples=True,
)
OPTIMIZER = Slot(
    "optimizer",
    "what is subtracted from a parameter",
    (
        Input("gradient", "g, clipped by its norm", latex="g", scale=0.01),
        Input("parameter", "p", latex="p", scale=0.1),
        Input("mean_9", "running mean of g with decay 0.9, g included", latex="m_{.9}", scale=0.01),
        Input("mean_99", "the same with decay 0.99", latex="m_{.99}", scale=0.01),
        Input("mean_999", "the same with decay 0.999", latex="m_{.999}", scale=0.01),
        Input(
            "square_99",
            "running mean of g^2 with decay 0.99, g included",
            latex="v_{.99}",
            scale=1e-4,
            low=0.0,
        ),
        Input("square_999", "the same with decay 0.999", latex="v_{.999}", scale=1e-4, low=0.0),
        Input(
            "learning_rate",
            "of the task's recipe, after its schedule",
            "scalar",
            r"\alpha",
            scale=1e-3,
            low=0.0,
        ),
        PROGRESS,
        Input(
            "layer",
            "depth of the parameter's layer: 0 next to the input, 1 at the output",
            latex="k",
            low=0.0,
            high=1.0,
        ),
    ),
    ("update",),
    conditions={"still": "a parameter whose gradients are all zero stays where it is"},
)
SCHEDULE = Slot(
    "schedule",
    "a factor on the learning rate, once per rollout",
    (
        PROGRESS,
        Input("kl", "KL(old || new) of the last update", "scalar", "K", scale=0.01, low=0.0),
        Input("episode_return", "mean return of the last rollout's episodes over the largest size so far, in "
              "[-1, 1]", "scalar", "G", low=-1.0, high=1.0),
        Input("last", "the factor of the last update, 1 at first", "scalar", "c", low=1e-8),
    ),
    ("factor",),
    conditions={"positive": "the factor is positive: others count as 1e-8"},
)  # fmt: skip
POTENTIAL = Slot(
    "potential",
    "the inverse potential of a mirror map at a probability",
    (Input("x", "a probability, in (0, 1]", latex="x", low=1e-6, high=1.0),),
    ("inverse",),
    reaches=(("x",),),
    conditions={"increasing": "it increases strictly on (0, 1]"},
)
PREFERENCE = Slot(
    "preference",
    "the loss of a pair of answers, of which one was preferred; it is minimized",
    (
        Input("h", "log-ratio of the preferred answer less that of the other one, ratios of policy and "
              "reference", latex="h", scale=5.0),
        Input("beta", "strength of the reference", "scalar", r"\beta", scale=0.1, low=1e-3),
        Input("chosen", "log pi(y_w) - log ref(y_w) of the preferred answer y_w", latex=r"\rho_w", scale=5.0),
        Input("rejected", "log pi(y_l) - log ref(y_l) of the other answer y_l", latex=r"\rho_l", scale=5.0),
        Input("margin", "log pi(y_w) - log pi(y_l)", latex=r"\mu", scale=5.0),
    ),
    ("loss",),
    reaches=(("h", "chosen", "rejected"),),
    couples=True,
)  # fmt: skip

SLOTS: Mapping[str, Slot] = {
    slot.name: slot for slot in (POLICY_LOSS, LOSS, TRACE, SHAPE, OPTIMIZER, SCHEDULE, POTENTIAL, PREFERENCE)
}
"""All slots by name."""


def slot_of(name: str) -> Slot:
    """The slot called `name`.

    Raises:
        ValueError: there is none.
    """
    if name not in SLOTS:
        near = difflib.get_close_matches(name, SLOTS) or SLOTS
        raise ValueError(f"there is no slot {name!r} for a program; nearest: {', '.join(near)}")
    return SLOTS[name]
