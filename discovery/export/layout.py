"""Python source of syntax trees, in ruff's format."""

import ast
import inspect
import subprocess
import textwrap
from collections.abc import Iterator

from ruff import find_ruff_bin

LINE_LENGTH = 110
"""Most characters of a line of code."""


def formatted(source: str) -> str:
    """Python source in ruff's format, without extraneous parentheses.

    Raises:
        RuntimeError: ruff does not accept it, which is a bug in this package.
    """
    source = _ruff(source, "check", "--select", "UP034", "--fix", "--exit-zero", "--quiet")
    return _ruff(source, "format", "--line-length", str(LINE_LENGTH))


def _ruff(source: str, *arguments: str) -> str:
    command = [find_ruff_bin(), *arguments, "--isolated", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ruff refuses what is to be exported: {done.stderr.strip()}")
    return done.stdout


def definition(tree: ast.FunctionDef | ast.ClassDef) -> str:
    """Source of a definition, its docstrings filled."""
    for string, indent in _docstrings(tree, 4):
        string.value = _filled(str(string.value), indent)
    return ast.unparse(ast.fix_missing_locations(tree))


def _docstrings(tree: ast.FunctionDef | ast.ClassDef, indent: int) -> Iterator[tuple[ast.Constant, int]]:
    match tree.body[0]:
        case ast.Expr(value=ast.Constant(value=str()) as string):
            yield string, indent
    for inner in tree.body:
        if isinstance(inner, ast.FunctionDef | ast.ClassDef):
            yield from _docstrings(inner, indent + 4)


def _filled(docstring: str, indent: int) -> str:
    """A docstring with long lines split, and with all lines except the first indented."""
    lines: list[str] = []
    for line in inspect.cleandoc(docstring).splitlines():
        start = " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(
            line.strip(), LINE_LENGTH - indent, initial_indent=start, subsequent_indent=start
        ) or [""]
    text = textwrap.indent("\n".join(lines), " " * indent).strip()
    return text + ("\n" + " " * indent) * (len(lines) > 1)
