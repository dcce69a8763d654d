"""What leaves this repository: the wheel's content, and nothing about the machine it was written on."""

import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("discovery", "objectives", "environments", "llm_prompts")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHON = "Programming Language :: Python :: "
SUPPORTED = [name.removeprefix(PYTHON) for name in PROJECT["classifiers"] if name.startswith(PYTHON)]

HOST = re.compile(r"pypi\.org|python[h]osted|anaconda\.org|npmjs\.(?:org|com)|debian\.org")
"""Registries. Mirrors and offline machines must work, so no file may name one."""
MACHINE_PATH = re.compile(r"(?<![\w.~$}>)/-])/(?:root|home|Users|work|farm|mnt|opt|tmp)/")
"""Absolute paths that exist on one machine only."""


def repository_files() -> list[str]:
    """Paths of all files that are tracked, or would be by `git add .`."""
    # The option lets a checkout that another user owns, as in some containers, be listed.
    command = [
        "git",
        "-c",
        f"safe.directory={ROOT}",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in listing.split("\0") if name and (ROOT / name).is_file())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built offline from this tree."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_holds_the_four_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert top == {*PACKAGES, "rl_discovery-0.1.0.dist-info"}


def test_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    """Python files, and also presets (.toml), templates and prompts (.md)."""
    shipped = {name for name in wheel.namelist() if name.partition("/")[0] in PACKAGES}
    assert shipped == {name for name in repository_files() if name.partition("/")[0] in PACKAGES}


def test_wheel_metadata(wheel: zipfile.ZipFile) -> None:
    folder = f"rl_discovery-{PROJECT['version']}.dist-info"
    metadata = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
    assert metadata["Name"] == "rl-discovery"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert f"{folder}/licenses/LICENSE" in wheel.namelist()
    assert "discovery = discovery.app.command_line:main" in wheel.read(f"{folder}/entry_points.txt").decode()


@pytest.mark.parametrize("python", SUPPORTED)
def test_constraints_pin_every_dependency(python: str) -> None:
    """One `name==version` a line, no name twice, and none of the requirements left out, torch apart."""
    own = (ROOT / f"constraints/{python}.txt").read_text()
    assert "-c common.txt" in own.splitlines()
    text = own + (ROOT / "constraints/common.txt").read_text()
    pins = [line for line in text.splitlines() if not line.startswith(("#", "-c "))]
    assert [line for line in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    pinned = [distribution(line) for line in pins]
    assert len(pinned) == len(set(pinned))
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    required = {distribution(requirement) for group in groups for requirement in group}
    assert required - set(pinned) == {"torch"}


def test_every_supported_python_has_a_constraints_file() -> None:
    files = {path.stem for path in (ROOT / "constraints").glob("3.*.txt")}
    lowest, highest = re.findall(r"\d+(?=,|$)", PROJECT["requires-python"])
    assert set(SUPPORTED) == files == {f"3.{minor}" for minor in range(int(lowest), int(highest))}


def distribution(requirement: str) -> str:
    """The normalized name at the start of a requirement."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", requirement)[0]).lower()


def test_no_file_names_a_registry_or_a_machine() -> None:
    found = []
    for name in repository_files():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if HOST.search(line) or MACHINE_PATH.search(line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert not found


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ("see " + "/".join(["", "root", "x.py"]), True),
        ('"' + "/".join(["", "home", "me", "runs"]) + '"', True),
        ("https://" + "py" + "pi.org/simple", True),
        ("an owner/home/page on the web", False),
        ("#!/usr/bin/env bash", False),
    ],
)
def test_the_search_finds_what_it_should(line: str, is_found: bool) -> None:
    assert bool(HOST.search(line) or MACHINE_PATH.search(line)) == is_found
