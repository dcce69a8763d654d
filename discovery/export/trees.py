"""Questions about the syntax trees of functions."""

import ast
import inspect
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from discovery.core.errors import BadInput
from discovery.export.known import Constant


class Default(NamedTuple):
    """An argument that is not given."""

    value: Any


def definition(made: Any) -> Any:
    """The tree of a function or a class.

    Raises:
        BadInput: its source is not known.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(made))).body[0]
    except (OSError, TypeError, SyntaxError):
        tree = None
    decorated = hasattr(made, "__wrapped__") and getattr(tree, "decorator_list", ())
    if decorated or not isinstance(tree, ast.FunctionDef | ast.ClassDef):
        raise BadInput(
            f"{made.__module__}.{made.__qualname__} cannot be exported: a file is made of functions and "
            "classes that a module defines by `def` and `class`, not decorated, whose source Python can find"
        )
    return tree


def parameters(arguments: ast.arguments) -> list[str]:
    """Names of all parameters."""
    others = [each for each in (arguments.vararg, arguments.kwarg) if each]
    return [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *others)]


def assigned(tree: ast.AST) -> Counter[str]:
    """How often each variable of a function is assigned, not counting functions and comprehensions inside."""
    found: Counter[str] = Counter()
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.ListComp | ast.GeneratorExp | ast.DictComp | ast.SetComp):
            continue
        if isinstance(child, ast.FunctionDef):
            found[child.name] += 1
            continue
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            found[child.id] += 1
        found += assigned(child)
    return found


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements after a docstring."""
    first = body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if documented else body


def documented(docstring: str, body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements after this docstring, which may be empty."""
    return [ast.Expr(ast.Constant(docstring)), *body] if docstring else body


def bound(function: Any, call: ast.Call) -> dict[str, Any]:
    """Parameter to its argument in a call, an expression or a `Default`."""
    signature = inspect.signature(function)
    given = signature.bind(*call.args, **{str(keyword.arg): keyword.value for keyword in call.keywords})
    return {
        name: given.arguments.get(name, Default(parameter.default))
        for name, parameter in signature.parameters.items()
    }


def expression_of(module: str, name: str) -> str:
    """The expression that a module assigns to one of its names.

    Raises:
        BadInput: it does not assign the name.
    """
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.unparse(node.value)
    raise BadInput(f"array {name} of {module} cannot be exported: that module does not assign it")


def trimmed(docstring: str, dropped: Collection[str], known: Mapping[str, Any]) -> str:
    """A docstring without the sentence on entries of `meta_params`, and without removed parameters.

    Parameters that are constants of the file are named as such.
    """
    for name, value in known.items():
        if isinstance(value, Constant):
            docstring = re.sub(rf"`{name}\b", f"`{value.name}", docstring)
    docstring = re.sub(r'\s*\bReads "[^.]*\.', "", docstring)
    for name in dropped:
        docstring = re.sub(rf"\n( +){name}: .*(\n\1 +.*)*", "", docstring)
    docstring = re.sub(r"\nArgs:(?=\n\n|\n*$)", "", docstring)
    return re.sub(r"\n{3,}", "\n\n", docstring.replace("``", "`")).strip()
