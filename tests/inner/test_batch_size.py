"""How many trainings fit: arithmetic with programs of known size; real ones are in tests/test_width.py."""

import math

import jax
import numpy as np
import pytest

from discovery.core.jobs import AlgorithmSpec
from discovery.inner import batch_size as room
from environments.task import Setup, Task

TINY = Setup("Catch-bsuite", n_envs=2, n_steps=4, n_epochs=1, n_minibatches=1, hidden=(4,), curve_points=2)


@pytest.mark.parametrize("devices", [1, 3])
def test_the_largest_power_of_two_that_fits_is_found_from_two_narrow_programs(devices):
    """100 bytes, and 7 for each lane of a device: 128 lanes fit into 1,000, 256 do not."""
    asked = []

    def bytes_at(lanes):
        asked.append(lanes)
        return 100 + 7 * lanes // devices

    assert room.lanes_that_fit(bytes_at, 1000.0, devices) == 128 * devices
    assert set(asked) == {4 * devices, 8 * devices, 128 * devices}
    assert room.lanes_that_fit(bytes_at, 100.0 + 7 * 64, devices) == 64 * devices  # to the byte
    assert room.lanes_that_fit(bytes_at, 99.0 + 7 * 64, devices) == 32 * devices
    assert room.lanes_that_fit(bytes_at, 107.0, devices) == devices
    assert room.lanes_that_fit(bytes_at, 1e12, devices) == {1: room.MOST, 3: 3 * 2**12}[devices]
    with pytest.raises(MemoryError, match="n_envs"):
        room.lanes_that_fit(bytes_at, 106.0, devices)


def test_a_program_that_takes_more_than_was_foreseen_is_halved_until_it_fits():
    """Memory that jumps at 32 lanes, and no program at all from 64 on."""

    def bytes_at(lanes):
        return math.inf if lanes >= 64 else 100 + 7 * lanes + 1000 * (lanes >= 32)

    assert room.lanes_that_fit(bytes_at, 1000.0) == 16


def test_what_was_found_is_remembered(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = []

    def asked(device):
        """How often it was looked for so far, this time included."""
        assert room.remembered({"device": device, "n": (1, 2)}, lambda: found.append(1) or 512) == 512
        return len(found)

    assert [asked("a"), asked("a"), asked("b"), asked("a")] == [1, 1, 2, 2]
    for path in (tmp_path / "rl-discovery" / "room").iterdir():
        path.write_text("{half")
    assert asked("a") == 3
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # no folder can be made there
    assert asked("a") == 4


def test_a_device_that_does_not_tell_its_memory_is_not_guessed_at():
    """A CPU does not."""
    assert jax.devices()[0].memory_stats() is None
    with pytest.raises(ValueError, match="agents_per_call"):
        room.measure_lanes(AlgorithmSpec("ppo"), Task("catch", TINY, 80), {}, np.zeros((1, 2)), np.ones(1))
