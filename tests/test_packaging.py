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


def names_a_place(line: str) -> bool:
    return bool(HOST.search(line) or MACHINE_PATH.search(line))


def repository_files() -> list[str]:
    """Paths of all files that are tracked, or would be by `git add .`."""
    # The option lets a checkout that another user owns, as in some containers, be listed.
    command = ["git", "-c", f"safe.directory={ROOT}"]
    command += ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in listing.split("\0") if name and (ROOT / name).is_file())


def test_the_wheel_holds_every_file_of_the_four_packages_and_nothing_else(tmp_path: Path) -> None:
    """Python files, and also presets (.toml), templates and prompts (.md). It is built offline."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("*.whl")
    wheel = zipfile.ZipFile(path)
    folder = f"rl_discovery-{PROJECT['version']}.dist-info"
    shipped = {name for name in wheel.namelist() if not name.startswith(f"{folder}/")}
    assert shipped == {name for name in repository_files() if name.partition("/")[0] in PACKAGES}
    assert f"{folder}/licenses/LICENSE" in wheel.namelist()
    metadata = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
    assert (metadata["Name"], metadata["License-Expression"]) == ("rl-discovery", "Apache-2.0")
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
    """The first lines guard the search itself."""
    for line in ("see /root" + "/x.py", '"/home' + '/me/runs"', "https://py" + "pi.org/simple"):
        assert names_a_place(line)
    assert not names_a_place("an owner/home/page on the web") and not names_a_place("#!/usr/bin/env bash")
    found = []
    for name in repository_files():
        try:
            lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {line.strip()[:100]}" for line in lines if names_a_place(line)]
    assert not found
