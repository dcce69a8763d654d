"""The file with a learned optimizer: a factory of an optax transformation, for any loop that uses optax."""

import inspect
from typing import Any

from discovery.export.known import constants
from discovery.export.parts import Contents, Subject
from discovery.export.specialize import StandaloneSource
from objectives import family_of
from objectives.family import load

_ALONE = """\
It needs gradients alone, each at the new point and of a fresh minibatch, and ignores extra arguments.
"""
_WITH_PROGRESS = """\
Its update takes one extra argument, `progress`, which is (n, N, e, E), see `Progress`; without it, the
number of updates made tells the time. Numbers that no training has are a ValueError.
"""
_WITH_CONTEXT = """\
Its update needs `params`. What else it needs, it takes from these extra arguments, or else from defaults:

    key            for this step's noise; else made of `seed` and the number of updates made
    progress       (n, N, e, E), see `Progress`; else from that number and the arguments below
    activations    a tree like the parameters', with one array [..., H] in place of each layer: what its
                   neurons say in this minibatch, after the nonlinearity; else, and for layers that it
                   leaves out, every neuron counts as equally active (dormancy 1)
    param_info     a tree like the parameters', of `ParamInfo`; else the argument below

Numbers that no training has, missing parameters, and activations that do not fit are a ValueError.
"""


def write(subject: Subject, target: str) -> Contents:
    """The contents of the file with the optimizer of `subject`."""
    own = load(family_of(subject.spec.name).export)
    said, rule = own.about(subject), subject.algorithm.optimizer.steps
    source = StandaloneSource()
    transformation(subject, rule, source, own.needs_progress, own.needs_context)
    made = "`optimizer` makes an optax.GradientTransformationExtraArgs: "
    alone = "an optimizer for optax that learns while it runs"
    title = "a learned optimizer for optax" if own.needs_progress else alone
    return Contents(title=title, source=source, **{**said, "description": made + said["description"]})


def transformation(
    subject: Subject, rule: Any, source: StandaloneSource, needs_progress: bool, needs_context: bool
) -> None:
    """Write a factory of an optax transformation.

    Args:
        subject: what is exported.
        rule: ``meta_params -> transformation`` for our training loop.
        source: of the file.
        needs_progress: see `objectives.family.Export`.
        needs_context: likewise.
    """
    from discovery.export import optax_host

    known: dict[str, Any] = {"meta_params": constants(subject.meta_params)}
    source.function(rule, known, "learned_rule")
    known |= {"rule": rule, "needs_progress": needs_progress, "needs_context": needs_context}
    extra = _WITH_CONTEXT if needs_context else _WITH_PROGRESS if needs_progress else _ALONE
    docstring = (inspect.getdoc(optax_host.optimizer) or "").replace("\n\n", f"\n\n{extra}\n", 1)
    source.function(optax_host.optimizer, known, docstring=docstring)
    counts = {name.upper(): str(subject.recipe.get(name, 1)) for name in ("n_epochs", "n_minibatches")}
    source.numbers |= {name: value for name, value in counts.items() if name in source.numbers}
