"""Standalone source of an objective: its own functions, with everything that is known in its place.

A `Scope` takes a Python function and the values of some of its parameters, and writes the function anew:
parameters with a known value are gone, numbers and weights are constants of the file, branches that these
values rule out are left out, and so are annotations. The functions, classes and constants that it uses follow
in the same way (`source.Source`). Nothing is run: values come from closures, modules, attributes and items.
"""

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from discovery.export import trees
from discovery.export.known import (
    Constant,
    Expression,
    Symbol,
    Unknown,
    attribute,
    compared,
    in_library,
    is_ours,
    item,
    length,
    plain,
)
from discovery.export.literals import literal
from discovery.export.source import Source, Written


class Scope(ast.NodeTransformer):
    """One function, or class, on its way into a file.

    Attributes:
        known: what variables stand for whose value is known.
        locals: the other variables.
        outer: what names outside the function stand for.
        symbols: names of the `Symbol` that it needs.
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
            self.locals = set(trees.parameters(self.tree.args)) - set(known)

    # Definitions

    def function(
        self, name: str, docstring: str, first: str, as_value: bool
    ) -> tuple[Written, ast.FunctionDef]:
        """What callers must know of the function, and its tree; see `Source.function`."""
        tree, names = self.tree, trees.parameters(self.tree.args)
        own = ast.get_docstring(tree) or ""
        body = self.block(trees.without_docstring(tree.body))
        used = {node.id for part in body for node in ast.walk(part) if isinstance(node, ast.Name)}
        dropped = {each for each in names if each in self.known or not (as_value or each in used)}
        self._rename(body)
        docstring = trees.trimmed(docstring or own, dropped, self.known)
        tree.name, tree.returns, tree.decorator_list = name, None, []
        tree.body = trees.documented(docstring, ast.parse(textwrap.dedent(first)).body + body)
        tree.args = self._arguments(tree.args, dropped)
        tree.args.kwonlyargs += [ast.arg(symbol) for symbol in sorted(self.symbols)]
        tree.args.kw_defaults += [None] * len(self.symbols)
        kept = tuple(each for each in names if each not in dropped)
        return Written(name, kept, frozenset(self.symbols)), tree

    def klass(self, name: str) -> ast.ClassDef:
        """The tree of the class, its annotations without shapes."""
        tree = self.tree
        docstring = trees.trimmed(ast.get_docstring(tree) or "", (), {})
        tree.name, tree.bases = name, [self.visit(base) for base in tree.bases]
        members = [self._member(member) for member in trees.without_docstring(tree.body)]
        tree.body = trees.documented(docstring, members)
        return tree

    def _member(self, member: ast.stmt) -> ast.stmt:
        if isinstance(member, ast.FunctionDef):
            return self.visit_FunctionDef(member)
        if isinstance(member, ast.AnnAssign):
            names = {node.id for node in ast.walk(member.annotation) if isinstance(node, ast.Name)}
            if not names <= {"bool", "float", "int", "str", "tuple"}:
                member.annotation = ast.Name("Any", ast.Load())
        return member

    def _arguments(self, arguments: ast.arguments, dropped: set[str]) -> ast.arguments:
        """Parameters without annotations, and without some of them."""
        positional = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
        only = [each.arg for each in arguments.kwonlyargs]
        last = positional[len(positional) - len(arguments.defaults) :]
        defaults: dict[str, Any] = dict(
            zip((*last, *only), (*arguments.defaults, *arguments.kw_defaults), strict=True)
        )
        defaults = {name: default and self.visit(default) for name, default in defaults.items()}
        kept, kept_only = ([name for name in names if name not in dropped] for names in (positional, only))
        return ast.arguments(
            posonlyargs=[],
            args=[ast.arg(name) for name in kept],
            vararg=ast.arg(arguments.vararg.arg) if arguments.vararg else None,
            kwonlyargs=[ast.arg(name) for name in kept_only],
            kw_defaults=[defaults[name] for name in kept_only],
            kwarg=ast.arg(arguments.kwarg.arg) if arguments.kwarg else None,
            defaults=[defaults[name] for name in kept if name in defaults],
        )

    def _rename(self, body: list[ast.stmt]) -> None:
        """Variables that would hide functions of the file get an underscore."""
        names = [node for part in body for node in ast.walk(part) if isinstance(node, ast.Name)]
        hidden = {node.id for node in names if hasattr(node, "of_file")}
        hidden &= {node.id for node in names if isinstance(node.ctx, ast.Store)}
        for node in names:
            if node.id in hidden and not hasattr(node, "of_file"):
                node.id += "_"

    @contextmanager
    def _inside(self, names: set[str]) -> Iterator[None]:
        """In here, these names are variables whatever they are outside."""
        known, local = self.known, self.locals
        self.known = {name: value for name, value in known.items() if name not in names}
        self.locals = local | names
        yield
        self.known, self.locals = known, local

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """A function inside."""
        outside, self.assigned = self.assigned, trees.assigned(node)
        with self._inside({*trees.parameters(node.args), *self.assigned}):
            body = self.block(trees.without_docstring(node.body))
        self.assigned = outside
        node.body = trees.documented(trees.trimmed(ast.get_docstring(node) or "", (), self.known), body)
        node.args, node.returns = self._arguments(node.args, set()), None
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        self.locals.add(node.name)
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        """Likewise."""
        with self._inside(set(trees.parameters(node.args))):
            node.body = self.visit(node.body)
        return node

    # Statements

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """Statements without those that are never reached, or only name what is known."""
        kept: list[ast.stmt] = []
        for statement in statements:
            kept += self._statement(statement)
            if kept and isinstance(kept[-1], ast.Return | ast.Raise):
                break
        return kept

    def _statement(self, statement: ast.stmt) -> list[ast.stmt]:
        match statement:
            case ast.AnnAssign(target=ast.Name() as target):
                return self._assign(target, statement.value) if statement.value else []
            case ast.Assign(targets=[target]):
                return self._assign(target, statement.value)
            case ast.If():
                return self._if(statement)
            case ast.For():
                self._local(statement.target)
                statement.iter = self.visit(statement.iter)
                statement.body = self.block(statement.body)
                return [statement]
        return [self.visit(statement)]

    def _if(self, statement: ast.If) -> list[ast.stmt]:
        try:
            return self.block(statement.body if plain(self.value(statement.test)) else statement.orelse)
        except Unknown:
            statement.test = self.visit(statement.test)
            statement.body, statement.orelse = self.block(statement.body), self.block(statement.orelse)
            return [statement]

    def _assign(self, target: ast.expr, value: ast.expr) -> list[ast.stmt]:
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=True))
        left = [(name, each) for name, each in pairs if not self._remember(name, each)]
        for name, _ in left:
            self._local(name)
        match [(name, self.visit(each)) for name, each in left]:
            case []:
                return []
            case [(name, each)]:
                return [ast.Assign([name], each, lineno=0)]
            case several:
                names, values = (list(column) for column in zip(*several, strict=True))
                return [ast.Assign([ast.Tuple(names, ast.Store())], ast.Tuple(values, ast.Load()), lineno=0)]

    def _remember(self, target: ast.expr, value: ast.expr) -> bool:
        """Whether a variable stands for a known value from here on, so that it need not be assigned."""
        if not isinstance(target, ast.Name) or isinstance(value, ast.Constant):
            return False
        if self.assigned[target.id] > 1:
            return False
        try:
            self.known[target.id] = self.value(value)
        except Unknown:
            return False
        return True

    def _local(self, target: ast.AST) -> None:
        self.locals |= {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}

    # What is known

    def value(self, node: ast.expr) -> Any:
        """What is known of an expression.

        Raises:
            Unknown: nothing is.
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
                return not plain(self.value(node.operand))
            case ast.BoolOp():
                return self._decided(node)
            case ast.Compare(ops=[operator], comparators=[right]):
                return compared(operator, self.value(node.left), self.value(right))
            case ast.IfExp():
                return self.value(node.body if plain(self.value(node.test)) else node.orelse)
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
        """The value of `and` and `or`, where what comes first may decide."""
        for each in node.values:
            value = plain(self.value(each))
            if bool(value) is isinstance(node.op, ast.Or):
                break
        return value

    def _picked(self, node: ast.Call) -> Any:
        """The value of a call of a function that only picks one, as ``return meta_params["eta"]`` does."""
        function = self.value(node.func)
        if not is_ours(function) or _is_starred(node):
            raise Unknown
        inner = Scope(self.source, function, self._arguments_known(trees.bound(function, node)))
        match trees.without_docstring(inner.tree.body):
            case [ast.Return(value=ast.expr() as result)]:
                return inner.value(result)
        raise Unknown

    # Expressions

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A variable, or the value that is known in its place."""
        if isinstance(node.ctx, ast.Load):
            return self._replaced(node, node.id)
        self.locals.add(node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """An attribute, or its value; of a library, it is called as here."""
        module = self._value_or_none(node.value)
        if isinstance(module, ModuleType) and in_library(module.__name__):
            return self._visited(node)
        return self._replaced(node, node.attr)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """An item, or its value."""
        return self._replaced(node, "")

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        """A choice, or what is chosen."""
        try:
            return self.visit(node.body if plain(self.value(node.test)) else node.orelse)
        except Unknown:
            return self._visited(node)

    def _comprehension(self, node: Any) -> Any:
        targets = [part for each in node.generators for part in ast.walk(each.target)]
        with self._inside({part.id for part in targets if isinstance(part, ast.Name)}):
            return self.generic_visit(node)

    visit_ListComp = visit_GeneratorExp = visit_DictComp = visit_SetComp = _comprehension

    def _visited(self, node: Any) -> Any:
        return self.generic_visit(node)

    def _replaced(self, node: Any, hint: str) -> ast.expr:
        try:
            written = self._reference(self.value(node), hint)
        except Unknown:
            written = None
        return self._visited(node) if written is None else written

    def _reference(self, value: Any, hint: str) -> ast.expr | None:
        """The expression for a known value; None for what has its name in the file too: ``jnp.exp``, ``len``.

        Args:
            value: which.
            hint: how it is called here; "" for nothing that a constant could be named by.
        """
        if isinstance(value, Constant | Expression):
            return ast.Name(self.source.constant(value), ast.Load())
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
        """A call, of functions in the file with the arguments that are left; or its value."""
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
        """Values of those arguments that have a known one, numbers apart that stand there themselves."""
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
    """The name of a function or a class in the file, which no variable may hide."""
    node = ast.Name(name, ast.Load())
    node.of_file = True  # type: ignore[attr-defined]
    return node
