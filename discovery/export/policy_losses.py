"""The file with an elementwise policy loss: the objective's own functions, and the adapter of a host."""

from types import SimpleNamespace
from typing import Any

from discovery.export.hosts import ADAPTERS, Needs
from discovery.export.known import Symbol, constants
from discovery.export.parts import Contents, Subject
from discovery.export.specialize import StandaloneSource

DOCSTRING = """The loss of each sample, to be minimized: {formula}.

{elementwise}: no mean, no normalization, no state. It computes in the dtype it is given,
float32 at least.

Args:
    log_prob: log-probability of the actions under the policy being trained, of any shape.
    old_log_prob: the same under the policy that acted.
    advantage: same shape, {normalized}.
{fraction}
Returns:
    the loss, of the same shape.
"""

FRACTION = """\
    fraction: share of the training that has passed, n / N with n = 0 .. N - 1 the rollouts learned
        from before this one and N those of the whole training; a scalar, or the same shape.
"""

CHECK = """
if not jnp.shape(log_prob) == jnp.shape(old_log_prob) == jnp.shape(advantage):
    shapes = f"{jnp.shape(log_prob)}, {jnp.shape(old_log_prob)}, {jnp.shape(advantage)}"
    raise ValueError(f"log_prob, old_log_prob and advantage must have one shape, got {shapes}")
"""


def write(subject: Subject, target: str) -> Contents:
    """The contents of the file with the policy loss of `subject`, for the host `target`."""
    loss = subject.algorithm.policy_loss
    formula = (loss.per_sample.__doc__ or "as below").strip().removesuffix(".")
    progress = SimpleNamespace(fraction=Symbol("fraction"))
    known: Any = {"meta_params": constants(subject.meta_params), "progress": progress}
    draft = StandaloneSource().function(loss.per_sample, known)
    needs = Needs(loss.normalize_advantage, bool(draft.symbols))
    normalized = "standardized over the minibatch" if needs.normalize_advantage else "not normalized"
    source = StandaloneSource()
    source.function(
        loss.per_sample,
        known,
        "policy_loss",
        DOCSTRING.format(
            formula=formula,
            elementwise="Elementwise and pure",
            normalized=normalized,
            fraction=FRACTION if needs.temporal else "",
        ),
        CHECK,
        as_value=True,
    )
    return contents(formula, needs, source, subject, target)


def contents(formula: str, needs: Needs, source: Any, subject: Subject, target: str) -> Contents:
    """The contents of the file whose `source` defines the policy loss."""
    adapter = ADAPTERS[target](needs, subject.recipe)
    wants = [
        "standardized advantages" if needs.normalize_advantage else "advantages as they are, not normalized",
        *(["the share of the training that has passed, `fraction`"] if needs.temporal else []),
    ]
    return Contents(
        title=f"a policy loss for {adapter.host}",
        description=(
            f"`policy_loss` is {formula}, per sample, to be minimized. It wants {' and '.join(wants)}."
        ),
        usage=adapter.usage,
        differences=adapter.differences,
        source=source,
        declared={"NORMALIZED_ADVANTAGE": needs.normalize_advantage, "NEEDS_PROGRESS": needs.temporal},
        adapter=adapter.code,
    )
