"""Python source of syntax trees, laid out as formatters do: double quotes, no line longer than `WIDTH`."""

import ast
import copy
import re
import textwrap
from collections.abc import Sequence

from discovery.export.literals import WIDTH

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_POWER = re.compile(r"(?<![\w\])}.])((?:\w+\.)*\w+) \*\* (-?(?:\w+\.)*\w+)(?![\w\[(.])")
_OPENING, _CLOSING = "([{", ")]}"
_OPERATORS = (" or ", " and ", " | ", " & ", " + ", " - ", " * ", " / ", " @ ")


def definition(tree: ast.FunctionDef | ast.ClassDef) -> str:
    """Source of a definition: as Python itself writes it, if the layout below would change its meaning."""
    laid_out, plain = text([tree]), ast.unparse(ast.fix_missing_locations(tree))
    try:
        return laid_out if _meaning(laid_out) == _meaning(plain) else plain
    except SyntaxError:
        return plain


def _meaning(source: str) -> str:
    """The tree of a source, without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and _docstring(node.body[0]) is not None:
            node.body[0] = ast.Pass()
    return ast.dump(tree)


def text(statements: Sequence[ast.stmt], indent: str = "", documented: bool = False) -> str:
    """Source of statements, each line indented.

    Args:
        statements: the tree's.
        indent: of all lines.
        documented: whether the first statement is a docstring if it is a string.
    """
    lines: list[str] = []
    for index, statement in enumerate(statements):
        is_definition = isinstance(statement, ast.FunctionDef | ast.ClassDef)
        after_definition = index and isinstance(statements[index - 1], ast.FunctionDef | ast.ClassDef)
        if (is_definition and index) or after_definition:
            lines.append("")
        docstring = _docstring(statement) if documented and not index else None
        lines.append(_statement(statement, indent) if docstring is None else quoted(docstring, indent))
    return "\n".join(lines)


def quoted(docstring: str, indent: str) -> str:
    """A docstring between its quotes."""
    lines = [_filled(line, 110 - len(indent)) for line in docstring.strip("\n").splitlines()]
    paragraphs = textwrap.indent("\n".join(lines), indent).strip()
    end = f"\n{indent}" if "\n" in paragraphs else ""
    return f'{indent}"""{paragraphs}{end}"""'


def _filled(line: str, width: int) -> str:
    """A line, or as many as it needs, with its indent."""
    if len(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(line.strip(), width, initial_indent=indent, subsequent_indent=indent)


def _docstring(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return statement.value.value if isinstance(statement.value.value, str) else None
    return None


def _statement(statement: ast.stmt, indent: str) -> str:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        decorators = [f"{indent}@{_one_line(each)}" for each in statement.decorator_list]
        bare = copy.copy(statement)
        bare.decorator_list = []
        body = text(statement.body, indent + "    ", documented=True)
        if isinstance(statement, ast.ClassDef) and len(statement.body) > 1 and _docstring(statement.body[0]):
            head, rest = text(statement.body[:1], indent + "    ", documented=True), statement.body[1:]
            body = f"{head}\n\n{text(rest, indent + '    ')}"
        return "\n".join([*decorators, _header(bare, indent), body])
    if isinstance(statement, ast.If):
        return _if(statement, indent, "if")
    if isinstance(statement, ast.For | ast.While | ast.With):
        return f"{_header(statement, indent)}\n{text(statement.body, indent + '    ')}"
    if isinstance(statement, ast.Try):
        parts = [f"{indent}try:", text(statement.body, indent + "    ")]
        for handler in statement.handlers:
            kind = f" {_one_line(handler.type)}" if handler.type else ""
            name = f" as {handler.name}" if handler.name else ""
            parts += [f"{indent}except{kind}{name}:", text(handler.body, indent + "    ")]
        return "\n".join(parts)
    return _wrapped(_one_line(statement), indent)


def _if(statement: ast.If, indent: str, word: str) -> str:
    line = f"{_header(statement, indent, word)}\n{text(statement.body, indent + '    ')}"
    match statement.orelse:
        case []:
            return line
        case [ast.If() as other]:
            return f"{line}\n{_if(other, indent, 'elif')}"
    return f"{line}\n{indent}else:\n{text(statement.orelse, indent + '    ')}"


def _header(statement: ast.stmt, indent: str, word: str = "") -> str:
    """The line, or lines, before a body."""
    bare = copy.copy(statement)
    bare.body = [ast.Pass()]  # type: ignore[attr-defined]
    if hasattr(bare, "orelse"):
        bare.orelse = []  # type: ignore[attr-defined]
    line = _one_line(bare).removesuffix("    pass").rstrip()
    return _wrapped(word + line.removeprefix("if") if word else line, indent)


def _one_line(node: ast.AST) -> str:
    source = _STRING.sub(_double, ast.unparse(node)).lstrip("\n")
    if isinstance(node, ast.Assign | ast.Return) and isinstance(node.value, ast.Tuple):
        source = _bare_tuple(source, len(node.value.elts))
    source = _spaced_slices(_bare_generators(source))
    return _POWER.sub(r"\1**\2", re.sub(r"(\d)e-0(\d)", r"\1e-\2", source))


def _bare_tuple(line: str, count: int) -> str:
    """``return (a, b)`` and ``x = (a, b)`` without their brackets."""
    start, end = _last_brackets(line)
    before = line[:start]
    is_whole = end == len(line) - 1 and (before.endswith("= ") or before == "return ")
    return before + line[start + 1 : end] if is_whole and count > 1 else line


def _bare_generators(line: str) -> str:
    """``any((x for x in y))`` with one pair of brackets."""
    for found in reversed(list(re.finditer(r"(?<=[\w\])])\(\(", line))):
        inner = line[found.start() + 1 :]
        end = next(k for k, depth in enumerate(_depths(inner)) if k and depth == 0)
        if len(_split(inner[1:end], " for ")) > 1 and inner[end + 1 : end + 2] == ")":
            line = line[: found.start() + 1] + inner[1:end] + inner[end + 1 :]
    return line


def _spaced_slices(line: str) -> str:
    """``x[a:b + c]`` as ``x[a : b + c]``."""
    for found in reversed(list(re.finditer(r"(?<=[\w\])])\[", line))):
        start = found.end()
        depths = _depths(line[start - 1 :])
        end = start - 1 + next((k for k, depth in enumerate(depths) if k and depth == 0), len(depths))
        items = [_slice(item) for item in _split(line[start:end], ", ")]
        line = line[:start] + ", ".join(items) + line[end:]
    return line


def _slice(item: str) -> str:
    parts = _split(item, ":")
    if len(parts) < 2 or all(re.fullmatch(r"-?\w*", part) for part in parts) or item.startswith("lambda"):
        return item
    return " : ".join(parts).replace("  ", " ").strip()


def _double(found: re.Match[str]) -> str:
    content = found[0][1:-1]
    return found[0] if found[0][0] == '"' or '"' in content else f'"{content}"'


def _wrapped(line: str, indent: str) -> str:
    """A logical line, split at its last brackets where it is too long."""
    if len(indent) + len(line) <= WIDTH:
        return indent + line
    start, end = _last_brackets(line)
    head, body, tail = line[: start + 1], line[start + 1 : end], line[end:]
    ends = re.fullmatch(r":?|( from \w+)", line[end + 1 :])
    if not ends or len(indent) + len(head) > WIDTH or not body:
        start = re.match(r"(return |[^=()\[\]]+ = )", line)
        if not start:
            return indent + line
        head, body, tail = f"{start[0]}(", line[start.end() :], ")"
    return f"{indent}{head}\n{_inside(body, indent + '    ')}\n{indent}{tail}"


def _inside(body: str, indent: str) -> str:
    """What is between brackets: on one line, or split at commas, else before the loosest operators."""
    if len(indent) + len(body) <= WIDTH:
        return indent + body
    parts = _split(body, ", ")
    if len(parts) > 1 or body.startswith("*"):
        return "\n".join(f"{_wrapped(part, indent)}," for part in parts)
    for operator in (" for ", *_OPERATORS):
        parts = _split(body, operator)
        if len(parts) > 1:
            rest = [f"{operator.strip()} {part}" for part in parts[1:]]
            return "\n".join(_wrapped(part, indent) for part in [parts[0], *rest])
    return _wrapped(body, indent)


def _depths(line: str) -> list[int]:
    """How many brackets are open at each letter; inside a string, many."""
    depths, depth = [], 0
    inside = {k for found in _STRING.finditer(line) for k in range(found.start(), found.end())}
    for index, letter in enumerate(line):
        if index in inside:
            depths.append(99)
            continue
        depth -= letter in _CLOSING
        depths.append(depth)
        depth += letter in _OPENING
    return depths


def _last_brackets(line: str) -> tuple[int, int]:
    depths = _depths(line)
    ends = [k for k, letter in enumerate(line) if letter in _CLOSING and depths[k] == 0]
    if not ends:
        return 0, len(line) - 2
    starts = [k for k in range(ends[-1]) if line[k] in _OPENING and depths[k] == 0]
    return starts[-1], ends[-1]


def _split(body: str, separator: str) -> list[str]:
    depths, parts, start = _depths(body), [], 0
    for index in range(len(body)):
        if depths[index] == 0 and index >= start and body.startswith(separator, index):
            parts.append(body[start:index])
            start = index + len(separator)
    return [*parts, body[start:]]
