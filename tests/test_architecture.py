"""The house rules that a reader relies on: which way imports go, what is light, what is public."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
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
ROOMS = (
    *("core", "statistics", "inner", "meta", "executors", "language", "store"),
    *("search", "results", "judging", "export", "display", "app"),
)
"""The rooms of `discovery/` from the bottom up; a room imports only itself and rooms before it."""


def imports(package: str) -> Iterator[tuple[str, list[str]]]:
    """Yields (place, parts of the dotted name) of all imports in a package, lazy and type imports too."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path} imports by a relative name"
                names = [f"{node.module}.{name}" for name in names]
            for name in names:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", name.split(".")


@pytest.mark.parametrize("package", FOUNDATIONS)
def test_foundations_import_neither_discovery_nor_one_another(package: str) -> None:
    others = set(PACKAGES) - {package}
    assert [(place, name) for place, name in imports(package) if name[0] in others] == []


def test_objectives_are_pure_maths() -> None:
    """A family's picture.py may draw; it is loaded only when a picture is asked for."""
    allowed = MATHS | sys.stdlib_module_names | {"objectives"}
    foreign = {(place, name[0]) for place, name in imports("objectives") if name[0] not in allowed}
    assert {(place, name) for place, name in foreign if "/picture.py:" not in place} == set()
    assert {name for _, name in foreign} == {"matplotlib"}


def test_no_file_is_part_of_an_import_circle() -> None:
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): set[str]()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    for package in PACKAGES:
        for place, name in imports(package):
            own = place.rpartition(":")[0].removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            found = next((n for n in (".".join(name), ".".join(name[:-1])) if n in files), own)
            files[own] |= {found} - {own}
    assert sum(map(len, files.values())) > 500, "the imports were not found"
    TopologicalSorter(files).prepare()  # raises a CycleError


def test_rooms_import_only_rooms_before_them() -> None:
    found = [
        (place, place.split("/")[1], name[1])
        for place, name in imports("discovery")
        if name[0] == "discovery" and place.count("/") > 1
    ]
    assert len(found) > 300, "the imports were not found"
    assert [each for each in found if ROOMS.index(each[2]) > ROOMS.index(each[1])] == []


def test_discovery_is_its_rooms_which_all_have_tests() -> None:
    names = {path.name for path in (ROOT / "discovery").iterdir() if path.name != "__pycache__"}
    assert names <= {"__init__.py", "__main__.py", *ROOMS}
    assert [room for room in names & set(ROOMS) if not (ROOT / "tests" / room).is_dir()] == []


MAIN = "import sys, runpy; sys.argv = ['discovery', '--help']; "


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import discovery", HEAVY),
        (f"{MAIN}from discovery.app.command_line import main; sys.exit(main())", HEAVY),
        (f"{MAIN}runpy.run_module('discovery', run_name='__main__')", HEAVY),
        (f"from objectives import build; [build(name) for name in {tuple(FAMILIES)}]", ("matplotlib",)),
    ],
    ids=["import", "console script", "python -m", "families without what draws them"],
)
def test_what_is_light_loads_nothing_heavy(statement: str, unwanted: tuple[str, ...]) -> None:
    """In a fresh interpreter."""
    code = f"""
import sys
try:
    {statement}
except SystemExit as end:
    if end.code:
        raise
print("loaded:", *[name for name in {unwanted!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_say_whose_they_are_and_what_is_public(package: str) -> None:
    """`discovery doctor` tells our packages from another distribution's of the same name by this."""
    module = importlib.import_module(package)
    assert module.__distribution__ == "rl-discovery"
    assert Path(module.__file__ or "").parent == ROOT / package
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_shapes_are_checked_in_tests() -> None:
    """The import hook of conftest.py is at work: an annotation " B" refuses a matrix."""
    assert standardize(jnp.arange(3.0)).shape == (3,)
    with pytest.raises(jaxtyping.TypeCheckError):
        standardize(jnp.zeros((2, 3)))
