r"""Programs as text for readers: Python, which `source.parse` reads back, and LaTeX.

    print(source_of(program))
    latex_lines(program)            # ("\mathrm{loss} = ...", "u_1 = ...")

Both print the canonical program, so programs that are equal have equal texts. Operands of commutative
primitives appear in the order in which one writes them. Operands that `canonical` cannot tell apart keep its
order: that is why reading the text gives the same canonical program again.
"""

import builtins
import keyword
import textwrap
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from objectives.programs.graph import CONSTANT, INPUT, Node, Program, canonical
from objectives.programs.guards import NO_GUARDS, Guards
from objectives.programs.primitives import BOUND, COMPARISONS, LOGICAL, PRIMITIVES
from objectives.programs.slots import slot_of
from objectives.programs.spellings import (
    APPLICATION,
    ARITHMETIC,
    ATOM,
    CALL,
    COMPARED,
    COMPARISON,
    JAX,
    LOGIC,
    NEVER,
    OPEN,
    OPERATORS,
    PRODUCT,
    SIGN,
    SUM,
    Rule,
    Spelling,
)

WIDTH = 70
"""Most characters of an expression; with indentation and a name, lines stay near 90."""
DEPTH = 3
"""Most levels of nesting in a line."""
LONG_NAME = 24
"""Longest name that is made of the names of arguments."""
SHARED, LARGE = 3, 12
"""A formula in LaTeX gets a symbol if it has more than SHARED primitives and is used more than once, or if
it has more than LARGE."""


class _Text(NamedTuple):
    """An expression.

    Attributes:
        text: of it.
        level: see `LOGIC` to `ATOM`.
        size: levels of nesting in Python, number of primitives in LaTeX; 0 of a symbol.
    """

    text: str
    level: int = ATOM
    size: int = 0


_JOINED = Rule(LOGIC, (COMPARISON, COMPARISON))
_WORD = Rule(APPLICATION, (NEVER,))
_LATEX = {
    "add": Rule(SUM, (SUM, OPEN), 1),
    "subtract": Rule(SUM, (SUM, OPEN), 1),
    "multiply": Rule(PRODUCT, (PRODUCT, PRODUCT), 1),
    "negative": Rule(PRODUCT, (OPEN,), 0),
    "abs": Rule(ATOM, (LOGIC,)),
    "square": Rule(APPLICATION, (ATOM,)),
    "expm1": Rule(SUM, (LOGIC,), template="e^{{{}}} - 1"),
    "log1p": Rule(APPLICATION, (OPEN,), 0),
    "log": _WORD,
    "tanh": _WORD,
    "cos": _WORD,
    "where": Rule(LOGIC, (LOGIC, SUM, SUM)),
    "less": COMPARED,
    "less_equal": COMPARED._replace(template=r"{} \leq {}"),  # mathtext knows no \le
    "greater": COMPARED._replace(template="{1} > {0}"),
    "greater_equal": COMPARED._replace(template=r"{1} \geq {0}"),
    "both": _JOINED._replace(template=r"{} \wedge {}"),
    "either": _JOINED._replace(template=r"{} \vee {}"),
}
"""Other operations are written like calls. `_written_as` says what "greater" and "both" are."""
_CASES_IN_A_LINE = r"{1} \ \mathrm{{if}} \ {0} \ \mathrm{{else}} \ {2}"

_NAMES = {
    "add": "{}_plus_{}",
    "subtract": "{}_minus_{}",
    "multiply": "{}_times_{}",
    "divide": "{}_over_{}",
    "clip": "clipped_{}",
    "relu": "positive_{}",
    "square": "squared_{}",
    "stop_gradient": "fixed_{}",
}
"""Names made of those of arguments; other primitives of one argument: exp_h."""
_NUMBERED = {
    "add": "sum",
    "subtract": "difference",
    "multiply": "product",
    "divide": "quotient",
    "stop_gradient": "fixed",
}
"""Names that get a number; other primitives: exp_1."""


_RESERVED = (*dir(builtins), *keyword.kwlist, "jnp", "jax", "nn", "lax", "torch")


def complexity(program: Program) -> int:
    """Number of primitives, constants and inputs that the results need."""
    return len(canonical(program).nodes)


def source_of(program: Program, name: str | None = None) -> str:
    """The program as a Python function of all inputs of its slot, without imports and guards.

    Args:
        program: any program, canonical or not.
        name: of the function; that of the slot if not given.

    Raises:
        ValueError: the name is no name of Python.
        ProgramError: the program is not well typed.
    """
    name = program.slot if name is None else name
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"a function cannot be called {name!r}; use letters, digits and underscores")
    slot = slot_of(program.slot)
    arguments = ", ".join(slot.names)
    if len(arguments) > 90:
        arguments = f"\n{textwrap.fill(arguments, 90, initial_indent='    ', subsequent_indent='    ')}\n"
    what = f'    """{slot.what[0].upper()}{slot.what[1:]}."""'
    body = body_of(readable(program), taken=(name,))
    results = f"    return {', '.join(body.results)}"
    return "\n".join([f"def {name}({arguments}):", what, *body.lines, results]) + "\n"


class Body(NamedTuple):
    """What a function consists of.

    Attributes:
        lines: statements, indented by four spaces.
        results: an expression for each result.
    """

    lines: list[str]
    results: list[str]


def body_of(
    program: Program,
    spelling: Spelling = JAX,
    guards: Guards = NO_GUARDS,
    names: Mapping[str, str] | None = None,
    taken: Collection[str] = (),
) -> Body:
    """The statements of a function that computes a program.

    Args:
        program: a `readable` one.
        spelling: for which host.
        guards: where the function guards itself; it calls functions named after primitives, `bounded` and
            `clipped_gradient`.
        names: of inputs in the function, if these are not their own.
        taken: names that no variable may have.
    """
    function = _Function(program, spelling, guards, names or {}, taken)
    return Body(function.lines, [function.texts[output].text for output in program.outputs])


class _Function:
    """The lines of a function's body.

    Attributes:
        lines: of it.
        texts: an expression for each node: its name as soon as it has one.
    """

    def __init__(
        self,
        program: Program,
        spelling: Spelling,
        guards: Guards,
        names: Mapping[str, str],
        taken: Collection[str],
    ) -> None:
        self.program, self.uses = program, _uses(program)
        self.spelling, self.guards = spelling, guards
        self.lines: list[str] = []
        self.texts = [_Text(names.get(node.name, node.name)) for node in program.nodes]
        self.taken = {*_RESERVED, *taken, *slot_of(program.slot).names, *names.values()}
        self.simple = {text.text for text in self.texts if text.text}
        self._name_constants()
        for index, node in enumerate(program.nodes):
            if node.operation in PRIMITIVES:
                self._write(index)

    def _name_constants(self) -> None:
        """Those used several times. Arithmetic of constants has one with a name: else it is read as one.

        If functions take arrays only, constants that they take have names too, and are arrays.
        """
        nodes = self.program.nodes
        constants = {index for index, node in enumerate(nodes) if node.operation == CONSTANT}
        named = {index for index in constants if self.uses[index] > 1}
        arrays = self.spelling.constant != JAX.constant
        for index, (operation, arguments, *_) in enumerate(nodes):
            if arrays and (operation not in OPERATORS or index in self.guards.functions):
                named |= constants.intersection(arguments)
            elif operation not in (OPERATORS if arrays else ARITHMETIC):
                continue
            elif constants.issuperset(arguments) and named.isdisjoint(arguments):
                named.add(arguments[0])
        kinds = zip(self.texts, self.program.kinds, strict=True)
        like = min(kinds, key=lambda pair: (not pair[0].text, pair[1] == "scalar"))[0].text
        for index in sorted(constants):
            text = literal(nodes[index].value)
            self.texts[index] = _Text(text, SIGN if text.startswith("-") else ATOM)
            if index in named:
                template = self.spelling.constant if like else self.spelling.alone
                text = template.format(value=text, like=like)
                self._assign(index, self._numbered("c{}"), text)

    def _write(self, index: int) -> None:
        """Finds the expression of a primitive, after lines for arguments that would make it too long."""
        program, arguments = self.program, self.program.nodes[index].arguments
        self.texts[index] = self._expression(index)
        while (deep := self.texts[index].size > DEPTH) or len(self.texts[index].text) > WIDTH:
            inline = [a for a in arguments if self.texts[a].size or self.texts[a].level < SIGN]
            if not inline:
                break
            sizes = {a: (self.texts[a].size * deep, len(self.texts[a].text)) for a in inline}
            longest = max(inline, key=sizes.__getitem__)
            self._assign(longest, self._name(longest))
            self.texts[index] = self._expression(index)
        if len(program.outputs) > 1 and index in program.outputs:
            self._assign(index, self._unique(slot_of(program.slot).outputs[program.outputs.index(index)]))
        elif self.uses[index] > 1 or self._is_clipped_ratio(index):
            self._assign(index, self._name(index))

    def _expression(self, index: int) -> _Text:
        node = self.program.nodes[index]
        operation, given = _written_as(self.program, index), [self.texts[a] for a in node.arguments]
        rule = self.spelling.rules.get(operation, CALL)
        if index in self.guards.functions:
            rule = CALL._replace(template=f"{operation}({', '.join('{}' for _ in given)})")
        text = _filled(rule.template or PRIMITIVES[operation].source, rule, given, "({})")
        sizes = [x.size + 1 for x in given]
        if rule.level < SIGN and any(self.program.nodes[a].operation == CONSTANT for a in node.arguments):
            sizes = [1, *(x.size for x in given)]  # 0.5 * x is as easy to read as x
        elif operation == "negative" or (rule.level < SIGN and given[0].level == rule.level):
            sizes[0] -= 1  # a + b + c reads like one operation
        around = [name for name, indices in self.guards.around if index in indices]
        for name in around:
            text = f"{name}({text})"
        return _Text(text, APPLICATION if around else rule.level, max(sizes) + len(around))

    def _assign(self, index: int, name: str, text: str = "") -> None:
        self.lines.append(f"    {name} = {text or self.texts[index].text}")
        self.texts[index] = _Text(name)
        self.taken.add(name)
        if not name.rpartition("_")[2].isdigit():
            self.simple.add(name)

    def _is_clipped_ratio(self, index: int) -> bool:
        operation, arguments, *_ = self.program.nodes[index]
        return operation == "clip" and self.texts[arguments[0]].text == "ratio"

    def _name(self, index: int) -> str:
        """Of the names of the arguments if these are short and without numbers, else with a number."""
        node, operation = self.program.nodes[index], _written_as(self.program, index)
        if _is_ratio(self.program, node):
            return self._unique("ratio")
        parts = [self._part(a) for a in (node.arguments[:1] if operation == "clip" else node.arguments)]
        template = _NAMES.get(operation, f"{operation}_{{}}" if len(parts) == 1 else "")
        name = template.format(*parts)
        if all(parts) and name.isidentifier() and len(name) <= LONG_NAME:
            return self._unique(name)
        return self._numbered(_NUMBERED.get(operation, operation) + "_{}")

    def _part(self, index: int) -> str:
        """An argument as part of a name, or nothing."""
        node, text = self.program.nodes[index], self.texts[index].text
        if node.operation == CONSTANT and node.value in range(10):
            return str(int(node.value))
        return text if text in self.simple else ""

    def _unique(self, name: str) -> str:
        return name if name not in self.taken else self._numbered(name + "_{}", 2)

    def _numbered(self, template: str, first: int = 1) -> str:
        while template.format(first) in self.taken:
            first += 1
        return template.format(first)


def latex_of(program: Program) -> str:
    """The program as one formula in LaTeX; definitions of shared parts follow it in an ``aligned``."""
    lines = _formulas(program, PRIMITIVES["where"].latex)
    if len(lines) == 1:
        return lines[0]
    rows = r" \\ ".join(line.replace(" = ", " &= ", 1) for line in lines)
    return rf"\begin{{aligned}} {rows} \end{{aligned}}"


def latex_lines(program: Program) -> tuple[str, ...]:
    """The same, one formula per line, without environments: matplotlib's mathtext renders each."""
    return _formulas(program, _CASES_IN_A_LINE)


def _formulas(program: Program, where: str) -> tuple[str, ...]:
    """One formula per output, and then one per symbol that they use."""
    program = readable(program)
    slot, uses = slot_of(program.slot), _uses(program)
    symbols = {one.name: _Text(one.latex, OPEN if r"\log" in one.latex else ATOM) for one in slot.inputs}
    texts: list[_Text] = []
    definitions: list[str] = []
    for index, node in enumerate(program.nodes):
        if node.operation == INPUT:
            texts.append(symbols[node.name])
        elif node.operation == CONSTANT:
            texts.append(_number(node.value))
        elif _is_ratio(program, node):
            texts.append(_Text("r"))
        elif _is_ratio(program, node, "expm1"):
            texts.append(_Text("r - 1", SUM, 1))
        else:
            texts.append(_formula(program, index, texts, where))
            size = texts[index].size
            if (uses[index] > 1 and size > SHARED) or (index not in program.outputs and size > LARGE):
                text = texts[index].text
                text = rf"\left({text}\right)" if program.kinds[index] == "flag" else text
                definitions.append(f"u_{{{len(definitions) + 1}}} = {text}")
                texts[index] = _Text(f"u_{{{len(definitions)}}}")
    if _has_both(program):
        definitions.append(rf"r = e^{{{symbols['log_ratio'].text}}}")
    names = [name.replace("_", r"\_") for name in slot.outputs]
    results = [
        rf"\mathrm{{{name}}} = {texts[output].text}"
        for name, output in zip(names, program.outputs, strict=True)
    ]
    return (*results, *definitions)


def _formula(program: Program, index: int, texts: Sequence[_Text], where: str) -> _Text:
    operation, given = _written_as(program, index), [texts[a] for a in program.nodes[index].arguments]
    rule = _LATEX.get(operation, CALL)
    template = rule.template or PRIMITIVES[operation].latex
    if operation == "where":
        template = where
    elif operation == "multiply" and given[1].text[0].isdigit() and given[1].level >= PRODUCT:
        template = r"{} \cdot {}"  # 2 3 would be read as 23
    text = _filled(template, rule, given, r"\left({}\right)")
    level = min(rule.level, given[0].level) if operation == "negative" else rule.level
    return _Text(text, level, 1 + sum(x.size for x in given))


def _has_both(program: Program) -> bool:
    """Whether the formula has r and also its logarithm."""
    ratios = [_is_ratio(program, node) or _is_ratio(program, node, "expm1") for node in program.nodes]
    others = [node for node, is_ratio in zip(program.nodes, ratios, strict=True) if not is_ratio]
    read = {a for node in others for a in node.arguments} | set(program.outputs)
    return any(ratios) and any(program.nodes[a].name == "log_ratio" for a in read)


def _filled(template: str, rule: Rule, given: Sequence[_Text], brackets: str) -> str:
    """The template with the arguments, in brackets where these are needed."""
    parts: list[str] = []
    for place, (x, least) in enumerate(zip(given, rule.least, strict=False)):
        bare = x.level >= least and not (place >= rule.signs and x.text.startswith("-"))
        parts.append(x.text if bare else brackets.format(x.text))
    return template.format(*parts)


def _written_as(program: Program, index: int) -> str:
    """The operation; "both" and "either" of flags; 0 < x is written x > 0, which is "greater"."""
    operation, arguments, *_ = program.nodes[index]
    if operation in LOGICAL and program.kinds[index] == "flag":
        return {"minimum": "both", "maximum": "either"}[operation]
    if operation in COMPARISONS:
        left, right = (program.nodes[a].operation == CONSTANT for a in arguments)
        return operation.replace("less", "greater") if left and not right else operation
    return operation


def _is_ratio(program: Program, node: Node, operation: str = "exp") -> bool:
    return node.operation == operation and program.nodes[node.arguments[0]].name == "log_ratio"


def _uses(program: Program) -> Counter[int]:
    """How often each node is used, as an argument or as a result."""
    return Counter([*(a for node in program.nodes for a in node.arguments), *program.outputs])


def literal(value: float) -> str:
    """The shortest text with the same float32 and, for the hash, the same six digits."""
    value = min(max(float(value), -BOUND), BOUND)  # as the interpreter does
    single = np.float32(value)
    for text in (f"{value:.6g}", str(single)):
        if np.float32(text) == single and f"{float(text):.5e}" == f"{value:.5e}":
            plain = repr(float(text))
            return text if "e" in text and len(text) < len(plain) else plain
    return repr(value)


def _number(value: float) -> _Text:
    """A number in LaTeX, with four digits."""
    digits, _, exponent = f"{value:.4g}".partition("e")
    if not exponent:
        return _Text(digits, PRODUCT if digits.startswith("-") else ATOM)
    power = f"10^{{{int(exponent)}}}"
    return _Text(power, APPLICATION) if digits == "1" else _Text(rf"{digits} \cdot {power}", PRODUCT)


def readable(program: Program) -> Program:
    """The canonical program, with operands and nodes in the order in which one writes them."""
    program = canonical(program)
    keys = _keys(program)
    arguments: list[tuple[int, ...]] = []
    for node in program.nodes:
        order = keys[node.operation == "multiply"]
        commutes = node.operation in PRIMITIVES and PRIMITIVES[node.operation].commutes
        arguments.append(tuple(sorted(node.arguments, key=order.__getitem__)) if commutes else node.arguments)
    place: dict[int, int] = {}
    stack = list(reversed(program.outputs))
    while stack:
        index = stack[-1]
        missing = [a for a in reversed(arguments[index]) if a not in place]
        if missing and index not in place:
            stack += missing
        else:
            place.setdefault(stack.pop(), len(place))
    nodes = [
        program.nodes[index]._replace(arguments=tuple(place[a] for a in arguments[index])) for index in place
    ]
    return Program(program.slot, tuple(nodes), tuple(place[output] for output in program.outputs))


def _keys(program: Program) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """By what operands are sorted in sums (and elsewhere) and in products, for each node.

    What `canonical` cannot tell apart has equal keys. So keys depend on nothing but the expression and signs.
    """
    names = slot_of(program.slot).names
    nothing = len(names)  # reads no input
    first_input: list[int] = []
    depths: list[int] = []
    in_sums: list[tuple[int, ...]] = []
    in_products: list[tuple[int, ...]] = []
    for node in program.nodes:
        read = [first_input[a] for a in node.arguments]
        first_input.append(names.index(node.name) if node.operation == INPUT else min(read, default=nothing))
        depths.append(1 + max((depths[a] for a in node.arguments), default=0))
        has_sign = node.operation == "negative" or (node.operation == CONSTANT and node.value < 0)
        is_number = first_input[-1] == nothing
        in_sums.append((not has_sign, is_number, first_input[-1], depths[-1]))
        is_vector = program.kinds[len(in_sums) - 1] != "scalar"
        in_products.append((not is_number, not has_sign, is_vector, first_input[-1], depths[-1]))
    return in_sums, in_products
