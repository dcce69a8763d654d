"""Programs from text: a function in restricted Python over `jnp`, read into a graph and never executed.

    program = parse("def loss(log_ratio, advantage): return -jnp.exp(log_ratio) * advantage", "policy_loss")

`scan` makes a syntax tree of the text. `_Reader` walks the tree, and refuses each construct that it does not
know. It reads helper functions where the text calls them, so a graph holds primitives only.

Each refusal is a `ProgramError` that says where, what and what to write instead.
"""

import ast
import functools
import inspect
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from objectives.programs import functions
from objectives.programs.building import Builder, Number, Value, number_of
from objectives.programs.functions import CALLABLE, IMPORTS, METHODS, nearest, refuse, spelling_of
from objectives.programs.graph import CONSTANT, Program, ProgramError, canonical
from objectives.programs.scan import tree_of
from objectives.programs.slots import Slot, slot_of

MOST_PARAMETERS = 50
MOST_INLINED = 8
"""How deeply helper functions may call one another."""
MOST_LEVELS = 100
"""Depth of the expressions that are being read, through all helper functions."""
MOST_STEPS = 3_000
"""Expressions and statements that are read, those of a helper function once per call."""
MOST_NODES = 200
"""Nodes of the program."""


def parse(text: object, slot: str) -> Program:
    """The canonical program that the one function of `text` computes.

    Args:
        text: the function's parameters are inputs of the slot, in any order; others have a number as default,
            and are constants. Each number in the text is one constant.
        slot: name of the slot.

    Raises:
        ProgramError: the text is anything else.
        ValueError: there is no such slot.
    """
    slot_of(slot)
    return program_of(tree_of(text), slot)


def program_of(tree: ast.Module, slot: str) -> Program:
    """The same of a syntax tree within the bounds of `scan.tree_of`."""
    reader = _Reader(slot_of(slot))
    try:
        outputs = reader.read(tree)
        program = canonical(Program(slot, tuple(reader.builder.nodes), outputs))
    except RecursionError:  # the caller's own calls are deep already
        message, remedy = "the program is nested too deeply", "give parts of it names"
        raise ProgramError("size", message, remedy) from None
    if len(program.nodes) > MOST_NODES:
        message = f"the program has more than {MOST_NODES} operations, numbers and inputs"
        raise ProgramError("size", message, "simplify it")
    return program


Scope = ChainMap[str, "int | _Function | None"]
"""The names of a function, and those around it. A name is None until the function gives it a value."""


class _Function(NamedTuple):
    """A function of the text.

    Attributes:
        node: in the syntax tree.
        body: its statements.
        signature: its parameters, with nodes as defaults.
        scope: the names around it, which it sees as they are when it is called.
    """

    node: ast.FunctionDef | ast.Lambda
    body: Sequence[ast.stmt]
    signature: inspect.Signature
    scope: Scope


class _Reader(ast.NodeVisitor):
    """Reads a syntax tree: one method per construct. Those of expressions return a `Value`."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.builder = Builder(slot)
        self.scope: Scope = ChainMap()
        self.steps = self.level = self.inlined = 0
        self.uncalled: dict[ast.FunctionDef | ast.Lambda, str] = {}

    def read(self, tree: ast.Module) -> tuple[int, ...]:
        """The nodes that the one function returns."""
        main = None
        self.scope.update(_names(tree.body, {}))
        for node in tree.body:
            if isinstance(node, ast.Import) and {(one.name, one.asname) for one in node.names} <= IMPORTS:
                continue
            if isinstance(node, ast.FunctionDef) and main is None:
                main = self.visit(node)
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr):
                self.visit(node)
            else:
                refuse(node)
            if any(each.operation != CONSTANT for each in self.builder.nodes):
                message = "outside of the function only numbers can have names"
                raise ProgramError("construct", message, "write NAME = 0.2 there", node.lineno)
        if main is None:
            example = f"def {self.slot.name}({', '.join(self.slot.names)}): ..."
            raise ProgramError("construct", "the text has no function", f"write {example}")
        outputs = self._main(main)
        for node, name in self.uncalled.items():  # nobody has read it
            message = f"the helper function {name} is never called"
            raise ProgramError("construct", message, "call it, or remove it", node.lineno)
        return outputs

    def visit(self, node: ast.expr | ast.stmt) -> Any:
        """Reads an expression or a statement, and gives a refusal its line."""
        self.steps += 1
        self.level += 1
        try:
            if self.steps > MOST_STEPS or self.level > MOST_LEVELS:
                message = "the program is too large with its helper functions written out"
                raise ProgramError("size", message, "simplify it, or call them less often")
            value = super().visit(node)
        except ProgramError as error:
            if error.line is None:
                error.line, error.args = node.lineno, (f"line {node.lineno}: {error}",)
            raise
        self.level -= 1
        return Number(value.value, place=node) if isinstance(value, Number) else value

    def generic_visit(self, node: ast.AST) -> NoReturn:
        refuse(node)

    def _node(self, node: ast.expr) -> int:
        return self.builder.node(self.visit(node))

    # Functions.

    def _main(self, main: _Function) -> tuple[int, ...]:
        values: dict[str, int] = {}
        for name, parameter in main.signature.parameters.items():
            is_input = name in self.slot.names
            if not is_input and parameter.default is parameter.empty:
                message = f"{self.slot.name} has no input {name}"
                remedy = f"{nearest(name, self.slot.names)}; a constant needs a value, as in {name}=0.2"
                raise ProgramError("name", message, remedy, main.node.lineno)
            values[name] = self.builder.input(name) if is_input else parameter.default
        return self._run(main, values, self._results)

    def _results(self, node: ast.expr) -> tuple[int, ...]:
        results = node.elts if isinstance(node, ast.Tuple) else [node]
        wanted = self.slot.outputs
        if len(results) != len(wanted):
            message = f"{self.slot.name} has {_counted(len(wanted))}, and the function returns {len(results)}"
            raise ProgramError("type", message, f"write return {', '.join(wanted)}", node.lineno)
        indices = tuple(self._node(each) for each in results)
        if any(self.builder.is_flag(index) for index in indices):
            message, remedy = "the result is a comparison, not a number", "return jnp.where(a < b, 1.0, 0.0)"
            raise ProgramError("type", message, remedy, node.lineno)
        return indices

    def _run(self, function: _Function, values: Mapping[str, int], read: Callable[[ast.expr], Any]) -> Any:
        """Reads a function's statements, and with `read` what it returns."""
        caller = self.scope
        self.scope = function.scope.new_child(_names(function.body, values))
        self.inlined += 1
        self.uncalled.pop(function.node, None)
        *steps, last = function.body
        for node in steps:
            self.visit(node)
        if not isinstance(last, ast.Return) or last.value is None:
            message = "the function returns nothing"
            raise ProgramError("construct", message, "end it with return and the result", last.lineno)
        result = read(last.value)
        self.inlined -= 1
        self.scope = caller
        return result

    def _function(self, name: str, node: ast.FunctionDef | ast.Lambda) -> _Function:
        self.uncalled[node] = name
        body = node.body if isinstance(node, ast.FunctionDef) else [ast.Return(node.body)]
        return _Function(node, body, self._signature(node.args), self.scope)

    def _signature(self, given: ast.arguments) -> inspect.Signature:
        """A function's parameters, with nodes as defaults."""
        if given.vararg or given.kwarg or given.kwonlyargs or given.posonlyargs:
            message = "* and / in parameters are not allowed"
            raise ProgramError("construct", message, "write each parameter by its name")
        if len(given.args) > MOST_PARAMETERS:
            raise ProgramError("size", f"there are more than {MOST_PARAMETERS} parameters", "remove some")
        absent = [inspect.Parameter.empty] * (len(given.args) - len(given.defaults))
        defaults = [*absent, *map(self._node, given.defaults)]
        plain = functools.partial(inspect.Parameter, kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
        pairs = zip(given.args, defaults, strict=True)
        try:
            return inspect.Signature([plain(one.arg, default=default) for one, default in pairs])
        except ValueError as error:  # two parameters have one name
            raise ProgramError("syntax", str(error), "rename one") from None

    # Statements.

    def visit_FunctionDef(self, node: ast.FunctionDef) -> _Function:
        for decorator in node.decorator_list:
            refuse(decorator, "a decorator", "remove it")
        self.scope[node.name] = function = self._function(node.name, node)
        return function

    def _assign(self, targets: Sequence[ast.expr], value: ast.expr) -> None:
        values, (target, *others) = [value], targets
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and not others:
            targets, values = target.elts, value.elts
        names = [each.id for each in targets if isinstance(each, ast.Name)]
        if not len(names) == len(targets) == len(values):
            message = "this kind of assignment is not allowed"
            raise ProgramError("construct", message, "write name = value, or a, b = x, y")
        given = [
            self._function(name, each) if isinstance(each, ast.Lambda) else self._node(each)
            for name, each in zip(names, values, strict=True)
        ]
        self.scope.update(zip(names, given, strict=True))

    def visit_Assign(self, node: ast.Assign) -> None:
        self._assign(node.targets, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self._assign([node.target], node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._assign([node.target], ast.copy_location(ast.BinOp(node.target, node.op, node.value), node))

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant) or not isinstance(node.value.value, str):
            refuse(node)

    # Expressions.

    def visit_Constant(self, node: ast.Constant) -> Value:
        return number_of(node.value)

    def visit_Attribute(self, node: ast.Attribute) -> Value:
        if spelling_of(node) not in functions.NUMBERS:
            remedy = "functions must be called, as in jnp.exp(x); of numbers there are jnp.pi and jnp.e"
            raise ProgramError("name", f"the attribute .{node.attr} is not allowed here", remedy)
        return Number(functions.NUMBERS[spelling_of(node)])

    def visit_Name(self, node: ast.Name) -> Value:
        value = self._find(node.id)
        if isinstance(value, int):
            return value
        if value is not None or node.id in CALLABLE:
            message = f"{node.id} is a function, not a number"
            raise ProgramError("construct", message, f"call it, as in {node.id}(x)")
        known = [*self.scope, *self.slot.names]
        is_input = node.id in self.slot.names
        remedy = "add it to the function's parameters" if is_input else nearest(node.id, known)
        raise ProgramError("name", f"{node.id} has no value", remedy)

    def _find(self, name: str) -> int | _Function | None:
        value = self.scope.get(name)
        if value is None and name in self.scope:
            raise ProgramError("name", f"{name} has no value yet", "give it one in a line before this one")
        return value

    def _operation(self, operation: ast.AST, *values: Value) -> Value:
        if type(operation) not in functions.OPERATORS:
            refuse(operation)
        return CALLABLE[functions.OPERATORS[type(operation)]](self.builder, *values)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Value:
        return self._operation(node.op, self.visit(node.operand))

    def visit_BinOp(self, node: ast.BinOp) -> Value:
        return self._operation(node.op, self.visit(node.left), self.visit(node.right))

    def visit_BoolOp(self, node: ast.BoolOp) -> Value:
        flags = [self.visit(each) for each in node.values]
        return functools.reduce(functools.partial(self._operation, node.op), flags)

    def visit_Compare(self, node: ast.Compare) -> Value:
        values = [self._node(each) for each in (node.left, *node.comparators)]
        return functools.reduce(self.builder.both, map(self._operation, node.ops, values, values[1:]))

    def visit_IfExp(self, node: ast.IfExp) -> Value:
        return self.builder.where(*(self.visit(each) for each in (node.test, node.body, node.orelse)))

    # Calls.

    def visit_Call(self, node: ast.Call) -> Value:
        spelling = spelling_of(node.func)
        known = self._find(spelling.partition(".")[0])
        if isinstance(node.func, ast.Attribute) and (known is not None or not spelling):
            if node.func.attr not in METHODS:
                remedy = f"the methods are {', '.join(METHODS)}; write jnp.where(flag, 1.0, 0.0) for astype"
                raise ProgramError("name", f"the method .{node.func.attr} is not allowed", remedy)
            arguments = [node.func.value, *node.args]
            return self._apply(f"jnp.{node.func.attr}", ast.Call(node.func, arguments, node.keywords))
        if isinstance(known, _Function):
            return self._inline(spelling, known, node)
        if known is not None or not spelling:
            refuse(node)
        return self._apply(spelling, node)

    def _apply(self, spelling: str, node: ast.Call) -> Value:
        if spelling not in CALLABLE:
            helpers = [name for name, value in self.scope.items() if isinstance(value, _Function)]
            remedy = nearest(spelling, [*helpers, *CALLABLE])
            raise ProgramError("name", f"there is no function {spelling}", remedy)
        build = functools.partial(CALLABLE[spelling], self.builder)
        signature = inspect.signature(build)
        values: dict[str, Value | None] = {}
        for name, each in _bind(spelling, signature, node).items():
            default = signature.parameters[name].default  # None, if it is optional
            absent = each is default or (isinstance(each, ast.Constant) and each.value is default)
            values[name] = None if absent else self.visit(each)
        return build(**values)

    def _inline(self, name: str, function: _Function, node: ast.Call) -> Value:
        if self.inlined > MOST_INLINED:
            message = (
                f"{name} calls itself, or more than {MOST_INLINED} functions call one another in a chain"
            )
            raise ProgramError("size", message, "write the steps one after the other")
        given = _bind(name, function.signature, node).items()
        values = {key: each if isinstance(each, int) else self._node(each) for key, each in given}
        return self._run(function, values, self.visit)


def _counted(results: int) -> str:
    return "1 result" if results == 1 else f"{results} results"


def _names(body: Sequence[ast.stmt], parameters: Mapping[str, int]) -> dict[str, int | _Function | None]:
    """Names of parameters, and those that statements give a value, still without one."""
    targets = [one for each in body for one in getattr(each, "targets", [getattr(each, "target", each)])]
    parts = [part for target in targets for part in getattr(target, "elts", [target])]
    given = filter(None, [getattr(part, "id", getattr(part, "name", None)) for part in parts])
    names = {**dict.fromkeys(given), **parameters}
    if names.keys() & set(functions.MODULES):
        message = f"{', '.join(functions.MODULES)} are modules, and no variables"
        raise ProgramError("name", message, "use another name")
    return names


def _bind(what: str, signature: inspect.Signature, node: ast.Call) -> dict[str, Any]:
    """The arguments of a call by name: expressions and defaults."""
    keywords = {each.arg or "**": each.value for each in node.keywords}
    try:
        if len(keywords) < len(node.keywords):
            raise TypeError("an argument has two values")
        bound = signature.bind(*node.args, **keywords)
    except TypeError as error:
        remedy = f"write {what}({', '.join(signature.parameters)})"
        raise ProgramError("type", f"{what}: {error}", remedy) from None
    bound.apply_defaults()
    return bound.arguments
