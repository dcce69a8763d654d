"""A standalone file under construction: its functions, classes, constants and arrays."""

import ast
import builtins
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from discovery.core.errors import BadInput
from discovery.export.known import Constant, Expression, Generated, identity, prefix
from discovery.export.layout import definition, formatted
from discovery.export.literals import array, literal


class Written(NamedTuple):
    """A function of the file.

    Attributes:
        name: in the file.
        kept: its remaining parameters.
        symbols: keyword arguments that it has besides them.
    """

    name: str
    kept: tuple[str, ...]
    symbols: frozenset[str]


class Source(ABC):
    """The source written so far; `specialize.StandaloneSource` writes functions and classes.

    Attributes:
        numbers: constants by name, as source.
        used: each `known.Constant` that functions read, by name.
    """

    def __init__(self) -> None:
        self.numbers: dict[str, str] = {}
        self.used: dict[str, Constant] = {}
        self._definitions: list[str] = []
        self._written: dict[Any, Written] = {}
        self._names: dict[str, Any] = dict.fromkeys((*dir(builtins), *IMPORTS), "Python's")
        self._open: list[Any] = []

    @property
    def definitions(self) -> str:
        """Source of all functions and classes, each after those that it uses."""
        return formatted("\n\n\n".join(self._definitions))

    @property
    def weights(self) -> str:
        """Source of all arrays, and of the trees that hold them."""
        arrays: dict[str, str] = {}
        trees = []
        for constant in self.used.values():
            if isinstance(constant.value, np.ndarray):
                arrays[constant.name] = array(constant.name, constant.value)
            elif constant.name not in self.numbers:
                trees.append(f"{constant.name} = {_tree(constant.value, constant.name, arrays)}\n")
        return "\n".join([*arrays.values(), *trees])

    @abstractmethod
    def scope(self, made: Any, known: Mapping[str, Any]) -> Any:
        """What rewrites a function or a class: a `specialize.Scope`."""

    def function(
        self,
        function: Callable[..., Any],
        known: Mapping[str, Any],
        name: str = "",
        docstring: str = "",
        first: str = "",
        as_value: bool = False,
    ) -> Written:
        """Write a function, unless it is already written.

        Args:
            function: a Python function; an inner one includes its closure.
            known: values of parameters: see `known`, or values needed only while writing (functions, flags,
                named tuples and dictionaries of these).
            name: in the file; by default its name without underscores.
            docstring: replaces the function's.
            first: source of statements before the function's.
            as_value: it is passed as a value and not called, so it keeps all its parameters.

        Raises:
            BadInput: it uses something that no file can name.
        """
        key = (identity(function), tuple(sorted((k, identity(v)) for k, v in known.items())), as_value)
        if key in self._open:
            raise BadInput(f"{function.__qualname__} is recursive, so it cannot be exported")
        if key not in self._written:
            self._open.append(key)
            name = self._name(name or function.__name__.lstrip("_"), key)
            scope = self.scope(function, known)
            self._written[key], tree = scope.function(name, docstring, first, as_value)
            self._definitions.append(definition(tree))
            self._open.remove(key)
        return self._written[key]

    def klass(self, made: type) -> str:
        """Write a class, unless it is already written; returns its name."""
        key = identity(made)
        if key not in self._written:
            name = self._name(made.__name__.lstrip("_"), key)
            self._written[key] = Written(name, (), frozenset())
            self._definitions.append(definition(self.scope(made, {}).klass(name)))
        return self._written[key].name

    def generated(self, function: Generated) -> str:
        """Write a generated function, unless it is already written; returns its name."""
        key = identity(function)
        if key not in self._written:
            name = self._name(function.name, key)
            self._written[key] = Written(name, (), frozenset())
            self._definitions.append(function.source)
        return self._written[key].name

    def constant(self, constant: Constant | Expression) -> str:
        """The name of a constant that the file will have."""
        if isinstance(constant, Expression):
            source = constant.source
        elif np.isscalar(constant.value) or type(constant.value) is tuple:
            source = literal(constant.value)
            self.used[constant.name] = constant
        else:
            self.used[constant.name] = constant
            return constant.name
        name = self._name(constant.name, ("number", source))
        self.numbers[name] = source
        return name

    def library(self, value: Any) -> str:
        """The path of a library's function: ``jnp.tanh``.

        Raises:
            BadInput: a file cannot name it.
        """
        for alias, module in (("jnp", jnp), ("jax.nn", jax.nn), ("jax.lax", jax.lax), ("optax", optax)):
            for name in dir(module):
                if not name.startswith("_") and getattr(module, name, None) is value:
                    return f"{alias}.{name}"
        raise BadInput(
            f"the algorithm uses {value!r}, which an exported file cannot name: it may use functions of jax, "
            "numpy and optax, and functions, classes, numbers and texts of its own modules"
        )

    def _name(self, wanted: str, owner: Any) -> str:
        """A free name in the file: the wanted one, or the same with a number."""
        name, count = wanted, 1
        while self._names.setdefault(name, owner) != owner:
            count += 1
            name = f"{wanted}_{count}"
        return name


def _tree(value: Any, name: str, arrays: dict[str, str], indent: str = "") -> str:
    """Nested dictionaries and sequences; their arrays go to `arrays`, each named by its path."""
    inner = indent + "    "
    if isinstance(value, Mapping):
        members = {key: f"{literal(key)}: " for key in value}
    elif isinstance(value, tuple | list):
        members = dict.fromkeys(range(len(value)), "")
    else:
        arrays[name] = array(name, np.asarray(value))
        return name
    opening, closing = "{}" if isinstance(value, Mapping) else "[]" if isinstance(value, list) else "()"
    lines = [
        f"{inner}{start}{_tree(value[key], f'{prefix(name, value)}{key}'.upper(), arrays, inner)},\n"
        for key, start in members.items()
    ]
    return opening + "\n" + "".join(lines) + indent + closing


IMPORTS = {
    "Any": "from typing import Any",
    "NamedTuple": "from typing import NamedTuple",
    "base64": "import base64",
    "functools": "import functools",
    "jax": "import jax",
    "jnp": "import jax.numpy as jnp",
    "math": "import math",
    "np": "import numpy as np",
    "optax": "import optax",
    "re": "import re",
    "rejax": "import rejax",
    "torch": "import torch",
}
"""Import lines by the library names in a file."""


def imports(source: str) -> str:
    """The import lines that a file needs for the names that it uses.

    Raises:
        BadInput: a name that no file can have.
    """
    nodes = list(ast.walk(ast.parse(source)))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)} | set(dir(builtins))
    used = {node.id for node in nodes if isinstance(node, ast.Name)} - bound
    if strange := sorted(used - set(IMPORTS)):
        raise BadInput(
            f"the algorithm uses {', '.join(strange)}, which an exported file cannot import: it may use jax, "
            "numpy and optax, and functions, classes, numbers and texts of its own modules"
        )
    typing = sorted({"Any", "NamedTuple"} & used)
    standard = [IMPORTS[name] for name in ("base64", "functools", "math", "re") if name in used]
    standard += [f"from typing import {', '.join(typing)}"] if typing else []
    others = [IMPORTS[name] for name in ("jax", "jnp", "np", "optax", "rejax", "torch") if name in used]
    return "\n\n".join("\n".join(group) for group in (standard, others) if group) + "\n"
