"""Standalone source of an objective: its functions, with known values substituted.

A `Scope` rewrites a Python function, given values of some of its parameters: parameters with a known value
are removed, numbers and weights become constants of the file, and branches that these values rule out are
left out, as are annotations. The functions, classes and constants that it uses are written in the same way
(`source.Source`). Nothing is run: values come from closures, modules, attributes and items.
"""

import ast
import textwrap
from collections.abc import Mapping
from typing import Any

from discovery.core.errors import BadInput
from discovery.export import trees
from discovery.export.expressions import Expressions
from discovery.export.known import Unknown, truth
from discovery.export.source import Source, Written


class StandaloneSource(Source):
    """A file that rewrites each function and class by a `Scope`."""

    def scope(self, made: Any, known: Mapping[str, Any]) -> "Scope":
        return Scope(self, made, known)


class Scope(Expressions):
    """One function or class that is written into a file: its definition and its statements."""

    # Definitions

    def function(
        self, name: str, docstring: str, first: str, as_value: bool
    ) -> tuple[Written, ast.FunctionDef]:
        """What callers must know about the function, and its tree; see `Source.function`."""
        tree, names = self.tree, trees.parameters(self.tree.args)
        own = ast.get_docstring(tree) or ""
        body = self.block(trees.without_docstring(tree.body))
        used = {node.id for part in body for node in ast.walk(part) if isinstance(node, ast.Name)}
        dropped = {each for each in names if each in self.known or not (as_value or each in used)}
        docstring = trees.trimmed(docstring or own, dropped, self.known)
        tree.name, tree.returns, tree.decorator_list = name, None, []
        tree.body = trees.documented(docstring, ast.parse(textwrap.dedent(first)).body + body)
        tree.args = self._arguments(tree.args, dropped)
        tree.args.kwonlyargs += [ast.arg(symbol) for symbol in sorted(self.symbols)]
        tree.args.kw_defaults += [None] * len(self.symbols)
        _rename(tree)
        kept = tuple(each for each in names if each not in dropped)
        return Written(name, kept, frozenset(self.symbols)), tree

    def klass(self, name: str) -> ast.ClassDef:
        """The tree of the class, with annotations without shapes."""
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

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """An inner function."""
        outside, self.assigned = self.assigned, trees.assigned(node)
        with self._inside({*trees.parameters(node.args), *self.assigned}):
            body = self.block(trees.without_docstring(node.body))
        self.assigned = outside
        node.body = trees.documented(trees.trimmed(ast.get_docstring(node) or "", (), self.known), body)
        node.args, node.returns = self._arguments(node.args, set()), None
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        return node

    # Statements

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """Statements without those that are never reached, or only name known values."""
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
            case ast.Import() | ast.ImportFrom():
                raise BadInput(
                    f"{self.tree.name} has imports inside, so it cannot be exported: import at the "
                    "top of its module"
                )
            case ast.For():
                statement.iter = self.visit(statement.iter)
                statement.body = self.block(statement.body)
                statement.orelse = self.block(statement.orelse)
                return [statement]
        return [self.visit(statement)]

    def _if(self, statement: ast.If) -> list[ast.stmt]:
        try:
            return self.block(statement.body if truth(self.value(statement.test)) else statement.orelse)
        except Unknown:
            statement.test = self.visit(statement.test)
            statement.body, statement.orelse = self.block(statement.body), self.block(statement.orelse)
            return [statement]

    def _assign(self, target: ast.expr, value: ast.expr) -> list[ast.stmt]:
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=True))
        left = [(name, each) for name, each in pairs if not self._remember(name, each)]
        match [(self.visit(name), self.visit(each)) for name, each in left]:
            case []:
                return []
            case [(name, each)]:
                return [ast.Assign([name], each, lineno=0)]
            case several:
                names, values = (list(column) for column in zip(*several, strict=True))
                return [ast.Assign([ast.Tuple(names, ast.Store())], ast.Tuple(values, ast.Load()), lineno=0)]

    def _remember(self, target: ast.expr, value: ast.expr) -> bool:
        """Whether a variable has a known value from here on, so it need not be assigned."""
        if not isinstance(target, ast.Name) or isinstance(value, ast.Constant):
            return False
        if self.assigned[target.id] > 1:
            return False
        try:
            self.known[target.id] = self.value(value)
        except Unknown:
            return False
        return True


def _rename(tree: ast.FunctionDef) -> None:
    """Add an underscore to variables that would shadow functions of the file."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    referred = {node.id for node in names if hasattr(node, "of_file")}
    for node in names:
        if node.id in referred and not hasattr(node, "of_file"):
            node.id += "_"
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.arg in referred:
            node.arg += "_"
