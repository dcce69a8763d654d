"""README and docs: every command is run, every link leads somewhere, every path that is named is there.

Commands are those of fenced blocks and of inline code. The fast tests run them in order in a folder that has
a finished run, let those that train do everything up to the first training, and those that draw look for what
is not there. The slow tests run these too, made small.
"""

import argparse
import contextlib
import importlib
import io
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import pytest
import tomli_w

from discovery.app.command_line import main

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("runs/README.md")])
PAGES = [page for page in PAGES if page.name != "CHANGELOG.md"]

RUNS = ("first", "lucky", "mine", "smaller")
"""Names of runs that the docs use, other than placeholders."""
PLACEHOLDERS = {"RUN": "runs/first", "NAME": "first", "PRESET": "lpo-catch", "SUITE": "classic"}
PLACEHOLDERS |= {"ID": "grid/small", "VERB": "search"}
"""What stands for words that the reader is to replace."""
TRAINS = ("evaluate", "compare", "repeat", "resume", "quickstart")
"""Verbs, beside `search`, that train."""
DRAWS = ("plot", "report")
"""Verbs that draw."""
SLOW_PYTHON = ("d.discover(", "from found import", "run.report(")
"""What marks Python that searches, that needs a search of which the finished run is no example, or that draws
everything.
"""
NOWHERE = ["--executor", "nowhere"]
"""An executor that there is not: noticed after all other arguments, and before the first training."""
SMALL = {
    "--meta.population": "4",
    "--seeds": "1",
    "--selection-seeds": "2",
    "--selection-doublings": "0",
    "--tasks.0.total-steps": "4096",
}
"""Flags that make a search small."""
HELD_OUT = {"lpo-catch": 2, "quickstart": 1}
"""How many tasks the presets of the docs hold out, which are made small too."""


def prose(page: Path) -> str:
    """The page without its fenced blocks, each as long as it was."""
    return re.sub(r"^```.*?^```", lambda found: " " * len(found[0]), page.read_text(), flags=re.M | re.S)


def blocks(page: Path) -> list[tuple[int, str, str]]:
    """What a page has to run, in order: where it begins, the kind, the text."""
    fences = re.finditer(r"^```(sh|python|toml)\n(.*?)^```", page.read_text(), re.M | re.S)
    inlines = re.finditer(r"`((?:discovery|python -m) [^`]+)`", prose(page))
    found = [(fence.start(), fence[1], fence[2]) for fence in fences]
    found += [(inline.start(), "sh", " ".join(inline[1].split())) for inline in inlines]
    return sorted(found)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell block."""
    for line in text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield [re.sub(r"\b[A-Z]+\b", lambda name: PLACEHOLDERS.get(name[0], name[0]), w) for w in words]


@pytest.fixture(scope="module")
def at_first(finished_run: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run under each of the names that the docs use."""
    folder = tmp_path_factory.mktemp("docs") / "at first"
    for name in RUNS:
        shutil.copytree(finished_run.folder, folder / "runs" / name)
    discovery("export", str(folder / "runs/first"), "--to", "jax", "--out", str(folder / "found.py"))
    (folder / "mine.toml").write_text(discovery("presets", "lpo-catch"))
    shutil.copy(ROOT / "docs" / "examples" / "my_loss.py", folder)
    return folder


@pytest.fixture
def folder(at_first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it to stand in."""
    shutil.copytree(at_first, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("found", None)


def discovery(*arguments: str, code: int = 0, says: str = "") -> str:
    """Run a verb here, which must end with `code` and an error that `says` so; returns what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        ended = main(arguments)
    assert ended == code and says in err.getvalue(), f"{shlex.join(arguments)}: {err.getvalue()}"
    return out.getvalue()


def check_command(words: list[str], slow: bool) -> None:
    """Run one command of a page, or as much of it as the fast tests can afford."""
    while "=" in words[0]:  # PYTHONPATH=docs/examples, which `folder` sets
        words = words[1:]
    program = words[0]
    if program == "discovery":
        target = words.index(">") if ">" in words else len(words)
        printed = check_discovery(words[1:target], slow)
        if words[target + 1 :]:
            Path(words[target + 1]).write_text(printed)
    elif program == "python":
        check_module(words[2:])
    elif program == "make":
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
    elif program == "pip":
        check_extras(words)
    else:
        assert program in ("source", "export"), f"no test runs {program!r}"


def check_discovery(words: list[str], slow: bool) -> str:
    """Run a verb; what trains, up to its first training or, in the slow tests, made small."""
    verb, rest = words[0], words[1:]
    if not rest:
        return discovery(verb, "--help")
    if verb == "search":
        return search_small(rest) if slow else search_dry(rest)
    if verb in TRAINS or "--measure" in rest:
        return train_little(verb, rest) if slow else discovery(verb, *rest, *NOWHERE, code=2, says="nowhere")
    if verb in DRAWS or {"--verify", "--picture"} & set(rest):
        if slow:
            return discovery(verb, *rest)
        return discovery(verb, "runs/nowhere", *rest[1:], code=2, says="nowhere")
    if verb == "doctor" and "--ray" in rest:
        return discovery("doctor", "--ray") if slow and "--address" not in rest else ""
    return "" if slow and verb != "export" else discovery(verb, *rest)


def search_dry(rest: list[str]) -> str:
    """A search up to its plan; on Ray, up to the name, which is checked before Ray is looked for."""
    if "ray" in rest:
        return discovery("search", *rest, "--name", "a/b", code=2, says="a/b")
    return discovery("search", *rest, "--output", "new", *([] if "--dry-run" in rest else ["--dry-run"]))


def search_small(rest: list[str]) -> str:
    """A small search in place of a large one; none where it is dry, or needs a cluster, GPUs or a suite."""
    if {"--dry-run", "--address", "--gpu-workers", "--suite"} & set(rest):
        return ""
    if "--name" in rest:
        shutil.rmtree(Path("runs") / rest[rest.index("--name") + 1], ignore_errors=True)
    small = [] if "0" in rest else ["--generations", "1"]
    small += [word for flag, value in SMALL.items() if flag not in rest for word in (flag, value)]
    for task in range(HELD_OUT.get(rest[0], 0)):
        small += [f"--held-out.{task}.total-steps", "4096"]
    return discovery("search", *rest, *small, *([] if "--executor" in rest else ["--executor", "inline"]))


def train_little(verb: str, rest: list[str]) -> str:
    """Few seeds in place of many. References are not measured, and a run to be repeated is not extended."""
    if verb == "quickstart" or {"--measure", "--address", "--gpu-workers", "--generations"} & set(rest):
        return ""
    few = ["--seeds", "2"] if verb in ("evaluate", "compare") else []
    few += ["--tasks", "Catch-bsuite"] if verb == "compare" else []
    return discovery(verb, *rest, *few, "--executor", "inline")


class _Parsed(Exception):
    """The arguments are right."""


def check_module(words: list[str]) -> None:
    """Let a benchmark parse its arguments, and stop it there."""
    name, *arguments = words
    if name == "discovery":
        return
    module = importlib.import_module(f"{name}.__main__" if name == "benchmarks" else name)
    parse = argparse.ArgumentParser.parse_args

    def parse_only(self: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        parse(self, arguments)
        raise _Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
        with pytest.raises(_Parsed):
            module.main()


def check_extras(words: list[str]) -> None:
    """The extras of this project that are to be installed are declared."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (named,) = re.findall(r"\.\[(\S*)\]", " ".join(words))
    assert set(named.split(",")) <= extras.keys()


def check_settings(text: str) -> None:
    """A fragment of a search's file is accepted, with everything else as it is by default."""
    settings = tomllib.loads(text)
    if isinstance(tasks := settings.get("tasks"), dict):
        settings["tasks"] = [tasks]
    Path("fragment.toml").write_text(tomli_w.dumps(settings))
    discovery("search", "fragment.toml", "--dry-run")


def check_python(text: str) -> None:
    """Run the code as a reader's script, whose minibatch has three samples."""
    minibatch = {name: jnp.array([-1.0, -0.5, -2.0]) for name in ("log_prob", "old_log_prob", "advantage")}
    exec(compile(text, "<docs>", "exec"), minibatch)


_accepted: set[str] = set()
"""Commands that the fast tests ran already, on some page: every page finds the same folder."""


def check_page(page: Path, slow: bool) -> None:
    """Run the blocks of a page in order."""
    for _, kind, text in blocks(page):
        try:
            if kind == "sh":
                for words in commands(text):
                    if slow or shlex.join(words) not in _accepted:
                        check_command(words, slow)
                    if not slow:
                        _accepted.add(shlex.join(words))
            elif kind == "toml" and not slow:
                check_settings(text)
            elif kind == "python" and slow == any(word in text for word in SLOW_PYTHON):
                check_python(text)
        except BaseException as error:
            error.add_note(f"in {page.name}: {text}")
            raise


def of_page(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=of_page)
def test_every_command_is_accepted(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tracing a training of each search, which the slow tests do."""
    monkeypatch.setattr("discovery.search.check._trace", lambda *_: None)
    check_page(page, slow=False)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=of_page)
def test_every_command_runs(page: Path, folder: Path) -> None:
    check_page(page, slow=True)


def test_a_wrong_command_is_noticed(folder: Path) -> None:
    """The checks above can fail."""
    for line in (
        "discovery evaluate runs/first ppo --sede 3",
        "discovery search lpo-catch --generatins 3",
        "discovery compare ppo nobody --suite classic",
        "python -m benchmarks.stopping --serches 4",
        "pip install -e '.[bracks]'",
        "make quickstrat",
        "rm -r runs",
    ):
        with pytest.raises((AssertionError, SystemExit, subprocess.CalledProcessError)):
            for words in commands(line):
                check_command(words, slow=False)


def anchors(page: Path) -> set[str]:
    """What links can point to within a page: its headings, as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> dict[str, tuple[Path, str]]:
    """The links of a page to files: each with its file and the anchor in it."""
    found = {}
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"https?://", link):
            path, _, anchor = link.partition("#")
            found[link] = ((page.parent / path).resolve() if path else page, anchor)
    return found


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=of_page)
def test_every_link_and_path_leads_somewhere(page: Path) -> None:
    dead = [
        link
        for link, (target, anchor) in links(page).items()
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]
    assert not dead
    if page in PAGES:  # what the changelog names may be gone
        folders = "discovery|objectives|environments|llm_prompts|benchmarks|tests|docs|notebooks"
        named = re.findall(rf"`((?:{folders})/[\w./-]*)", prose(page))
        assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_readme_names_the_rooms() -> None:
    rooms = {path.name for path in (ROOT / "discovery").iterdir() if (path / "__init__.py").exists()}
    assert set(re.findall(r"^  (\w+)/ ", (ROOT / "README.md").read_text(), re.M)) == rooms


def test_every_page_is_linked_from_another() -> None:
    linked = {target for page in PAGES for target, _ in links(page).values()}
    adr = (ROOT / "docs" / "adr").resolve()
    alone = {page.resolve() for page in PAGES if page.parent != adr} - linked
    assert adr in linked and alone <= {(ROOT / "README.md").resolve()}
