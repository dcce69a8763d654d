"""A run: one folder with everything that happened in one search.

``config.toml`` (the whole config), ``ledger.sqlite`` and ``arrays/`` (see docs/ledger.md), and what users
made from it: ``plots/``, ``exports/``.
"""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput, DiscoveryError, LedgerError, RunError
from discovery.core.plain import plain
from discovery.core.toml import CONFIG, dumps, is_run, load, loads
from discovery.meta.base import Proposal
from discovery.store.ledger import Ledger
from discovery.store.start import Start

MAY_CHANGE = frozenset(
    {"generations", "executor", "workers", "address", "gpu_workers", "gpus_per_worker", "timeout"}
)
"""Settings of a config that may differ when a run continues: numbers do not depend on them."""

__all__ = ["CONFIG", "Run", "config_hash", "new_folder"]


class Run:
    """A search's folder, its config and its open ledger. Make one with `create` or `open`."""

    def __init__(self, folder: Path, config: SearchConfig, ledger: Ledger) -> None:
        self.folder = folder
        self.config = config
        self.ledger = ledger

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @classmethod
    def create(
        cls,
        config: SearchConfig,
        output: Path,
        preset: str = "search",
        name: str | None = None,
        start: Start | None = None,
        order: Sequence[int] | None = None,
    ) -> Self:
        """Begin a run in a new folder below `output`, ``<date>-<preset>-<short id>`` unless named.

        It is made under a temporary name, so it exists completely or not at all. `start` is stored with it,
        since the config's sources may change; so is `order`, the order in which a search to be repeated
        learned. The width of calls is recorded as a number.
        """
        config = replace(config, agents_per_call=config.width)
        folder = new_folder(config, output, preset, name)
        part = output / f".{folder.name}-{os.getpid()}"
        text = dumps(config)
        meta = {"run": folder.name, "config_hash": config_hash(config), "preset": preset, "config": text}
        try:
            output.mkdir(parents=True, exist_ok=True)
            part.mkdir()
            (part / CONFIG).write_text(text, encoding="utf-8")
            with Ledger.create(part, meta) as ledger:
                if start is not None:
                    ledger.keep_start(start)
                if order is not None:
                    ledger.keep_order(order)
            part.rename(folder)
        except (OSError, LedgerError) as error:
            shutil.rmtree(part, ignore_errors=True)
            raise _not_made(error, folder) from error
        return cls(folder, config, Ledger.open(folder, write=True))

    @classmethod
    def open(cls, folder: Path | str, write: bool = False) -> Self:
        """Open an existing run, for writing or only for reading."""
        folder = Path(folder)
        if not is_run(folder):
            raise BadInput(
                f"{folder} is not a run: it holds no {CONFIG}; `discovery list` shows the runs there are"
            )
        return cls(folder, load(folder / CONFIG), Ledger.open(folder, write=write))

    def close(self) -> None:
        """Close the ledger; safe to call twice."""
        self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def refuse_changed_config(self) -> None:
        """Refuse to continue with a config that was edited since the run began, if numbers depend on the
        change.

        Raises:
            BadInput: a setting that is not in `MAY_CHANGE` has another value.
        """
        if (recorded := self.ledger.meta.get("config")) is None:
            return  # a run of an earlier version
        before, now = _settings(plain(loads(recorded, "the run's record"))), _settings(plain(self.config))
        names = [name for name in before | now if before.get(name) != now.get(name)]
        if names := [name for name in names if name not in MAY_CHANGE]:
            texts = [f"{name} was {before.get(name)!r}, is {now.get(name)!r}" for name in names[:5]]
            more = f", and {len(names) - 5} more" if len(names) > 5 else ""
            path = self.folder / CONFIG
            raise BadInput(
                f"{path} was changed since the run began: {'; '.join(texts)}{more}. Old and new scores would "
                f"compete: restore the file, or begin a new run with `discovery search {path}`"
            )

    def answer(self, generation: int | None = None) -> Proposal:
        """The search's answer after a closed generation: -1 is the initial state, None the last."""
        return self.ledger.load_answer(generation, self._template)

    def start(self) -> Any:
        """The meta-parameters that the search starts from; None for the family's initial values."""
        return self.ledger.load_start(self._template)

    def _template(self) -> Any:
        """Shapes of the searched entries, for trees that are more than nested dicts."""
        import jax

        from discovery.inner.compile import build_algorithm

        return jax.eval_shape(build_algorithm(self.config.spec).init, jax.random.key(0))


def new_folder(config: SearchConfig, output: Path, preset: str, name: str | None) -> Path:
    """A folder name that is free; the short id is a hash of config and time, and nothing depends on it."""
    if name is not None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
            raise BadInput(
                "a run's name must have at most 100 letters, digits, '.', '_' and '-', and must begin with a "
                f"letter or digit, got {name[:120]!r}"
            )
        if (output / name).exists():
            raise BadInput(f"{output / name} exists already; choose another name, or resume it")
        return output / name
    now = datetime.now()
    short = hashlib.sha256(f"{config_hash(config)}{now.isoformat()}".encode()).hexdigest()[:6]
    return output / f"{now:%Y-%m-%d}-{preset}-{short}"


def _not_made(error: OSError | LedgerError, folder: Path) -> DiscoveryError:
    """The message if a run's folder cannot be created."""
    if isinstance(error, LedgerError):
        return error
    if error.errno in (errno.EEXIST, errno.ENOTEMPTY) and folder.exists():
        return BadInput(f"{folder} exists already; choose another name, or resume it")
    kind = RunError if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else BadInput
    return kind(
        f"a run cannot be created in {folder.parent}: {error.strerror}; choose another folder with --output"
    )


def _settings(data: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Nested tables as one, by dotted names: "tasks.0.setup.n_envs"."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            value = {str(number): entry for number, entry in enumerate(value)}
        if isinstance(value, Mapping):
            found |= _settings(value, f"{where}{name}.")
        else:
            found[f"{where}{name}"] = value
    return found


def config_hash(config: SearchConfig) -> str:
    """Twelve hex digits that identify a config."""
    return hashlib.sha256(dumps(config).encode()).hexdigest()[:12]
