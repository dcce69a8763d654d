"""Texts for the exported file of a learned optimizer, and the inputs that its rule needs."""

from typing import Any

from objectives.family import Export
from objectives.learned_optimizers.features import DECAYS, RAW, chosen

_USAGE = """
    from THIS_FILE import optimizer

    tx = optimizer({arguments})
    state = tx.init(params)
    updates, state = tx.update(gradients, state, params)  # alone, or with all optional inputs:
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

PARITY = (
    "It computes what was trained, up to rounding, only with all extra arguments and with one tree of "
    "actor and critic together. What follows is what differs without."
)
_PARITY_ALONE = PARITY.replace("with all extra arguments and ", "")
INSIDE = (
    "Clipping and step size are part of it, with the numbers below. Put no clipping, learning rate or "
    "schedule around it."
)
CLOCK = (
    "Without `progress` it counts its own updates, in rollouts of n_epochs * n_minibatches; without "
    "`total_steps` it does not know how much of the training has passed, which then stays 0."
)
_MEAN = (
    "Where actor and critic are two trees with an optimizer each, each tree's own mean is subtracted from "
    "its steps. Training used the mean over both."
)
_OPEN = (
    "Without `activations`, or for layers that they leave out, dormancy is 1.",
    "Without `param_info` a parameter's layer is found from the tree: its names in natural order, each "
    "array beside layers as a layer after them (`describe`). Training had layers in order of depth, "
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
    "Neither do `progress`, `total_steps`, `n_epochs` and `n_minibatches`: it does not know how much of the "
    "training has passed."
)
_NETWORKS = (
    "Gradients are clipped by each network's own norm. The networks of a tree are its outermost branches "
    "if all of them have branches themselves, else the tree is one (`networks`)."
)
_OPERATOR = (
    "Where actor and critic are two trees with an optimizer each, each has its own M, which couples "
    "that tree's parameters alone. Training used one M over all parameters of actor and critic."
)
_TREES = (
    "Where actor and critic are two trees with an optimizer each, gradients are clipped by each tree's norm."
)


def usage(extra: str) -> str:
    """Code that uses an optimizer which these extra arguments of its update tell more."""
    return _USAGE.format(arguments=_TIME, extra=extra)


def clipping(subject: Any) -> tuple[str, ...]:
    """How norms of gradients are clipped."""
    return (_NETWORKS,) if subject.meta_params["clip_by_torso"] else (_TREES,)


def _open(subject: Any) -> dict[str, Any]:
    anchored, raw = subject.options["anchored"], subject.options["features"] == RAW
    formula = "c o_0 exp(c o_1)" if raw else "c o_0 exp(c o_1) + c o_2 noise"
    count = len(DECAYS) + 2 if raw else len(chosen(subject.options["features"]))
    told = "its value, momenta and gradient" if raw else f"{count} features of it"
    what = "Adam's step, and on top of it the learned one" if anchored else "the learned step"
    source = "OPEN's form without its features, Goldie et al. 2025" if raw else "OPEN, Goldie et al. 2024"
    return {
        "description": (
            f"{what}, -(u - mean(u)) with u = {formula}, where a small network gives o for every parameter "
            f"from {told} ({source})."
        ),
        "usage": usage("progress=progress" if raw else _CONTEXT) if anchored or not raw else _USAGE_ALONE,
        "differences": (*_open_differences(raw, anchored), *clipping(subject)),
    }


def _open_differences(raw: bool, anchored: bool) -> tuple[str, ...]:
    if not raw:
        return (PARITY, INSIDE, CLOCK, *_OPEN)
    if anchored:
        return (PARITY, INSIDE, CLOCK, _RAW, _MEAN)
    return (_PARITY_ALONE, INSIDE, _RAW, _TIMELESS, _MEAN)


def _optim4rl(subject: Any) -> dict[str, Any]:
    return {
        "description": (
            "sign(g) exp(o_1(g)) / sqrt(exp(o_2(g^2)) + 1e-8) times an annealed learning rate, where two "
            "recurrent units give o_1 and o_2 for every parameter (Optim4RL, Lan et al. 2024)."
        ),
        "usage": usage("progress=progress"),
        "differences": (PARITY, INSIDE, CLOCK),
    }


def _lodo(subject: Any) -> dict[str, Any]:
    return {
        "description": (
            "-alpha M^T M m, with m the momentum and M a product of sparse matrices, orthogonal at first, "
            "that each new gradient improves (LODO, Liao et al. 2023). It has no weights and needs gradients "
            "alone. Its state has some 6 h LAYERS BLOCK numbers, h about twice the number of parameters."
        ),
        "usage": _USAGE_ALONE,
        "differences": (_PARITY_ALONE, INSIDE, _OPERATOR, *clipping(subject)),
    }


OPEN = Export("learned optimizer", _open, needs_progress=True, needs_context=True)
OPTIM4RL = Export("learned optimizer", _optim4rl, needs_progress=True)
LODO = Export("learned optimizer", _lodo)
