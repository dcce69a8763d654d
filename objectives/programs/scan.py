"""From the text of a program to its syntax tree, within bounds on size and depth.

    tree = tree_of("def loss(log_ratio): return log_ratio")

Python's parser needs much time or memory for some short texts. So the bounds hold before it sees the text.
"""

import ast
import os
import re
from collections.abc import Iterable, Iterator

from objectives.programs.graph import ProgramError

MOST_BYTES = 64 * 1024
MOST_LINES = 400
MOST_TOKENS = 3_000
MOST_BRACKETS = 50
"""How deeply brackets may be nested."""
MOST_OPERATORS = 200
"""Operators in the brackets around a place, since the last comma: more than its depth in the syntax tree."""
MOST_LAMBDAS = 50
MOST_DEPTH = 60
"""Depth of the syntax tree."""
LONGEST_WORD = 80
"""Characters of a name or a number: Python takes long to convert thousands of digits."""

_SPLIT = "give parts of it names, each on a line of its own"
_TOKEN = re.compile(
    r"""
    (?P<text>
        \"""(?:[^"\\]|\\.|"(?!""))*+\""" | '''(?:[^'\\]|\\.|'(?!''))*+'''
        | "(?!"")(?:[^"\\\n]|\\.)*+" | '(?!'')(?:[^'\\\n]|\\.)*+'
    )
    | (?P<number>(?:\d|\.\d)(?:[eE][+-]\d|[\w.])*+)
    | (?P<name>[A-Za-z_]\w*+)
    | (?P<newline>\n)
    | (?P<comment>\#[^\n]*)
    | (?P<space>[ \t]++|\\\n)
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    | (?P<comma>,)
    | (?P<plain>;|->|:(?!=)|=(?!=))
    | (?P<operator>\*\*|//|<<|>>|[<>=!:]=|[-+*/%@&|^<>~.])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_NUMBER = re.compile(r"(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?", re.ASCII)
_NESTING_WORDS = {"not", "and", "or", "if", "else", "in", "is", "lambda", "for", "await", "yield", "from"}


def tree_of(text: object) -> ast.Module:
    """The syntax tree of a text, with empty strings in place of its strings.

    Raises:
        ProgramError: the text is too large or too deeply nested, or is not Python.
    """
    tree = _parsed(_bounded(_tokens(_normalized(text))))
    level: list[ast.AST] = [tree]
    for _ in range(MOST_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        line = min((node.lineno for node in level if isinstance(node, ast.expr | ast.stmt)), default=None)
        message = f"the program is nested more than {MOST_DEPTH} levels deep"
        raise ProgramError("size", message, _SPLIT, line)
    return tree


def _normalized(text: object) -> str:
    """The text with line ends of Unix, if it is a text and not too long."""
    if not isinstance(text, str):
        message = f"a program is a text (str), got {type(text).__name__}"
        raise ProgramError("text", message, "pass its source, decoded")
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise ProgramError(
            "size", f"the text has more than {MOST_BYTES // 1024} KiB", "shorten it; comments count"
        )
    text = text.removeprefix("\ufeff").rstrip().replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n") >= MOST_LINES:
        raise ProgramError("size", f"the text has more than {MOST_LINES} lines", "shorten it; comments count")
    return text


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Yields (what, token, line), with empty strings and comments; lines stay where they are."""
    line = 1
    for match in _TOKEN.finditer(text):
        what, token = match.lastgroup or "", match.group()
        newlines = token.count("\n")
        if what == "other":
            remedy = "use ASCII characters, close every string, and leave out marks around the function"
            raise ProgramError("text", f"the character {token!a} is not allowed here", remedy, line)
        if what in ("name", "number") and len(token) > LONGEST_WORD:
            message = f"the {what} {token[:20]}... has more than {LONGEST_WORD} characters"
            raise ProgramError("size", message, "shorten it", line)
        if what == "number" and not _NUMBER.fullmatch(token):
            raise ProgramError("syntax", f"{token} is not a number", "write it like 0.5 or 1e-3", line)
        yield what, {"text": f'"""{newlines * chr(10)}"""', "comment": ""}.get(what, token), line
        line += newlines


def _bounded(tokens: Iterable[tuple[str, str, int]]) -> str:
    """The text of tokens, if Python's parser and the syntax tree nest not too deeply."""
    kept: list[str] = []
    operators = [0]  # inside of each open bracket, since the last comma
    count = lambdas = 0
    for what, token, line in tokens:
        kept.append(token)
        count += what not in ("space", "comment")
        lambdas += token == "lambda"
        if count > MOST_TOKENS or lambdas > MOST_LAMBDAS:
            message = f"the text has more than {MOST_TOKENS} words and signs, or {MOST_LAMBDAS} lambdas"
            raise ProgramError("size", message, "shorten it", line)
        if what == "open":
            operators.append(0)
        elif what == "close":
            operators = operators[:-1] or [0]  # brackets that do not match are refused later
            operators[-1] += 1  # f(x)(y) nests as an operator does
        elif what == "comma" or (what == "newline" and len(operators) == 1):
            operators[-1] = 0
        elif what == "operator" or token in _NESTING_WORDS:
            operators[-1] += 1
        if len(operators) > MOST_BRACKETS + 1 or sum(operators) > MOST_OPERATORS:
            message = (
                f"more than {MOST_BRACKETS} brackets or {MOST_OPERATORS} operators are nested in one another"
            )
            raise ProgramError("size", message, _SPLIT, line)
    return "".join(kept)


def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text, filename=os.devnull + "/program")  # no file, which Python would open and cite
    except SyntaxError as error:
        lines = text.split("\n")
        line = min(max(error.lineno or 1, 1), len(lines))
        remedy = f"correct `{lines[line - 1].strip()[:60]}`"
        raise ProgramError("syntax", f"Python cannot read this: {error.msg}", remedy, line) from None
    except (ValueError, RecursionError, MemoryError, OverflowError):
        raise ProgramError("size", "Python's parser gives up on the text", _SPLIT) from None
