"""The file with a learned optimizer: a factory of an optax transformation, for any loop that uses optax."""

import inspect
from typing import Any

from discovery.export.known import constants
from discovery.export.parts import Contents, Subject
from discovery.export.source import Source
from objectives import FACTORIES

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


_ALONE = """\
It needs gradients alone, each at the new point and of a fresh minibatch, and ignores extra arguments.
"""
_TIMED = """\
Its update takes one extra argument, `progress`, which is (n, N, e, E), see `Progress`; without it, the
number of updates made tells the time. Numbers that no training has are a ValueError.
"""
_TOLD = """\
Its update needs `params`. What else it needs, it takes from these extra arguments, or else from defaults:

    key            for this step's noise; else made of `seed` and the number of updates made
    progress       (n, N, e, E), see `Progress`; else from that number and the arguments below
    activations    a tree like the parameters', with one array [..., H] in place of each layer: what its
                   neurons say in this minibatch, after the nonlinearity; else, and for layers that it
                   leaves out, every neuron counts as equally active (dormancy 1)
    param_info     a tree like the parameters', of `ParamInfo`; else the argument below

Numbers that no training has, missing parameters, and activations that do not fit are a ValueError.
"""


def _usage(extra: str) -> str:
    return _USAGE.format(arguments=_TIME, extra=extra)


def _clipping(subject: Subject) -> tuple[str, ...]:
    return (_NETWORKS,) if subject.meta_params["clip_by_torso"] else (_TREES,)


def _open(subject: Subject) -> dict[str, Any]:
    from objectives.optimizer_features import DECAYS, RAW, chosen

    anchored, raw = subject.options["anchored"], subject.options["features"] == RAW
    formula = "c o_0 exp(c o_1)" if raw else "c o_0 exp(c o_1) + c o_2 noise"
    count = len(DECAYS) + 2 if raw else len(chosen(subject.options["features"]))
    told = "its value, momenta and gradient" if raw else f"{count} features of it"
    what = "Adam's step, and on top of it the learned one" if anchored else "the learned step"
    source = "OPEN's form without its features, Goldie et al. 2025" if raw else "OPEN, Goldie et al. 2024"
    return {
        "description": (
            f"{what}, -(u - mean(u)) with u = {formula}, where a small network says o for every parameter "
            f"from {told} ({source})."
        ),
        "usage": _usage("progress=progress" if raw else _CONTEXT) if anchored or not raw else _USAGE_ALONE,
        "differences": (*_open_differences(raw, anchored), *_clipping(subject)),
    }


def _open_differences(raw: bool, anchored: bool) -> tuple[str, ...]:
    if not raw:
        return (_PARITY, _INSIDE, _CLOCK, *_OPEN)
    if anchored:
        return (_PARITY, _INSIDE, _CLOCK, _RAW, _MEAN)
    return (_PARITY_ALONE, _INSIDE, _RAW, _TIMELESS, _MEAN)


def _optim4rl(subject: Subject) -> dict[str, Any]:
    return {
        "description": (
            "sign(g) exp(o_1(g)) / sqrt(exp(o_2(g^2)) + 1e-8) times an annealed learning rate, where two "
            "recurrent units say o_1 and o_2 for every parameter (Optim4RL, Lan et al. 2024)."
        ),
        "usage": _usage("progress=progress"),
        "differences": (_PARITY, _INSIDE, _CLOCK),
    }


def _lodo(subject: Subject) -> dict[str, Any]:
    return {
        "description": (
            "-alpha M^T M m, with m the momentum and M a product of sparse matrices, orthogonal at first, "
            "that each new gradient improves (LODO, Liao et al. 2023). It has no weights and needs gradients "
            "alone. Its state has some 6 h LAYERS BLOCK numbers, h about twice the number of parameters."
        ),
        "usage": _USAGE_ALONE,
        "differences": (_PARITY_ALONE, _INSIDE, _OPERATOR, *_clipping(subject)),
    }


OPTIMIZERS = {
    "objectives.learned_optimizer:open_optimizer": (True, True, _open),
    "objectives.lodo:lodo": (False, False, _lodo),
    "objectives.optim4rl:optim4rl": (True, False, _optim4rl),
}
"""Factory to what its optimizer needs, see `optax_host.optimizer`: time, all else; and what a header says."""


def write(subject: Subject, target: str) -> Contents:
    """What the file says that holds the optimizer of `subject`."""
    from discovery.export import optax_host

    timed, told, about = OPTIMIZERS[FACTORIES.get(subject.spec.name, subject.spec.name)]
    known, source, said = {"meta_params": constants(subject.meta_params)}, Source(), about(subject)
    source.function(subject.algorithm.optimizer, known, "learned_rule")
    known |= {"rule": subject.algorithm.optimizer, "timed": timed, "told": told}
    extra = _TOLD if told else _TIMED if timed else _ALONE
    docstring = (inspect.getdoc(optax_host.optimizer) or "").replace("\n\n", f"\n\n{extra}\n", 1)
    source.function(optax_host.optimizer, known, docstring=docstring)
    counts = {name.upper(): str(subject.recipe.get(name, 1)) for name in ("n_epochs", "n_minibatches")}
    source.numbers |= {name: value for name, value in counts.items() if name in source.numbers}
    made = "`optimizer` makes an optax.GradientTransformationExtraArgs: "
    title = "a learned optimizer for optax" if timed else "an optimizer for optax that learns while it runs"
    return Contents(title=title, source=source, **{**said, "description": made + said["description"]})
