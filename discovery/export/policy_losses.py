"""The file with an elementwise policy loss: a kernel, and the adapter of a host."""

from collections.abc import Collection, Mapping
from typing import Any

from discovery.core.jobs import AlgorithmSpec
from discovery.export.hosts import ADAPTERS, Needs
from discovery.export.kernels import kernel_of
from discovery.export.source import Subject, Text


def reads(spec: AlgorithmSpec, options: Mapping[str, Any]) -> Collection[str]:
    """Names of the plain numbers that the file holds."""
    from discovery.results.objective import numbers_read  # jax starts here

    return numbers_read(spec)


def write(subject: Subject, target: str) -> Text:
    """What the file says that holds the policy loss of `subject`, for the host `target`."""
    make = kernel_of(subject.spec.name)
    assert make, "a member has a kernel"
    kernel = make(subject.options, subject.numbers, subject.entries)
    needs = Needs(subject.algorithm.policy_loss.normalize_advantage, kernel.temporal)
    adapter = ADAPTERS[target](needs, subject.recipe)
    wants = [
        "standardized advantages" if needs.normalize_advantage else "advantages as they are, not normalized",
        *(["the share of the training that has passed, `fraction`"] if needs.temporal else []),
    ]
    return Text(
        title=f"a policy loss for {adapter.host}",
        description=(
            f"`policy_loss` is {kernel.formula}, per sample, to be minimized. It wants {' and '.join(wants)}."
        ),
        usage=adapter.usage,
        differences=adapter.differences,
        constants=(
            f"NORMALIZED_ADVANTAGE = {needs.normalize_advantage}\nNEEDS_PROGRESS = {needs.temporal}\n"
            f"{kernel.constants}"
        ),
        code=(kernel.functions(needs.normalize_advantage), adapter.code, kernel.weights),
        imports=adapter.imports,
        standard_imports=adapter.standard_imports,
    )
