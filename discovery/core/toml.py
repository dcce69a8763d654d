"""Configs as TOML files: strict on the way in, complete on the way out.

The command line, the file and the record use the same frozen dataclasses. Unset options (None) and empty
tables are left out of the file, since TOML has no null.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.core.plain import build, plain

CONFIG = "config.toml"
"""The file in a run's folder that holds its config."""


OLD_NAMES = {"brood": "batch", "mean_every": "answer_every"}
"""Options of methods that had other names in older versions."""


def is_run(folder: str | Path) -> bool:
    """Whether a folder is a run's, since it holds a config."""
    return (Path(folder) / CONFIG).is_file()


def dumps(config: Any) -> str:
    """A config dataclass as TOML text."""
    return tomli_w.dumps(plain(config))


def load(path: Path) -> SearchConfig:
    """Read a search config.

    Raises:
        BadInput: if the file cannot be read, is not TOML, or holds an unknown or unsuitable setting.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors write a BOM
    except OSError as error:
        raise BadInput(f"config file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"config file {path} is not UTF-8 text: {error}") from error
    return loads(text, f"config file {path}")


def loads(text: str, source: str) -> SearchConfig:
    """A search config from TOML text; messages call it `source`.

    Raises:
        BadInput: as for `load`.
    """
    try:
        data = tomllib.loads(text)
        if not data:
            raise BadInput("it is empty; name at least an algorithm and a task")
        config = build(SearchConfig, {**data, "meta": _renamed(data["meta"])} if "meta" in data else data)
        return from_suite(config, config.suite) if config.suite and "tasks" not in data else config
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{source} is not valid TOML: {error}") from error
    except ValueError as error:
        raise BadInput(f"{source}: {error}") from error


def _renamed(meta: Any) -> Any:
    """The options of a method, also from the form in configs of older runs."""
    if not isinstance(meta, Mapping):
        return meta
    meta = {OLD_NAMES.get(name, name): value for name, value in meta.items()}
    if meta.get("strategy") != "PBE" or not isinstance(own := meta.get("pbe", {}), Mapping):
        return meta
    return {**{k: v for k, v in meta.items() if k not in ("strategy", "pbe")}, **own, "method": "pbe"}


def from_suite(config: SearchConfig, name: str) -> SearchConfig:
    """The same search on the tasks of a suite, in its splits.

    Raises:
        BadInput: there is no such suite, or it cannot be loaded.
    """
    from discovery.core.suites import load_suite

    suite = load_suite(name)
    tasks, selection, held_out = (
        tuple(dataclasses.replace(entry.task, reference=entry.ppo.mean) for entry in entries)
        for entries in (suite.train, suite.selection, suite.test)
    )
    return dataclasses.replace(config, suite=name, tasks=tasks, selection=selection, held_out=held_out)
