"""How fast trainings are: as runs measured it on such a device, else as rates.toml has it for cores, with the
ratio that runs on other tasks had to that.
"""

import functools
import math
import sqlite3
import statistics
import tomllib
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from discovery.app.commands.folders import run_folders
from discovery.app.commands.staff import CPU, is_like
from discovery.core import presets
from discovery.core.config.search import SearchConfig
from discovery.core.errors import DiscoveryError
from discovery.core.toml import load
from environments.task import Setup, Task

Program = tuple[str, frozenset[tuple[str, Any]], Setup]
"""What the speed of a training depends on: an algorithm, its options, and the setup."""

LEAST_SECONDS = 1.0
"""Less training than that says nothing of the speed."""

RECENT = 20
"""So many runs are looked at for rates, the newest first."""


@dataclass(frozen=True)
class Rate:
    """Environment steps per second of one worker on one task, all lanes of a call counted, compilation apart;
    where that is from; and the seconds until the program was compiled there, None where nobody knows.
    """

    steps_per_second: float
    source: str
    compile_seconds: float | None = None


def rates_of(config: SearchConfig, output: Path, device: str) -> dict[str, Rate]:
    """How fast one worker on such a device trains on each task; tasks of which nobody knows are left out.

    Args:
        config: of the search.
        output: folder of runs, whose own rates count first.
        device: "cpu", or a GPU, whose rates only runs can tell.
    """
    measured = measured_rates(config, output, device)
    rates = {task.name: measured.get(_program(config, task)) for task in config.seen}
    if device == CPU:
        rates = {
            task.name: rates[task.name] or recorded_rate(_program(config, task), measured)
            for task in config.seen
        }
    return {name: rate for name, rate in rates.items() if rate}


def _program(config: SearchConfig, task: Task) -> Program:
    return config.algorithm, frozenset(config.algorithm_options.items()), task.setup


def measured_rates(config: SearchConfig, output: Path, device: str) -> dict[Program, Rate]:
    """Rates of the recent runs in a folder on such a device, by what was compiled; the newest run's counts.

    How fast a GPU is depends on how much it is given at once, so only runs count that gave it as much.
    """
    rates: dict[Program, Rate] = {}
    for folder in reversed(run_folders(output)[-RECENT:]):
        with suppress(DiscoveryError, sqlite3.Error, OSError):
            run = load(folder / "config.toml")
            if device != CPU and (config.agents_per_call is None or _given(run) != _given(config)):
                continue  # how many agents fit into a call is found when a search begins
            tasks = {task.name: task for task in run.seen}
            for (name, there), (rollouts, seconds, compiled) in _times(folder).items():
                if name in tasks and seconds > LEAST_SECONDS and is_like(there, device):
                    rate = rollouts * run.width * tasks[name].setup.steps_per_update / seconds
                    source = f"measured in {folder}" + f" on {there}" * (there != CPU)
                    rates.setdefault(_program(run, tasks[name]), Rate(rate, source, compiled))
    return rates


def _given(config: SearchConfig) -> tuple[int, float]:
    """What a GPU has to do at once: trainings of a call, and the share of it that a worker has."""
    return config.width, config.gpus_per_worker


def _times(folder: Path) -> dict[tuple[str, str], tuple[int, float, float | None]]:
    """Rollouts of a run's calls (each as long as its longest lane), their seconds without compilation, and
    those of compilation on average, where there was one, by task and device. Trainings of one call have equal
    shares of its time, by which they are told.
    """
    calls = """SELECT task, device, max(until - begun) AS rollouts,
                 sum(seconds - compile_seconds) AS trained, nullif(sum(compile_seconds), 0.0) AS compiled
               FROM evaluations WHERE outcome IS NOT NULL
               GROUP BY task, device, worker, seconds, compile_seconds"""
    query = f"""SELECT task, device, sum(rollouts), sum(trained), avg(compiled) FROM ({calls})
                GROUP BY task, device"""
    with closing(sqlite3.connect(f"{(folder / 'ledger.sqlite').resolve().as_uri()}?mode=ro", uri=True)) as db:
        return {(task, device): tuple(sums) for task, device, *sums in db.execute(query)}


class Listed(NamedTuple):
    """What rates.toml has for a program: steps per second of the algorithm itself, as a preset trains it
    (`own`), or of PPO in the same environment.
    """

    steps_per_second: float
    source: str
    own: bool = False


def recorded_rate(program: Program, measured: Mapping[Program, Rate]) -> Rate:
    """The rate that rates.toml has for a program, or a stated guess, times what `measured` runs of the same
    algorithm made, on the median, of what is listed for theirs in the same sense. Where only PPO's is listed
    and was for none of them, they tell at least how fast this machine is.
    """
    listed = _listed(program) or _guess(program)
    ratios: dict[bool, list[float]] = {False: [], True: []}
    for other, rate in measured.items():
        if other[0] == program[0] and (theirs := _listed(other)):
            ratios[theirs.own].append(rate.steps_per_second / theirs.steps_per_second)
    told = ratios[listed.own] or ratios[True]
    if not told:
        return Rate(listed.steps_per_second, listed.source)
    times = statistics.median(told)
    source = f"{listed.source}; times {times:.2g}, as other tasks were here"
    return Rate(listed.steps_per_second * times, source)


def _listed(program: Program) -> Listed | None:
    if program in _presets():
        return _presets()[program]
    setup, rates = program[2], _recorded()["steps_per_second"]
    if setup.environment not in rates:
        return None
    slower, where = _slower(setup)
    return Listed(rates[setup.environment] / slower, where)


def _guess(program: Program) -> Listed:
    setup, rates = program[2], _recorded()["steps_per_second"]
    slower, where = _slower(setup)
    kind = _kind(setup.environment)
    alike = [rate for other, rate in rates.items() if kind and _kind(other) == kind]
    if alike:
        return Listed(min(alike) / slower, f"a guess: the slowest of its kind, {where}")
    return Listed(min(rates.values()) / slower, f"a guess: the slowest of those known, {where}")


def _slower(setup: Setup) -> tuple[float, str]:
    """How many times slower than an MLP an agent is, and where rates are from."""
    data = _recorded()
    parts = [part for part in ("filters", "experts") if getattr(setup, part)] + [setup.recurrence]
    slower = math.prod(data["times_slower"].get(part, 1.0) for part in parts)
    return slower, data["where"] + (f", and divided by {slower:g} for its agent" if slower > 1 else "")


@functools.cache
def _presets() -> dict[Program, Listed]:
    """Programs of the presets that have a rate of their own; where two share one, the first."""
    found: dict[Program, Listed] = {}
    for name, rate in _recorded()["presets"].items():
        preset, _ = presets.read(name)
        for task in preset.tasks:
            source = f"of preset {name}, {_recorded()['where']}"
            found.setdefault(_program(preset, task), Listed(rate, source, own=True))
    return found


@functools.cache
def _recorded() -> dict[str, Any]:
    return tomllib.loads((files("discovery.app.commands") / "rates.toml").read_text(encoding="utf-8"))


def _kind(environment: str) -> str:
    """What comes before a slash, else after the last dash: "brax", "MinAtar"."""
    family, slash, _ = environment.partition("/")
    return family if slash else environment.rpartition("-")[2] if "-" in environment else ""
