"""How long a search takes, before it begins: from rates that were measured, here or elsewhere.

seconds = start + programs x compilation + sum over generations and tasks of
(rounds of chunks that the workers need) x (steps of a chunk) / (steps per second of a core)
"""

import math
import sqlite3
import tomllib
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from discovery.commands import presets
from discovery.commands.folders import run_folders
from discovery.config import SearchConfig
from discovery.configfile import load
from discovery.errors import DiscoveryError
from discovery.executors.cpu import cores
from discovery.formats import duration, short
from discovery.tally import expected_steps, planned, stopping_share, trainings_of
from environments.task import Setup, Task

START_SECONDS, COMPILE_SECONDS = 4.0, 9.0
"""Until the workers are ready; and until a program is compiled, which all workers do at once."""

Program = tuple[str, frozenset[tuple[str, Any]], Setup]
"""What the speed of a training depends on: an algorithm, its options, and the setup."""

LEAST_SECONDS = 1.0
"""Less training than that says nothing of the speed."""

RECENT = 20
"""So many runs are looked at for rates, the newest first."""


@dataclass(frozen=True)
class Rate:
    """Environment steps per second of one core on one task, compilation apart, and where that is from."""

    steps_per_second: float
    source: str


@dataclass(frozen=True)
class Plan:
    """What a search would do."""

    generations: int
    trainings: int
    steps: float
    workers: int
    seconds: float
    rates: dict[str, Rate]

    def text(self, config: SearchConfig) -> str:
        """For people, as comments below the config."""
        lines = [
            f"{self.generations} generations of {trainings_text(config)}",
            f"{self.trainings:,} trainings, {short(self.steps)} environment steps in all",
            f"about {duration(self.seconds)} with {self.workers} worker{'s' * (self.workers > 1)}, at these "
            "rates per core, compilation apart:",
        ]
        lines += [
            f"  {name}: {short(rate.steps_per_second)} steps/s ({rate.source})"
            for name, rate in self.rates.items()
        ]
        return "\n".join(f"# {line}" for line in lines)


def trainings_text(config: SearchConfig) -> str:
    """The trainings of one generation, in words."""
    meta, tasks = config.meta, len(config.seen)
    every = f"every {meta.mean_every} generations" if meta.mean_every else "at the end"
    each = " on each task" if tasks > 1 else ""
    proposals = f"{meta.population} proposals x {config.seeds} seeds{each}"
    return f"{proposals}, and {config.selection_seeds} of the mean {every}"


def estimate(config: SearchConfig, output: Path) -> Plan:
    """What `config` would do, with rates from the runs below `output` where they have any."""
    workers = 1 if config.executor == "inline" else config.workers or cores()
    measured = measured_rates(output)
    rates = {
        task.name: measured.get(_program(config, task)) or recorded_rate(config, task) for task in config.seen
    }
    programs = len({task.setup for task in config.seen})
    seconds = START_SECONDS + COMPILE_SECONDS * programs
    for generation in range(config.generations + 1):
        for task in config.seen:
            seconds += _seconds(config, task, generation, workers) / rates[task.name].steps_per_second
    trainings, steps = planned(config)
    return Plan(config.generations, trainings, steps, workers, seconds, rates)


def _seconds(config: SearchConfig, task: Task, generation: int, workers: int) -> float:
    """Environment steps that the busiest worker makes for a task in a generation."""
    searching, selecting = trainings_of(config, generation)
    searching, selecting = searching * (task in config.tasks), selecting * (task in config.selecting)
    total = searching + selecting
    steps = searching * stopping_share(config) * expected_steps(task, True) + selecting * expected_steps(task)
    chunks = math.ceil(total / config.width)
    return math.ceil(chunks / workers) * config.width * steps / total if total else 0.0


def _program(config: SearchConfig, task: Task) -> Program:
    return config.algorithm, frozenset(config.algorithm_options.items()), task.setup


def measured_rates(output: Path) -> dict[Program, Rate]:
    """Rates of the recent runs in a folder, by what was compiled; the newest run's counts."""
    rates: dict[Program, Rate] = {}
    for folder in reversed(run_folders(output)[-RECENT:]):
        with suppress(DiscoveryError, sqlite3.Error, OSError):
            config = load(folder / "config.toml")
            tasks = {task.name: task for task in config.seen}
            for name, (lifetimes, seconds) in _times(folder).items():
                if name in tasks and seconds > LEAST_SECONDS:
                    rate = lifetimes * tasks[name].setup.steps_per_update / seconds
                    rates.setdefault(_program(config, tasks[name]), Rate(rate, f"measured in {folder}"))
    return rates


def _times(folder: Path) -> Mapping[str, tuple[int, float]]:
    """Rollouts and seconds without compilation of a run's trainings, by task."""
    query = """SELECT task, sum(until - begun), sum(seconds - compile_seconds) FROM evaluations
               WHERE outcome IS NOT NULL GROUP BY task"""
    with closing(sqlite3.connect(f"{(folder / 'ledger.sqlite').resolve().as_uri()}?mode=ro", uri=True)) as db:
        return {task: (rollouts, seconds) for task, rollouts, seconds in db.execute(query)}


def recorded_rate(config: SearchConfig, task: Task) -> Rate:
    """The rate that rates.toml has for a task, or a stated guess.

    That of a preset which trains the same algorithm in the same setup; else PPO's in its environment, less
    for slower agents.
    """
    data = tomllib.loads((files("discovery.commands") / "rates.toml").read_text(encoding="utf-8"))
    rates, where, setup = data["steps_per_second"], data["where"], task.setup
    for name, rate in data["presets"].items():
        preset, _ = presets.read(name)
        if _program(config, task) in [_program(preset, other) for other in preset.tasks]:
            return Rate(rate, f"of preset {name}, {where}")
    parts = [part for part in ("filters", "experts") if getattr(setup, part)] + [setup.recurrence]
    slower = math.prod(data["times_slower"].get(part, 1.0) for part in parts)
    if slower > 1:
        where += f", and divided by {slower:g} for its agent"
    name = setup.environment
    if name in rates:
        return Rate(rates[name] / slower, where)
    kind = _kind(name)
    alike = [rate for other, rate in rates.items() if kind and _kind(other) == kind]
    if alike:
        return Rate(min(alike) / slower, f"a guess: the slowest of its kind, {where}")
    return Rate(min(rates.values()) / slower, f"a guess: the slowest of those known, {where}")


def _kind(environment: str) -> str:
    """What comes before a slash, else after the last dash: "brax", "MinAtar"."""
    family, slash, _ = environment.partition("/")
    return family if slash else environment.rpartition("-")[2] if "-" in environment else ""
