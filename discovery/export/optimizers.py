"""The file with a learned optimizer: a factory of an optax transformation, for any loop that uses optax."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from discovery.core.jobs import AlgorithmSpec
from discovery.export.source import Subject, Text, constants, definitions, tree
from objectives import place_of

_CLIP = ("max_grad_norm", "clip_by_torso")
_RATE = ("learning_rate", "anneal")
_ADAM = ("adam_b1", "adam_b2", "adam_eps")

_USAGE = """
    from THIS_FILE import optimizer

    tx = optimizer({arguments})
    state = tx.init(params)
    updates, state = tx.update(gradients, state, params)  # by itself, or with all that it can know:
    updates, state = tx.update(
        gradients, state, params, {extra}
    )
    params = optax.apply_updates(params, updates)
"""
_USAGE_ALONE = """
    from THIS_FILE import optimizer

    tx = optimizer()
    state = tx.init(params)
    updates, state = tx.update(gradients, state, params)
    params = optax.apply_updates(params, updates)
"""
_CONTEXT = "key=key, progress=progress, activations=activations, param_info=param_info"
_TIME = "total_steps=n_rollouts * n_epochs * n_minibatches"

_PARITY = (
    "It computes what was trained, up to rounding, only with all extra arguments and with one tree of "
    "actor and critic together. What follows is what differs without."
)
_PARITY_ALONE = _PARITY.replace("with all extra arguments and ", "")
_INSIDE = (
    "Clipping and step size are part of it, with the numbers below. Put no clipping, learning rate or "
    "schedule of your own around it."
)
_CLOCK = (
    "Without `progress` it counts its own updates, in rollouts of n_epochs * n_minibatches; without "
    "`total_steps` it never learns how much of the training has passed, which then stays 0."
)
_MEAN = (
    "Where actor and critic are two trees with an optimizer each, the mean that every step lacks is each "
    "tree's own. Trained was with the mean over both."
)
_OPEN = (
    "Without `activations`, or for layers that they leave out, dormancy is 1.",
    "Without `param_info` a parameter's layer is found from the tree: its names in natural order, each "
    "array beside layers as a layer after them (`describe`). Trained was with layers in order of depth, "
    "all heads of a network at one.",
    'Without `param_info` the actor is whatever has "actor" in its path (`in_actor`), and nothing else gets '
    "noise. Give `actor=lambda path: True` to the optimizer of an actor's own tree.",
    "Without `key` the noise is made of `seed` and the number of updates made: agents trained side by side "
    "by vmap share it, unless each has its own seed.",
    _MEAN,
)
_RAW = (
    "`key`, `activations`, `param_info`, `actor` and `seed` change nothing: it sees parameters, momenta and "
    "gradients alone, and has no noise."
)
_TIMELESS = (
    "Neither do `progress`, `total_steps`, `n_epochs` and `n_minibatches`: it is not told how much of the "
    "training has passed."
)
_NETWORKS = (
    "Gradients are clipped by each network's own norm. The networks of a tree are its outermost branches "
    "if all of them have branches themselves, else the tree is one (`networks`)."
)
_OPERATOR = (
    "Where actor and critic are two trees with an optimizer each, each has an M of its own, which couples "
    "that tree's parameters alone. Trained was with one M over all parameters of actor and critic."
)
_TREES = (
    "Where actor and critic are two trees with an optimizer each, gradients are clipped by each tree's norm."
)


class Rule(NamedTuple):
    """How one family of optimizers is written.

    Attributes:
        reads: ``options ->`` names of the plain numbers that the file holds.
        write: ``subject -> Text``.
    """

    reads: Callable[[Mapping[str, Any]], tuple[str, ...]]
    write: Callable[[Subject], Text]


def _usage(extra: str) -> str:
    return _USAGE.format(arguments=_TIME, extra=extra)


def _numbers(rule: Rule, subject: Subject) -> str:
    """The constants of a rule; a torso of ours is a network to others."""
    values = {name: subject.numbers[name] for name in rule.reads(subject.options)}
    return constants(**{name.replace("torso", "network"): value for name, value in values.items()})


def _counts(subject: Subject) -> str:
    counts = {name: subject.recipe.get(name, 1) for name in ("n_epochs", "n_minibatches")}
    return constants(**counts)


def _clipping(subject: Subject) -> tuple[str, ...]:
    by_network = subject.numbers["clip_by_torso"]
    return (_NETWORKS,) if by_network else (_TREES,)


def _open_reads(options: Mapping[str, Any]) -> tuple[str, ...]:
    return ("open_scale", *_CLIP, *(_RATE + _ADAM if options["anchored"] else ()))


def _open(subject: Subject) -> Text:
    from objectives.learned_optimizers.features import DECAYS, RAW, chosen

    options = subject.options
    recurrent, anchored, raw = options["gru_width"] > 0, options["anchored"], options["features"] == RAW
    seen = tuple(range(len(DECAYS) + 2)) if raw else chosen(options["features"])
    code = [
        definitions("steps", "Progress progress_at check_counts networks clip_by_global_norm"),
        definitions("steps", "anneal") if anchored else "",
        definitions("described", _DESCRIBED if raw else f"{_DESCRIBED} dormancy"),
        definitions("cells", "precision flat unflat gru linear normalized" if recurrent else _FEED_FORWARD),
        definitions("open", "OpenState OptimizerState scaled"),
        definitions("open_raw" if raw else "open", "features step" if raw else _FEATURES),
        definitions("open_recurrent" if recurrent else "open", "network"),
        definitions("open", "scale_by_open"),
        definitions("open_anchored") if anchored else definitions("open", "rule"),
        definitions("open", "optimizer"),
        tree("WEIGHTS", subject.entries["optimizer"]),
    ]
    what = "Adam's step, and on top of it the learned one" if anchored else "the learned step"
    formula = "c o_0 exp(c o_1)" if raw else "c o_0 exp(c o_1) + c o_2 noise"
    told = "its value, momenta and gradient" if raw else f"{len(seen)} features of it"
    source = "OPEN's form without its features, Goldie et al. 2025" if raw else "OPEN, Goldie et al. 2024"
    return Text(
        title="a learned optimizer for optax",
        description=(
            f"`optimizer` makes an optax.GradientTransformationExtraArgs: {what}, -(u - mean(u)) with u = "
            f"{formula}, where a small network says o for every parameter from {told} ({source})."
        ),
        usage=_usage("progress=progress" if raw else _CONTEXT) if anchored or not raw else _USAGE_ALONE,
        differences=(*_open_differences(raw, anchored), *_clipping(subject)),
        constants=constants(gru_width=options["gru_width"], features=seen, decays=DECAYS)
        + _counts(subject)
        + _numbers(OPTIMIZERS["objectives.learned_optimizers.open:open_optimizer"], subject),
        code=tuple(code),
        imports="import optax\n",
        standard_imports="import re\nfrom typing import Any, NamedTuple\n",
    )


def _open_differences(raw: bool, anchored: bool) -> tuple[str, ...]:
    if not raw:
        return (_PARITY, _INSIDE, _CLOCK, *_OPEN)
    if anchored:
        return (_PARITY, _INSIDE, _CLOCK, _RAW, _MEAN)
    return (_PARITY_ALONE, _INSIDE, _RAW, _TIMELESS, _MEAN)


_DESCRIBED = "ParamInfo in_actor describe name_of natural"
_FEATURES = "proportions features actor_noise step"
_FEED_FORWARD = "precision flat unflat linear normalized"


def _optim4rl_reads(options: Mapping[str, Any]) -> tuple[str, ...]:
    return ("max_gradient", *_RATE)


def _optim4rl(subject: Subject) -> Text:
    return Text(
        title="a learned optimizer for optax",
        description=(
            "`optimizer` makes an optax.GradientTransformationExtraArgs: sign(g) exp(o_1(g)) / "
            "sqrt(exp(o_2(g^2)) + 1e-8) times an annealed learning rate, where two recurrent units say o_1 "
            "and o_2 for every parameter (Optim4RL, Lan et al. 2024)."
        ),
        usage=_usage("progress=progress"),
        differences=(_PARITY, _INSIDE, _CLOCK),
        constants=_counts(subject)
        + _numbers(OPTIMIZERS["objectives.learned_optimizers.optim4rl:optim4rl"], subject),
        code=(
            definitions("steps", "Progress progress_at check_counts anneal"),
            definitions("cells", "precision flat unflat gru linear"),
            definitions("optim4rl"),
            tree("WEIGHTS", subject.entries["optimizer"]),
        ),
        imports="import optax\n",
        standard_imports="from typing import Any, NamedTuple\n",
    )


def _lodo_reads(options: Mapping[str, Any]) -> tuple[str, ...]:
    return ("lodo_step", "lodo_rate", "lodo_momentum", "lodo_eps", *_CLIP)


def _lodo(subject: Subject) -> Text:
    return Text(
        title="an optimizer for optax that learns while it runs",
        description=(
            "`optimizer` makes an optax.GradientTransformationExtraArgs: -alpha M^T M m, with m the "
            "momentum and M a product of sparse orthogonal matrices, at first, that each new gradient "
            "improves (LODO, Liao et al. 2023). It has no weights and needs gradients alone."
        ),
        usage=_USAGE_ALONE,
        differences=(_PARITY_ALONE, _INSIDE, _OPERATOR, *_clipping(subject)),
        constants=constants(layers=subject.options["layers"], block=subject.options["block"])
        + _numbers(OPTIMIZERS["objectives.learned_optimizers.lodo:lodo"], subject),
        code=(
            definitions("steps", "networks clip_by_global_norm"),
            definitions("cells", "precision flat unflat"),
            definitions("lodo"),
        ),
        imports="import optax\n",
        standard_imports="from typing import Any, NamedTuple\n",
    )


OPTIMIZERS: dict[str, Rule] = {
    "objectives.learned_optimizers.open:open_optimizer": Rule(_open_reads, _open),
    "objectives.learned_optimizers.lodo:lodo": Rule(_lodo_reads, _lodo),
    "objectives.learned_optimizers.optim4rl:optim4rl": Rule(_optim4rl_reads, _optim4rl),
}
"""Factory to how its optimizer is written."""


def reads(spec: AlgorithmSpec, options: Mapping[str, Any]) -> Collection[str]:
    """Names of the plain numbers that the file holds."""
    return OPTIMIZERS[place_of(spec.name)].reads(options)


def write(subject: Subject, target: str) -> Text:
    """What the file says that holds the optimizer of `subject`."""
    return OPTIMIZERS[place_of(subject.spec.name)].write(subject)
