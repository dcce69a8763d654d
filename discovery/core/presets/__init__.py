"""The presets that are shipped with the package, by name."""

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput, unknown
from discovery.core.toml import load, loads


def _folder() -> Traversable:
    return files("discovery.core.presets")


def names() -> list[str]:
    """Names of all presets."""
    files = (entry.name for entry in _folder().iterdir())
    return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))


def text(name: str) -> str:
    """The file of a preset."""
    if name not in names():
        raise unknown("preset", name, names())
    return (_folder() / f"{name}.toml").read_text(encoding="utf-8")


def summary(name: str) -> str:
    """Its first line, a comment that describes it."""
    return text(name).partition("\n")[0].lstrip("# ")


def read(name: str) -> tuple[SearchConfig, str]:
    """The config of a preset or of a TOML file, and a short name for it.

    Raises:
        BadInput: no preset or file has this name, or the file is not a config.
    """
    if name in names():
        return loads(text(name), f"preset {name}"), name
    path = Path(name)
    if path.is_file():
        return load(path), _short_name(path)
    if path.suffix == ".toml" or "/" in name:
        what = "is a folder" if path.is_dir() else "does not exist"
        raise BadInput(f"config file {name} {what}; `discovery presets` lists the presets")
    raise unknown("preset", name, names())


def _short_name(path: Path) -> str:
    """The name for runs of a file; a run's config.toml keeps the run's name."""
    name = path.resolve().parent.name if path.name == "config.toml" else path.stem
    dated = re.fullmatch(r"\d{4}-\d\d-\d\d-(.+)-[0-9a-f]{6}", name)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", dated[1] if dated else name).strip("-.") or "search"
