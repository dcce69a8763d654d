"""The file with a program: a function of its inputs for jax or PyTorch, or an optimizer for optax.

What the algorithm does with a program's result is added to the graph, so that it is written as the program is
(`program_functions`).
"""

import re
from collections.abc import Sequence
from typing import Any

from discovery.export import optimizers, policy_losses
from discovery.export.hosts import STANDARDIZED, Needs
from discovery.export.parts import Contents, Subject
from discovery.export.program_functions import HOSTS, JNP, NARROWER, Host, function_of
from discovery.export.specialize import StandaloneSource
from objectives.base import MetaParams
from objectives.learned_optimizers.export import CLOCK, INSIDE, PARITY, clipping, usage
from objectives.programs import steps
from objectives.programs.algorithm import slots_in
from objectives.programs.building import Builder, Number, Value
from objectives.programs.code import decode
from objectives.programs.graph import Program
from objectives.programs.guards import input_ranges, ranges_of
from objectives.programs.losses import DRIFT_LIMIT
from objectives.programs.printer import readable
from objectives.programs.slots import Input, Slot, slot_of


def write(subject: Subject, target: str) -> Contents:
    """The contents of the file with the program of a part of `subject`."""
    program, host = decode(subject.part, subject.meta_params[subject.part]), HOSTS.get(target, JNP)
    if subject.part == "optimizer":
        return _optimizer(subject, readable(program))
    program = _finished(program, subject.options["condition"])
    if subject.part == "policy_loss":
        return _policy_loss(subject, program, host, target)
    return _function_alone(subject, program, host)


def _finished(program: Program, condition: str) -> Program:
    """The program with what the algorithm makes of its results: a policy loss of a drift, lambdas in [0, 1],
    a positive factor.
    """
    made = Builder(slot_of(program.slot))
    made.nodes += program.nodes
    made.kinds += program.kinds
    results: list[Value] = [*program.outputs]
    ranges, _ = ranges_of(program, input_ranges(program, NARROWER)[1])
    if program.slot == "policy_loss" and condition == "drift":
        log_ratio = made.input("log_ratio")
        near = made.apply("clip", log_ratio, Number(-DRIFT_LIMIT), Number(DRIFT_LIMIT))
        square = made.apply("square", made.apply("expm1", near))
        drift = made.apply("multiply", made.apply("relu", results[0]), square)
        gain = made.apply("multiply", made.apply("exp", log_ratio), made.input("advantage"))
        results = [made.apply("subtract", drift, gain)]
    for k, output in enumerate(program.outputs):
        low, high = ranges[output]
        if program.slot == "trace" and (low < 0 or high > 1):
            results[k] = made.apply("clip", output, Number(0.0), Number(1.0))
        if program.slot == "schedule" and low < steps.SMALLEST_FACTOR:
            results[k] = made.apply("maximum", output, Number(steps.SMALLEST_FACTOR))
    finished = Program(program.slot, tuple(made.nodes), tuple(made.node(result) for result in results))
    return readable(finished)


def _policy_loss(subject: Subject, program: Program, host: Host, target: str) -> Contents:
    needs = Needs(subject.options["normalize_advantage"], "progress" in program.inputs)
    drift = subject.options["condition"] == "drift"
    formula = "f - r A with the drift f = relu(program) (r - 1)^2" if drift else "a program's result"
    docstring = policy_losses.DOCSTRING.format(
        formula=formula,
        elementwise="Of a whole minibatch" if program.couples_batch else "Elementwise and pure",
        normalized="standardized over the minibatch" if needs.normalize_advantage else "not normalized",
        fraction=policy_losses.FRACTION if needs.temporal else "",
    )
    first, ratio = policy_losses.CHECK.strip().splitlines(), "log_prob - old_log_prob"
    if host is not JNP:
        first = [re.sub(r"jnp\.shape\((\w+)\)", r"\1.shape", line) for line in first]
        first += [f"{name} = {name}.detach()" for name in ("old_log_prob", "advantage")]
        ratio = f"bounded({ratio})"
    is_one_number = program.kinds[program.outputs[0]] == "scalar"
    source = StandaloneSource()
    function = function_of(
        source,
        program,
        host,
        "policy_loss",
        f"log_prob, old_log_prob, advantage{', *, fraction' if needs.temporal else ''}",
        docstring,
        [*first, _log_ratio(ratio, host)],
        {"progress": "fraction"},
        f" + {host.module}.zeros_like(log_ratio)" if is_one_number else "",
    )
    source.generated(function)
    return policy_losses.contents(formula, needs, source, subject, target)


def _log_ratio(text: str, host: Host) -> str:
    return f"log_ratio = {host.clip.format(text, '-LOG_RATIO_LIMIT', 'LARGEST_EXPONENT')}"


_TITLES = {
    "loss": "a whole loss",
    "trace": "lambdas of returns",
    "advantage": "a shape of advantages",
    "schedule": "a schedule of learning rates",
}
_DESCRIPTIONS = {
    "loss": "`loss` is the whole loss per sample, to be minimized: there is no value loss and no entropy "
    "bonus to add. It wants advantages {then}.",
    "trace": "`trace` gives a lambda of the advantages and one of the value targets, for each step of a "
    "rollout.",
    "advantage": "`advantage` shapes the estimated advantages. The policy loss then uses them {then}.",
    "schedule": "`schedule` gives a factor on the learning rate, once per rollout.",
}
_USAGES = {
    "loss": """
        from THIS_FILE import loss

        advantage = ...  # {formula}, over the minibatch
        total = loss({arguments}).mean()  # minimize
    """,
    "trace": """
        from THIS_FILE import trace

        delta = reward + gamma * (1 - terminated) * next_value - value  # [T, E]
        advantage_lambda, value_lambda = trace({arguments})
        # Backwards in time, where ended is terminated or truncated:
        # advantage[t] = delta[t] + gamma * advantage_lambda[t] * (1 - ended[t]) * advantage[t + 1]
        # The target of value[t] is value[t] plus the same sum with value_lambda.
    """,
    "advantage": """
        from THIS_FILE import advantage as shape

        shaped = shape({arguments})  # [minibatch]
        advantage = ...  # {formula}, where A is shaped
    """,
    "schedule": """
        from THIS_FILE import schedule

        factor = schedule({arguments})  # after each rollout
        learning_rate = factor * LEARNING_RATE  # the recipe's, which is not annealed
    """,
}
_EXPRESSIONS = {
    "log_ratio": "log_prob - old_log_prob",
    "progress": "n / N",
    "delta_size": "abs(delta) / delta.std()",
    "delta_sign": "sign(delta)",
    "done": "ended",
}
"""How a user computes an input, if the name does not say it."""


def _function_alone(subject: Subject, program: Program, host: Host) -> Contents:
    """A function of the inputs that the program reads, with the name of its slot."""
    slot, source = slot_of(program.slot), StandaloneSource()
    inputs = [one for one in slot.inputs if one.name in program.inputs]
    standardized = subject.options["normalize_advantage"]
    words = {
        "formula": STANDARDIZED if standardized else "A, as it is",
        "then": "standardized over the minibatch" if standardized else "as they are, not normalized",
    }
    ratio = "bounded(log_ratio)" if host.makes_arrays else "log_ratio"
    function = function_of(
        source,
        program,
        host,
        slot.name,
        ", ".join(one.name for one in inputs),
        _docstring(slot, inputs, words["then"]),
        [_log_ratio(ratio, host)] if "log_ratio" in program.inputs else [],
    )
    source.generated(function)
    arguments = [f"{one.name}={_EXPRESSIONS.get(one.name, one.name)}" for one in inputs]
    listed = ", ".join(arguments)
    if len(listed) > 60:
        listed = "".join(f"\n            {each}," for each in arguments) + "\n        "
    coupled = "It reduces over the samples that it is given; training gave it one minibatch of the recipe."
    return Contents(
        title=f"{_TITLES[slot.name]} for {host.name}",
        description=_DESCRIPTIONS[slot.name].format(**words),
        usage=_USAGES[slot.name].format(arguments=listed, **words),
        differences=(coupled,) if program.couples_batch else (),
        source=source,
        declared={"NORMALIZED_ADVANTAGE": standardized} if slot.name == "loss" else {},
    )


def _docstring(slot: Slot, inputs: Sequence[Input], normalized: str) -> str:
    """What the function of a slot computes, from which inputs."""
    said = {"advantage": f"A, {normalized}"}
    listed = [
        f"    {one.name}: {said.get(one.name, one.what)}{'; a number' * (one.kind == 'scalar')}."
        for one in inputs
    ]
    arguments = ["", "Args:", *listed] if inputs else []
    results = ", ".join(slot.outputs)
    shape = "an array like those of samples" if any(one.kind == "sample" for one in inputs) else "a number"
    lines = [
        f"{slot.what[0].upper()}{slot.what[1:]}.",
        *arguments,
        "",
        "Returns:",
        f"    {results}: {shape}.",
    ]
    return "\n".join(lines)


_SIGNATURE = "gradient, parameter, means, squares, learning_rate, progress, layer"
_STEP = """What is subtracted from the parameters, all of which are one vector [n].

Args:
    gradient: [n], clipped by its norm.
    parameter: [n]; None if it is not read.
    means: running means of the gradient with decays `MEAN_DECAYS`, [k, n].
    squares: those of its square with decays `SQUARE_DECAYS`.
    learning_rate: a number.
    progress: n / N, the share of the training that has passed.
    layer: [n], 0 next to the input and 1 at the output; None if it is not read.
"""
_UNUSED = "`key` and `activations` change nothing: there is no noise, and neurons are not looked at."
_SCHEDULED = (
    "Training multiplied the learning rate by the factor of a program, once per rollout, and did not anneal "
    "it. That program is the part `schedule` of the run; here the factor is 1."
)


def _optimizer(subject: Subject, program: Program) -> Contents:
    names, source = slot_of("optimizer").names, StandaloneSource()
    means = dict(zip([name for name in names if name.startswith("mean_")], steps.MEAN_DECAYS, strict=True))
    squares = dict(zip([n for n in names if n.startswith("square_")], steps.SQUARE_DECAYS, strict=True))
    first: list[str] = []
    read: list[tuple[float, ...]] = []
    for name, decays in (("means", means), ("squares", squares)):
        own = [each for each in decays if each in program.inputs]
        first += [f"{', '.join(own)}{',' * (len(own) == 1)} = {name}"] if own else []
        read.append(tuple(decays[each] for each in own))
    step = function_of(source, program, JNP, "step", _SIGNATURE, _STEP, first)

    def found(meta_params: MetaParams) -> Any:
        return step

    others = tuple(name for name in ("parameter", "layer") if name in program.inputs)
    is_scheduled = "schedule" in slots_in(subject.options)
    if is_scheduled:
        subject = subject._replace(meta_params={**subject.meta_params, "anneal": 0.0})
    optimizers.transformation(
        subject, steps.optimizer_of(found, read[0], read[1], others), source, True, bool(others)
    )
    return Contents(
        title="an optimizer for optax",
        description=(
            "`optimizer` makes an optax.GradientTransformationExtraArgs: after a norm clip it subtracts "
            "`step`, a program's result, from the parameters."
        ),
        usage=usage("progress=progress, param_info=param_info" if others else "progress=progress"),
        differences=(
            *(PARITY, INSIDE, CLOCK, *clipping(subject)),
            *((_UNUSED,) if others else ()),
            *((_SCHEDULED,) if is_scheduled else ()),
        ),
        source=source,
    )
