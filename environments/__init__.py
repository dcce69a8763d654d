"""Environments in which learning algorithms are judged.

`base.py` has the contract (`Environment`, `Step`), and `make.py` makes an environment from an id.
`gymnax.py`, `brax.py`, `craftax.py`, `jumanji.py`, `navix.py`, `pgx.py` and `xminigrid.py` adapt libraries
(the last five share `episodes.py`). `vector.py` steps the environments of one agent, and `task.py` describes
an inner training as plain data. Nothing here imports jax until an environment is made or a name of the
contract is used, so configuration and command line stay fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

from environments.task import Setup, Task

if TYPE_CHECKING:
    from environments.base import Environment, Step

__distribution__ = "rl-discovery"
"""The distribution this package belongs to: its name is common, and another one may shadow it."""

__all__ = ["Environment", "Setup", "Step", "Task", "__distribution__"]


def __getattr__(name: str) -> Any:
    if name in ("Environment", "Step"):
        return getattr(importlib.import_module("environments.base"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
