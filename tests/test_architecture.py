"""The house rules that a reader relies on: which way imports go, what is light, what is public."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import jaxtyping
import pytest

from objectives import FAMILIES
from objectives.parts import standardize

ROOT = Path(__file__).parents[1]
FOUNDATIONS = ("objectives", "environments", "llm_prompts")
PACKAGES = ("discovery", *FOUNDATIONS)
MATHS = {"jax", "flax", "optax", "numpy", "jaxtyping"}
HEAVY = ("jax", "flax", "optax", "evosax", "gymnax", "matplotlib", "pandas")


def imports(package: str) -> Iterator[tuple[str, str]]:
    """Yields (place, top-level name) of every import in a package's files, those in functions included."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [package if node.level else node.module or ""]
            else:
                continue
            for name in names:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", name.partition(".")[0]


@pytest.mark.parametrize("package", FOUNDATIONS)
def test_foundations_import_neither_discovery_nor_one_another(package: str) -> None:
    others = set(PACKAGES) - {package}
    wrong = [f"{place} imports {name}" for place, name in imports(package) if name in others]
    assert not wrong


def test_objectives_are_pure_maths() -> None:
    """A family's picture.py may draw; it is loaded only when a picture is asked for."""
    allowed = MATHS | sys.stdlib_module_names | {"objectives"}
    wrong = [
        f"{place} imports {name}"
        for place, name in imports("objectives")
        if name not in allowed and not (name == "matplotlib" and "/picture.py:" in place)
    ]
    assert not wrong


@pytest.mark.parametrize("name", FAMILIES)
def test_families_are_made_without_what_draws_them(name: str) -> None:
    assert "matplotlib" not in heavy_modules_after(f"from objectives import build; build({name!r})")


def test_import_checker_sees_all_forms() -> None:
    """Guards the guard: without imports found, the tests above would pass on anything."""
    found = {name for _, name in imports("objectives")}
    assert {"jax", "objectives", "typing"} <= found
    assert {"objectives", "environments"} <= {name for _, name in imports("discovery")}


def heavy_modules_after(statement: str) -> list[str]:
    """The names of `HEAVY` that a fresh interpreter has loaded after `statement`; fails if that fails."""
    code = f"""
import sys
try:
    {statement}
except SystemExit as end:
    if end.code:
        raise
print("loaded:", *[name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    "statement",
    [
        "import discovery",
        "import sys; from discovery.app.command_line import main; sys.argv = ['discovery', '--help']; "
        "sys.exit(main())",
        "import sys, runpy; sys.argv = ['discovery', '--help']; "
        "runpy.run_module('discovery', run_name='__main__')",
    ],
    ids=["import", "console script", "python -m"],
)
def test_help_and_import_are_light(statement: str) -> None:
    assert heavy_modules_after(statement) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_exist(package: str) -> None:
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    missing = [name for name in module.__all__ if not hasattr(module, name)]
    assert not missing


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_say_whose_they_are(package: str) -> None:
    """`discovery doctor` tells our packages from another distribution's of the same name by this."""
    module = importlib.import_module(package)
    assert module.__distribution__ == "rl-discovery"
    assert Path(module.__file__ or "").parent == ROOT / package


def test_shapes_are_checked_in_tests() -> None:
    """The import hook of conftest.py is at work: an annotation " B" refuses a matrix."""
    assert standardize(jnp.arange(3.0)).shape == (3,)
    with pytest.raises(jaxtyping.TypeCheckError):
        standardize(jnp.zeros((2, 3)))


ROOMS = (
    "core",
    "statistics",
    "inner",
    "meta",
    "executors",
    "language",
    "store",
    "search",
    "results",
    "judging",
    "export",
    "display",
    "app",
)
"""The rooms of `discovery/` from the bottom up; a room imports only itself and rooms before it."""


def room_imports() -> Iterator[tuple[str, str, str]]:
    """Yields (place, its room, imported room) of all imports in `discovery`, lazy and type imports too."""
    for path in sorted((ROOT / "discovery").rglob("*.py")):
        parts = path.relative_to(ROOT / "discovery").parts
        if len(parts) == 1:
            continue
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                inside = node.module == "discovery"
                names = [f"discovery.{name}" for name in names] if inside else [node.module or ""]
            for name in names:
                if name.startswith("discovery."):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", parts[0], name.split(".")[1]


def test_rooms_import_only_rooms_before_them() -> None:
    found = list(room_imports())
    assert len(found) > 300, "the imports were not found"
    wrong = [f"{place} imports {room}" for place, own, room in found if ROOMS.index(room) > ROOMS.index(own)]
    assert not wrong


def test_discovery_has_no_loose_modules() -> None:
    names = {path.name for path in (ROOT / "discovery").iterdir() if path.name != "__pycache__"}
    assert names <= {"__init__.py", "__main__.py", *ROOMS}


def test_tests_mirror_the_rooms() -> None:
    present = {path.name for path in (ROOT / "discovery").iterdir() if path.is_dir()} & set(ROOMS)
    assert not [room for room in present if not (ROOT / "tests" / room).is_dir()]
