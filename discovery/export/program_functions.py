"""Functions of programs as text, for a host: without an interpreter, guarded where it is needed.

    function = function_of(source, readable(program), JNP, "loss", "log_ratio, value", "What it is.")

Operations are written as `objectives.programs.spellings` says, and `objectives.programs.guards` finds the
guards. Of jax, the guarded functions are the interpreter's own primitives.
"""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from discovery.export.known import Constant, Generated
from discovery.export.layout import definition
from discovery.export.specialize import StandaloneSource
from discovery.export.torch_functions import TORCH_FUNCTIONS
from objectives.known import LOG_RATIO_LIMIT
from objectives.programs import guards, primitives
from objectives.programs.graph import Program
from objectives.programs.guards import Range, guards_of
from objectives.programs.primitives import PRIMITIVES
from objectives.programs.printer import body_of
from objectives.programs.slots import slot_of
from objectives.programs.spellings import JAX, TORCH, Spelling

NARROWER: Mapping[str, Range] = {"log_ratio": (-LOG_RATIO_LIMIT, primitives.LARGEST_EXPONENT)}
"""Ranges to which files clip inputs, beside +-`BOUND`. The interpreter's ratio has no larger logarithm."""
BY = {"policy_loss": ("log_ratio",), "loss": ("log_ratio", "value", "entropy", "log_prob")}
"""The inputs by which a training differentiates a program."""
CONSTANTS = {
    "LOG_RATIO_LIMIT": LOG_RATIO_LIMIT,
    "STEEPEST": guards.STEEPEST,
    **{name: getattr(primitives, name) for name in ("BOUND", "SMALL", "TINY", "LARGEST_EXPONENT")},
}
"""Numbers of files by name."""


class Host(NamedTuple):
    """What a function is written for.

    Attributes:
        name: of the host.
        module: whose functions it calls.
        spelling: of operations.
        clip: a value between two numbers.
        makes_arrays: whether inputs become arrays by `bounded`.
        function: ``(source, name)``: writes the guarded form of a primitive, `bounded` or `clipped_gradient`.
    """

    name: str
    module: str
    spelling: Spelling
    clip: str
    makes_arrays: bool
    function: Callable[[StandaloneSource, str], Any]


_CLIPPED_GRADIENT = '''
@jax.custom_vjp
def clipped_gradient(x):
    """x, whose gradient is clipped to +-`STEEPEST`."""
    return x


clipped_gradient.defvjp(lambda x: (x, None), lambda _, g: (jnp.clip(g, -STEEPEST, STEEPEST),))
'''


def _jax_function(source: StandaloneSource, name: str) -> None:
    """Its Python source is that of the interpreter's primitive."""
    own = {"bounded": primitives.bounded, "std": primitives.std}
    if name == "clipped_gradient":
        _write_text(source, name, _CLIPPED_GRADIENT)
    else:
        source.function(own.get(name) or PRIMITIVES[name].value, {})


def _torch_function(source: StandaloneSource, name: str) -> None:
    if name != "bounded":
        _torch_function(source, "bounded")
    _write_text(source, name, TORCH_FUNCTIONS[name])


def _write_text(source: StandaloneSource, name: str, text: str) -> None:
    _add_constants(source, text)
    source.generated(Generated(name, text.strip()))


def _add_constants(source: StandaloneSource, text: str) -> None:
    for name, value in CONSTANTS.items():
        if re.search(rf"\b{name}\b", text):
            source.constant(Constant(name, value))


JNP = Host("jax and numpy", "jnp", JAX, "jnp.clip({}, {}, {})", False, _jax_function)
HOSTS = {"torch": Host("PyTorch", "torch", TORCH, "torch.clamp({}, {}, {})", True, _torch_function)}
"""Hosts of the formats that are not for jax."""


def function_of(
    source: StandaloneSource,
    program: Program,
    host: Host,
    name: str,
    signature: str,
    docstring: str,
    first: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    also: str = "",
) -> Generated:
    """The function of a program; what it needs is written to `source`.

    Args:
        source: of the file.
        program: a readable one.
        host: for which it is written.
        name: of the function.
        signature: its parameters.
        docstring: of it.
        first: statements that define inputs which are no parameters.
        names: of inputs, if these are not their own.
        also: what follows the result.
    """
    names, needed = names or {}, guards_of(program, NARROWER, BY.get(program.slot, ()))
    body = body_of(program, host.spelling, needed, names, {"bounded", "clipped_gradient", name, *PRIMITIVES})
    clipped = [
        names.get(one.name, one.name)
        for one in slot_of(program.slot).inputs
        if one.name in program.inputs
        and one.name not in NARROWER
        and (host.makes_arrays or max(-one.low, one.high) > primitives.BOUND)
    ]
    first = [*first, *_bounded(clipped)]
    functions = {program.nodes[index].operation for index in needed.functions}
    functions |= {function for function, indices in needed.around if indices}
    functions |= {"bounded"} if any("bounded(" in line for line in first) else set()
    for function in sorted(functions):
        host.function(source, function)
    returned = f"return {', '.join(body.results)}{also}"
    lines = [*first, *(line.strip() for line in body.lines), returned]
    text = "\n    ".join([f"def {name}({signature}):", repr(docstring), *lines])
    _add_constants(source, text)
    tree: Any = ast.parse(text).body[0]
    return Generated(name, definition(tree))


def _bounded(names: Sequence[str]) -> list[str]:
    """The statement that clips inputs."""
    if len(names) < 2:
        return [f"{name} = bounded({name})" for name in names]
    return [f"{', '.join(names)} = (bounded(x) for x in ({', '.join(names)}))"]
