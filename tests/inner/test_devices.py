"""One chunk on several devices; and what its program is made of. Two devices need a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from discovery.core.jobs import AlgorithmSpec
from discovery.inner import compile as compiled
from environments.task import Setup, Task
from tests.inner import test_compile

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SETUP = Setup("Catch-bsuite", n_envs=2, n_steps=4, n_epochs=2, n_minibatches=2, hidden=(4,), curve_points=4)
SPEC, TASK = AlgorithmSpec("ppo"), Task("catch", SETUP, 320)
LIFETIMES = [40, 40, 10, 23]
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective", "reduce-scatter", "partition-id")

ON_TWO = """
import sys, json, warnings
import jax
jax.config.update("jax_num_cpu_devices", 2)
import numpy as np
from discovery.inner import compile as compiled
from tests.inner.test_devices import COLLECTIVES, LIFETIMES, chunk
warnings.simplefilter("error")
whole, _ = chunk([0, 1, 2, 3])
turned, _ = chunk([2, 3, 0, 1])
odd, _ = chunk([0, 1, 2])
(program, alone) = compiled._executables.values()
_, checkpoint = chunk([0, 1, 2, 3], until=[5, 5, 5, 5])
kept = [leaf.copy() for leaf in checkpoint]
stopped, _ = chunk([0, 1, 2, 3], until=LIFETIMES, checkpoint=checkpoint)
stretch = list(compiled._executables.values())[-1]
print(json.dumps({
    "devices": [len(each.input_shardings[0][2].device_set) for each in (program, alone, stretch)],
    "collectives": [name for name in COLLECTIVES if name in program.as_text() + stretch.as_text()],
    "curves": whole.curve.tolist(),
    "turned": turned.curve[[2, 3, 0, 1]].tolist(),
    "odd": odd.curve.tolist(),
    "stopped": stopped.curve.tolist(),
    "intact": all(np.array_equal(old, new) for old, new in zip(kept, checkpoint)),
    "argument bytes": program.memory_analysis().argument_size_in_bytes,
    "alias bytes": stretch.memory_analysis().alias_size_in_bytes,
    "state bytes": sum(leaf.nbytes for leaf in checkpoint),
}))
"""


def chunk(seeds, until=None, checkpoint=None):
    """Outcome and states of trainings with these seeds."""
    lifetimes = [LIFETIMES[seed] for seed in seeds]
    stretch = () if until is None else (np.asarray(until), checkpoint)
    return test_compile.chunk(SPEC, TASK, {}, seeds, lifetimes, *stretch)[:2]


@pytest.fixture(scope="module")
def on_two():
    """What came of the same trainings on two devices."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PJRT_NPROC": "1", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", ON_TWO]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_lanes_are_spread_over_devices_that_do_not_speak(on_two):
    """Half of the lanes on each; where they cannot be halved, all on one. No device waits for another.

    A lane has the same bits on whichever device. States to go on from are used up on the device, and intact
    on the host.
    """
    assert on_two["devices"] == [2, 1, 2]
    assert on_two["collectives"] == []
    numbers = len(compiled.arguments_of(SPEC, TASK, {}, np.zeros((1, 2)), np.ones(1))[0])
    assert on_two["argument bytes"] == 4 * numbers + 2 * (8 + 4)
    assert on_two["curves"] == on_two["turned"]
    assert on_two["intact"] and on_two["alias bytes"] == on_two["state bytes"] / 2  # of each device


def test_on_one_device_or_two_numbers_differ_by_rounding(on_two):
    """They are those of two programs: the compiler fuses otherwise."""
    one, _ = chunk([0, 1, 2, 3])
    for name in ("curves", "stopped"):
        np.testing.assert_allclose(np.asarray(on_two[name], float), one.curve, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(on_two["odd"], float), one.curve[:3], rtol=1e-4)
