"""Trainings for a worker on whose machine jax finds no device."""

import sys
import types

from tests.executors.fakes import run_chunk as run_chunk


def _devices() -> list[object]:
    raise RuntimeError("Unable to initialize backend 'cuda'")


sys.modules["jax"] = types.SimpleNamespace(devices=_devices)  # type: ignore[assignment]
