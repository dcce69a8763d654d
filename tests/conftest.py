"""What holds for every test: one CPU thread for XLA, no display, and shapes checked at run time."""

import os
import typing

# These are read when jax and matplotlib are imported. A pool of two threads can hang on vmapped trainings.
os.environ["PJRT_NPROC"] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["MPLBACKEND"] = "Agg"

import jaxtyping
import pytest

# Functions' array annotations are checked here and nowhere else; users pay nothing. What is imported before
# this line escapes the check, so nothing of ours may be.
jaxtyping.install_import_hook(["objectives", "environments", "discovery.inner"], "beartype.beartype")

from objectives.base import Distribution  # noqa: E402

# Beartype asks isinstance where a function is annotated to return one.
typing.runtime_checkable(Distribution)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs an accelerator unless JAX_PLATFORMS names one."""
    if os.environ["JAX_PLATFORMS"] != "cpu":
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skipif(True, reason="needs an accelerator: set JAX_PLATFORMS=cuda"))
