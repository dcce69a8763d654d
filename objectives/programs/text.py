r"""Texts of programs: functions named after their slots, as people and language models write them.

    read("def policy_loss(log_ratio, advantage):\n    return -jnp.exp(log_ratio) * advantage")
    write({"policy_loss": program})

A text is parsed and never executed; `scan` and `source` bound its size.
"""

import ast
from collections.abc import Collection, Mapping

from objectives.programs.graph import Program, ProgramError
from objectives.programs.printer import source_of
from objectives.programs.scan import tree_of
from objectives.programs.slots import SLOTS, Slot, slot_of
from objectives.programs.source import program_of


def read(text: object, slots: Collection[str] | None = None) -> dict[str, Program]:
    """The canonical programs of a text, by slot and in its order.

    Each function at the top of the text is a program for the slot of its name. If the text has one function
    with another name, it is a program for the one slot that has all its parameters, and whose result can
    depend on them as the slot demands. Constants above the functions are for all of them.

    Args:
        text: one or several functions; see `source.parse`.
        slots: the slots that programs may be for; all by default.

    Raises:
        ProgramError: the text is anything else, or does not say for which slot a function is.
        ValueError: one of `slots` does not exist.
    """
    allowed = {name: slot_of(name) for name in (SLOTS if slots is None else slots)}
    tree = tree_of(text)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if not functions:
        program_of(tree, next(iter(allowed)))  # says what is wrong
    if len(functions) == 1:
        slot = _slot_of_one(functions[0], allowed)
        return {slot: program_of(tree, slot)}
    names = [function.name for function in functions]
    for index, (name, function) in enumerate(zip(names, functions, strict=True)):
        if name not in allowed:
            message = f"of several functions each is the program of a slot, and {name} is none of these slots"
            remedy = (
                f"put helper functions inside of the function that calls them; slots: {', '.join(allowed)}"
            )
            raise ProgramError("name", message, remedy, function.lineno)
        if name in names[:index]:
            raise ProgramError("name", f"a second function {name}", "keep one of the two", function.lineno)
    return {name: program_of(_alone(tree, each), name) for name, each in zip(names, functions, strict=True)}


def write(programs: Mapping[str, Program]) -> str:
    """The programs as one text, each as a function with the name of its slot; `read` reads it.

    Raises:
        ValueError: a program is for another slot than the mapping says.
        ProgramError: a program is not well typed.
    """
    for slot, program in programs.items():
        if program.slot != slot:
            raise ValueError(f"the program of {slot} is one for {program.slot}")
    return "\n\n".join(source_of(program, slot) for slot, program in programs.items())


def _alone(tree: ast.Module, function: ast.FunctionDef) -> ast.Module:
    """The tree without the other functions."""
    kept = [node for node in tree.body if node is function or not isinstance(node, ast.FunctionDef)]
    return ast.Module(kept, tree.type_ignores)


def _slot_of_one(function: ast.FunctionDef, allowed: Mapping[str, Slot]) -> str:
    """The slot of a function that is the only one of its text."""
    if len(allowed) == 1:
        return next(iter(allowed))
    parameters, needed = _parameters(function.args)
    fitting = [
        name for name, slot in allowed.items() if needed <= {*slot.names} and not _missing(slot, parameters)
    ]
    if function.name in allowed:
        missing = _missing(allowed[function.name], parameters)
        if missing and fitting:
            message = f"a program for {function.name} has to read {missing}, and this function does not"
            remedy = f"add it to the parameters, or name the function {' or '.join(fitting)}"
            raise ProgramError("path", message, remedy, function.lineno)
        return function.name
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        message = f"the function {function.name} could be for any of the slots {', '.join(fitting)}"
        raise ProgramError("name", message, "give it the name of one of these", function.lineno)
    message = f"no slot has all the inputs {', '.join(sorted(needed))}" if needed else "no slot fits"
    nearest = max(allowed.values(), key=lambda slot: len(needed & {*slot.names}))
    remedy = f"write def {nearest.name}({', '.join(nearest.names)}): ..."
    others = ", ".join(name for name in allowed if name != nearest.name)
    raise ProgramError("name", message, f"{remedy}, or name it after {others}", function.lineno)


def _parameters(given: ast.arguments) -> tuple[set[str], set[str]]:
    """Names of all parameters, and of those without a default, which must be inputs."""
    names = [one.arg for one in given.args]
    return {*names}, {*names[: len(names) - len(given.defaults)]}


def _missing(slot: Slot, parameters: set[str]) -> str:
    """Inputs of which the result has to depend on one, and which are no parameters; "" if there are none."""
    return next((" or ".join(names) for names in slot.reaches if not parameters & {*names}), "")
