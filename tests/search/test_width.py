"""The number of agents per call that a run records: given, a CPU's, or what a device's memory holds."""

import tomllib
from dataclasses import replace

import jax
import numpy as np
import pytest

from discovery.core.config.methods import ESConfig, PBEConfig
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput, ExecutorError
from discovery.executors.chunks import cut
from discovery.inner import batch_size as room
from discovery.inner import compile as compiled
from discovery.inner.loops.on_policy import METRICS
from discovery.search import width
from discovery.store.run import Run
from environments.task import Setup, Task

SETUP = Setup("Catch-bsuite", n_envs=2, n_steps=4, n_epochs=1, n_minibatches=1, hidden=(4,), curve_points=2)
CONFIG = SearchConfig(
    algorithm="lpo",
    algorithm_options={"width": 2},
    meta=ESConfig(population=6),
    tasks=(Task("catch", SETUP, 80),),
    seeds=3,
    selection_seeds=4,
    executor="inline",
)


def test_calls_are_as_few_and_as_narrow_as_can_be():
    assert [width.even_share(22, room) for room in (1, 4, 8, 16, 32)] == [1, 4, 8, 11, 22]
    assert width.even_share(22, 16, devices=4) == 12
    assert [width.even_share(22, 32, calls=calls) for calls in (1, 2, 4, 22, 100)] == [22, 11, 6, 1, 1]
    generator = np.random.default_rng(0)
    for _ in range(50):
        devices = int(generator.integers(1, 9))
        trainings, lanes = int(generator.integers(1, 3000)), devices * 2 ** int(generator.integers(0, 10))
        found = width.even_share(trainings, lanes, devices)
        assert found <= lanes and found % devices == 0
        calls = -(-trainings // found)
        assert calls == -(-trainings // lanes) and (found - devices) * calls < trainings


def test_on_cpus_it_is_eight_and_what_is_given_stays_and_is_recorded(tmp_path):
    for executor in ("inline", "processes"):
        assert width.with_width(replace(CONFIG, executor=executor)).agents_per_call == 8
    mixed = SearchConfig(executor="ray", workers=2, gpu_workers=1)
    assert width.with_width(mixed).agents_per_call == 8
    for config, number in ((SearchConfig(), 8), (SearchConfig(agents_per_call=5), 5)):
        with Run.create(config, tmp_path, name=str(number)) as run:
            assert run.config.agents_per_call == number
        recorded = tomllib.loads((tmp_path / str(number) / "config.toml").read_text())
        assert recorded["agents_per_call"] == number
    with pytest.raises(BadInput, match="agents_per_call must be between"):
        SearchConfig(agents_per_call=0)


def test_that_of_an_executor_that_was_given_is_recorded(finished_run):
    """Else `discovery repeat` trains at another width, and numbers differ."""
    with Run.open(finished_run.folder) as run:
        assert run.config.agents_per_call == 4


def test_every_worker_has_a_call():
    """Of 22 trainings a generation: 6 proposals on 3 seeds, the mean on 4."""
    assert width.trainings_at_once(CONFIG) == (22, 1)
    four = replace(CONFIG, executor="ray", gpu_workers=4)
    assert width.trainings_at_once(four) == (22, 4) and width.even_share(*_with_room(four, 64)) == 6
    both = replace(four, tasks=(*CONFIG.tasks, replace(CONFIG.tasks[0], name="again")))
    assert width.trainings_at_once(both) == (22, 2)
    flowing = PBEConfig(asynchronous=True, population=6)
    two = replace(four, gpu_workers=2, meta=flowing)
    assert width.trainings_at_once(two) == (18, 4) and width.even_share(*_with_room(two, 64)) == 5
    settled = replace(two, agents_per_call=5)
    assert settled.proposing.batch_size == 2 and settled.proposing.batches_in_flight == 3
    assert width.trainings_at_once(replace(two, meta=replace(flowing, batch=2))) == (6, 1)


def _with_room(config, room):
    trainings, calls = width.trainings_at_once(config)
    return trainings, room, 1, calls


def test_the_form_in_which_lives_are_trained_is_asked_for():
    """A program that hands out states takes more memory."""
    whole, parts = (width._questions(replace(CONFIG, stretches=stretches)) for stretches in (1, 3))
    assert {job.until for job in whole} == {None}
    assert [job.until for job in parts] == [job.lifetime for job in parts]


@pytest.mark.slow
def test_on_a_device_of_little_memory_calls_are_what_fits_and_are_found_once(monkeypatch, tmp_path):
    """The memory is made up, the programs are real. 22 trainings: 6 proposals on 3 seeds, the mean on 4."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(room, "PROBES", (2, 4))
    monkeypatch.setattr(width, "accelerators", lambda config: 1)
    (question,) = width._questions(CONFIG)
    one = compiled.arguments_of(*cut([question], 1)[0].request())
    taken = [room.program_bytes(question.algorithm, question.task, one, lanes) for lanes in (2, 4)]
    memory = int((taken[1] + 3 * (taken[1] - taken[0])) / room.SHARE)  # for ten
    monkeypatch.setattr(room, "memory_of_device", lambda: memory)
    assert width.with_width(CONFIG).agents_per_call == 8
    (program,) = [p for key, p in compiled._executables.items() if key[0] == question.algorithm][2:]
    assert_bytes_are_those_counted(program, one)
    assert room.bytes_of(program) == pytest.approx(taken[1] + 2 * (taken[1] - taken[0]), rel=0.1)
    before = dict(compiled._executables)
    compiled._executables.clear()
    assert width.with_width(CONFIG).agents_per_call == 8
    assert not compiled._executables  # remembered
    compiled._executables.update(before)
    monkeypatch.setattr(room, "memory_of_device", lambda: int(taken[0] / 4))
    with pytest.raises(ExecutorError, match="out_of_memory"):
        monkeypatch.setattr(room, "program_bytes", lambda spec, task, one, lanes: taken[0] * lanes / 2)
        width.with_width(CONFIG)


def assert_bytes_are_those_counted(program, one):
    """Of the program of eight lanes: numbers once, the rest of `one` and the outcome eight times."""
    memory, numbers = program.memory_analysis(), len(one[0])
    curves, scalars = (3 + len(METRICS)) * SETUP.curve_points, 4
    lane = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(one[1:]))
    assert memory.argument_size_in_bytes == 4 * numbers + 8 * lane
    results = 8 * 4 * (curves + scalars)
    assert results <= memory.output_size_in_bytes <= results + 128  # a table of where they are
    assert room.bytes_of(program) >= 4 * numbers + 8 * lane + results + memory.temp_size_in_bytes
