"""Expressions of a function that is written into a file: their known values, and how they are rewritten."""

import ast
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FunctionType, ModuleType
from typing import Any, Self

import numpy as np

from discovery.export import trees
from discovery.export.known import (
    Constant,
    Expression,
    Generated,
    Symbol,
    Unknown,
    attribute,
    compared,
    in_library,
    is_ours,
    item,
    length,
    truth,
)
from discovery.export.literals import literal
from discovery.export.source import Source


class Expressions(ast.NodeTransformer):
    """The names of one function or class, and their meaning.

    Attributes:
        known: values of variables whose value is known.
        locals: the other variables.
        outer: meaning of names outside the function.
        symbols: names of each `Symbol` that it needs.
    """

    def __init__(self, source: Source, made: Any, known: Mapping[str, Any]) -> None:
        self.source, self.tree = source, trees.definition(made)
        made = inspect.unwrap(made)  # of type checks, which an import hook may have added
        self.known: dict[str, Any] = dict(known)
        self.symbols: set[str] = set()
        self.outer: dict[str, Any] = dict(vars(inspect.getmodule(made)))
        self.assigned, self.locals = trees.assigned(self.tree), set[str]()
        if isinstance(made, FunctionType):
            cells = zip(made.__code__.co_freevars, made.__closure__ or (), strict=True)
            self.outer |= {name: cell.cell_contents for name, cell in cells}
            self.locals = {*trees.parameters(self.tree.args), *self.assigned} - set(known)

    @contextmanager
    def _inside(self, names: set[str]) -> Iterator[None]:
        """Within this context, these names are variables, regardless of their meaning outside."""
        known, local = self.known, self.locals
        self.known = {name: value for name, value in known.items() if name not in names}
        self.locals = local | names
        yield
        self.known, self.locals = known, local

    def value(self, node: ast.expr) -> Any:
        """The known value of an expression.

        Raises:
            Unknown: it is not known.
        """
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self._named(node.id)
            case ast.Attribute():
                return attribute(self.value(node.value), node.attr)
            case ast.Subscript(slice=ast.Constant(value=key)):
                return item(self.value(node.value), key)
            case ast.Tuple():
                return tuple(self.value(each) for each in node.elts)
            case ast.UnaryOp(op=ast.Not()):
                return not truth(self.value(node.operand))
            case ast.BoolOp():
                return self._decided(node)
            case ast.Compare(ops=[operator], comparators=[right]):
                return compared(operator, self.value(node.left), self.value(right))
            case ast.IfExp():
                return self.value(node.body if truth(self.value(node.test)) else node.orelse)
            case ast.Call(func=ast.Name(id="len"), args=[sized]):
                return length(self.value(sized))
            case ast.Call():
                return self._picked(node)
        raise Unknown

    def _named(self, name: str) -> Any:
        if name in self.known:
            return self.known[name]
        if name in self.locals or name not in self.outer:
            raise Unknown
        value = self.outer[name]
        if isinstance(value, np.ndarray):
            return Expression(name.lstrip("_"), trees.expression_of(self.outer["__name__"], name))
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return Constant(name.upper().lstrip("_"), value) if is_number else value

    def _decided(self, node: ast.BoolOp) -> Any:
        """The value of `and` and `or`; the first operands may decide it."""
        for each in node.values:
            value = self.value(each)
            if truth(value) is isinstance(node.op, ast.Or):
                break
        return value

    def _picked(self, node: ast.Call) -> Any:
        """The value of a call whose function only returns a known value: ``return meta_params["eta"]``."""
        function = self.value(node.func)
        if not is_ours(function) or _is_starred(node):
            raise Unknown
        inner: Self = type(self)(self.source, function, self._arguments_known(trees.bound(function, node)))
        match trees.without_docstring(inner.tree.body):
            case [ast.Return(value=ast.expr() as result)]:
                return inner.value(result)
        raise Unknown

    # Rewriting

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A variable, or its known value."""
        return self._replaced(node, node.id)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """An attribute, or its value; those of a library keep their name."""
        module = self._value_or_none(node.value)
        if isinstance(module, ModuleType) and in_library(module.__name__):
            return self._visited(node)
        return self._replaced(node, node.attr)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """An item, or its value."""
        return self._replaced(node, "")

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        """A conditional expression, or the chosen branch."""
        try:
            return self.visit(node.body if truth(self.value(node.test)) else node.orelse)
        except Unknown:
            return self._visited(node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        """A lambda."""
        node.args.defaults = [self.visit(each) for each in node.args.defaults]
        with self._inside(set(trees.parameters(node.args))):
            node.body = self.visit(node.body)
        return node

    def _comprehension(self, node: Any) -> Any:
        targets = [part for each in node.generators for part in ast.walk(each.target)]
        with self._inside({part.id for part in targets if isinstance(part, ast.Name)}):
            return self.generic_visit(node)

    visit_ListComp = visit_GeneratorExp = visit_DictComp = visit_SetComp = _comprehension

    def _visited(self, node: Any) -> Any:
        return self.generic_visit(node)

    def _replaced(self, node: Any, hint: str) -> ast.expr:
        if not isinstance(node.ctx, ast.Load):
            return self._visited(node)
        try:
            written = self._reference(self.value(node), hint)
        except Unknown:
            written = None
        return self._visited(node) if written is None else written

    def _reference(self, value: Any, hint: str) -> ast.expr | None:
        """The expression for a known value; None for names that are valid in the file too: ``jnp.exp``,
        ``len``.

        Args:
            value: the known value.
            hint: its name here, from which a constant could be named; "" for none.
        """
        if isinstance(value, Constant | Expression):
            return ast.Name(self.source.constant(value), ast.Load())
        if isinstance(value, Generated):
            return _of_file(self.source.generated(value))
        if isinstance(value, Symbol):
            self.symbols.add(value.name)
            return ast.Name(value.name, ast.Load())
        if is_ours(value):
            return _of_file(self.source.function(value, {}, as_value=True).name)
        if isinstance(value, type) and not in_library(value.__module__):
            return _of_file(self.source.klass(value))
        if value is None or isinstance(value, bool | str) or (isinstance(value, tuple) and not value):
            return ast.parse(literal(value), mode="eval").body
        if hint and type(value) in (int, float, tuple):
            return ast.Name(self.source.constant(Constant(hint.upper().lstrip("_"), value)), ast.Load())
        is_function = callable(value) and not isinstance(value, ModuleType)
        if is_function and hint in self.outer and value.__module__ not in ("typing", "functools", "math"):
            return ast.parse(self.source.library(value), mode="eval").body
        return None

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """A call, with the remaining arguments for functions in the file; or its value."""
        try:
            written = self._reference(self.value(node), "")
        except Unknown:
            written = None
        if written is not None:
            return written
        function = self._value_or_none(node.func)
        if not is_ours(function) or _is_starred(node):
            return self._visited(node)
        return self._call(function, trees.bound(function, node))

    def _arguments_known(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Known values of arguments, except literal numbers."""
        known: dict[str, Any] = {}
        for name, argument in given.items():
            is_number = isinstance(argument, ast.Constant) and type(argument.value) in (int, float)
            with suppress(Unknown):
                if isinstance(argument, trees.Default):
                    known[name] = argument.value
                elif not is_number:
                    known[name] = self.value(argument)
        return known

    def _value_or_none(self, node: ast.expr) -> Any:
        try:
            return self.value(node)
        except Unknown:
            return None

    def _call(self, function: Callable[..., Any], given: Mapping[str, Any]) -> ast.Call:
        reassigned = trees.assigned(trees.definition(function))
        known = self._arguments_known({name: each for name, each in given.items() if name not in reassigned})
        written = self.source.function(function, known)
        signature = inspect.signature(function).parameters
        only = [name for name, parameter in signature.items() if parameter.kind is parameter.KEYWORD_ONLY]
        left = {name: given[name] for name in written.kept if not isinstance(given[name], trees.Default)}
        left = {name: self.visit(copy.deepcopy(argument)) for name, argument in left.items()}
        keywords = {name: argument for name, argument in left.items() if name in only}
        keywords |= {name: ast.Name(name, ast.Load()) for name in sorted(written.symbols)}
        self.symbols |= written.symbols
        return ast.Call(
            _of_file(written.name),
            [argument for name, argument in left.items() if name not in only],
            [ast.keyword(name, argument) for name, argument in keywords.items()],
        )


def _is_starred(call: ast.Call) -> bool:
    return any(isinstance(each, ast.Starred) for each in call.args) or any(not k.arg for k in call.keywords)


def _of_file(name: str) -> ast.Name:
    """The name of a function or a class in the file, which no variable may shadow."""
    node = ast.Name(name, ast.Load())
    node.of_file = True  # type: ignore[attr-defined]
    return node
