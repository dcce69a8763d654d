"""What a search costs, for `--dry-run`: trainings, environment steps, and the time by one's own past runs."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from discovery.app.commands.folders import algorithm_text, run_folders
from discovery.app.commands.where import CPU
from discovery.core.config.search import SearchConfig
from discovery.core.errors import DiscoveryError
from discovery.core.toml import CONFIG, load
from discovery.display.formats import duration, short
from discovery.executors.cpu import cores
from discovery.search.progress import expected_steps, planned, stopping_share, trainings_of
from discovery.search.requests import spec_of
from discovery.search.width import accelerators
from discovery.store.ledger import Ledger

RECENT = 20
"""Only this many past runs are searched for rates, the newest first."""


class Rate(NamedTuple):
    """How fast one worker trained on one task in a past run."""

    steps_per_second: float
    compile_seconds: float
    run: Path


@dataclass(frozen=True)
class Plan:
    """What a search costs.

    Attributes:
        workers: how many work at once; None for a cluster, which is not asked.
        seconds: compilation and training, if all workers are always busy; None if no past run tells.
        runs: the past runs whose rates were used.
    """

    generations: int
    trainings: int
    steps: float
    workers: int | None
    seconds: float | None
    runs: list[str]

    def text(self, config: SearchConfig) -> str:
        """For people, as comments below the config."""
        meta, each = config.meta, " on each task" if len(config.seen) > 1 else ""
        when = f"every {meta.mean_every} generations" if meta.mean_every else "at the end"
        when = "every generation" if meta.mean_every == 1 else when
        time = f"time: not known yet, no earlier run has trained {algorithm_text(config)} on these tasks here"
        if self.seconds is not None:
            who = f"{self.workers} worker{'s' * (self.workers != 1)}"
            time = f"about {duration(self.seconds)} with {who}, at the speed of {', '.join(self.runs)}"
        elif self.workers is None:
            time = "time: not known, as only the cluster knows its workers; `discovery doctor --ray` asks it"
        proposals = f"{meta.population} proposals x {config.seeds} seeds{each}"
        lines = (
            f"{self.generations} generations of {proposals}, and {config.selection_seeds} of the mean {when}",
            f"{self.trainings:,} trainings, {short(self.steps)} environment steps in all",
            time,
        )
        return "\n".join(f"# {line}" for line in lines)


def estimate(config: SearchConfig, output: Path) -> Plan:
    """What `config` costs on this machine, at the speed of the runs in the folder `output`.

    seconds = sum over tasks of compile_seconds + steps / (steps_per_second * workers)
    """
    trainings, steps = planned(config)
    workers, rates = _workers(config), _rates(config, output)
    seconds = None
    if workers and len(rates) == len(config.seen):
        seconds = sum(rate.compile_seconds for rate in rates.values())
        seconds += sum(
            steps / (rates[name].steps_per_second * workers) for name, steps in _steps_by_task(config).items()
        )
    runs = sorted({str(rate.run) for rate in rates.values()})
    return Plan(config.generations, trainings, steps, workers, seconds, runs)


def _workers(config: SearchConfig) -> int | None:
    if config.executor == "inline":
        return 1
    if config.address or config.gpu_workers:
        return config.gpu_workers or config.workers
    return min(config.workers or cores(), cores())


def _steps_by_task(config: SearchConfig) -> dict[str, float]:
    """Environment steps on each task that the search sees."""
    counts = [trainings_of(config, generation) for generation in range(config.generations + 1)]
    searching, selecting = (sum(column) for column in zip(*counts, strict=True))
    found = {
        task.name: searching * stopping_share(config) * expected_steps(task, True) for task in config.tasks
    }
    for task in config.selecting:
        found[task.name] = found.get(task.name, 0.0) + selecting * expected_steps(task)
    return found


def _rates(config: SearchConfig, output: Path) -> dict[str, Rate]:
    """How fast one worker trains on each task, by task name: from the newest run that trained the same."""
    rates: dict[str, Rate] = {}
    for folder in reversed(run_folders(output)[-RECENT:]):
        with suppress(DiscoveryError):
            past = load(folder / CONFIG)
            same = {
                task.name: other.name
                for task in config.seen
                for other in past.seen
                if task.name not in rates and task.setup == other.setup and _alike(config, past)
            }
            if same:
                rates |= _measured(folder, past, same, on_cpu=accelerators(config) == 0)
    return rates


def _alike(config: SearchConfig, past: SearchConfig) -> bool:
    """Whether a worker of both searches trains the same algorithm, as many agents at once."""
    width = config.agents_per_call in (None, past.agents_per_call)
    return width and spec_of(config) == spec_of(past) and config.gpus_per_worker == past.gpus_per_worker


def _measured(folder: Path, past: SearchConfig, same: dict[str, str], on_cpu: bool) -> dict[str, Rate]:
    """Rates by the names that `same` gives to tasks of a past run."""
    with Ledger.open(folder) as ledger:
        rows = [row for row in ledger.evaluations(outcomes=False) if row["error"] is None]
    rates = {}
    for name, there in same.items():
        on_task = [row for row in rows if row["task"] == there and (row["device"] == CPU) == on_cpu]
        compiling = sum(row["compile_seconds"] for row in on_task)
        seconds = sum(row["seconds"] for row in on_task) - compiling
        if seconds > 0:
            rollouts = sum(row["until"] - row["begun"] for row in on_task)
            steps = rollouts * past.task(there).setup.steps_per_update
            workers = len({row["worker"] for row in on_task})
            rates[name] = Rate(steps / seconds, compiling / workers, folder)
    return rates
