"""What a search costs, for `--dry-run`: trainings, environment steps, and time, estimated from past runs."""

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
from discovery.search.progress import planned
from discovery.search.width import accelerators
from discovery.store.ledger import Ledger

RECENT = 20
"""Only this many past runs are searched for a rate, the newest first."""


class Rate(NamedTuple):
    """How fast one worker trained in a past run, and how long it compiled."""

    steps_per_second: float
    compile_seconds: float
    run: Path


@dataclass(frozen=True)
class Plan:
    """What a search costs.

    Attributes:
        workers: how many work at once; None on a cluster, which is not asked.
        seconds: compilation and training, if all workers are always busy; None if no past run gives a rate.
        run: the past run whose rate was used.
    """

    generations: int
    trainings: int
    steps: float
    workers: int | None
    seconds: float | None
    run: str | None

    def text(self, config: SearchConfig) -> str:
        """The text to print below the config, as comments."""
        meta, each = config.meta, " on each task" if len(config.seen) > 1 else ""
        when = f"every {meta.answer_every} generations" if meta.answer_every else "at the end"
        when = "every generation" if meta.answer_every == 1 else when
        time = f"time: not known yet, no earlier run has trained {algorithm_text(config)} on these tasks here"
        if self.seconds is not None:
            who = f"{self.workers} worker{'s' * (self.workers != 1)}"
            time = f"about {duration(self.seconds)} with {who}, at the speed of {self.run}"
        elif self.workers is None:
            time = "time: not known, as the cluster's workers are not; `discovery doctor --ray` counts them"
        proposals = f"{meta.population} proposals x {config.seeds} seeds{each}"
        lines = (
            f"{self.generations} generations of {proposals}, and {config.selection_seeds} of the mean {when}",
            f"{self.trainings:,} trainings, {short(self.steps)} environment steps in all",
            time,
        )
        return "\n".join(f"# {line}" for line in lines)


def estimate(config: SearchConfig, output: Path) -> Plan:
    """What `config` costs on this machine, at the speed of the newest run in `output` that trained the same.

    seconds = compile_seconds + steps / (steps_per_second * workers)
    """
    (trainings, steps), workers, rate = planned(config), _workers(config), _rate(config, output)
    if not (workers and rate):
        return Plan(config.generations, trainings, steps, workers, None, None)
    seconds = rate.compile_seconds + steps / (rate.steps_per_second * workers)
    return Plan(config.generations, trainings, steps, workers, seconds, str(rate.run))


def _workers(config: SearchConfig) -> int | None:
    if config.executor == "inline":
        return 1
    if config.address or config.gpu_workers:
        return config.gpu_workers or config.workers
    return min(config.workers or cores(), cores())


def _rate(config: SearchConfig, output: Path) -> Rate | None:
    for folder in reversed(run_folders(output)[-RECENT:]):
        with suppress(DiscoveryError):
            past = load(folder / CONFIG)
            if _alike(config, past) and (rate := _measured(folder, past, accelerators(config) == 0)):
                return rate
    return None


def _alike(config: SearchConfig, past: SearchConfig) -> bool:
    """Whether the workers of both searches run the same programs, with as many agents at once."""
    setups = [{task.setup for task in each.seen} for each in (config, past)]
    width = config.agents_per_call in (None, past.agents_per_call)
    same = config.spec == past.spec and config.gpus_per_worker == past.gpus_per_worker
    return width and same and setups[0] == setups[1]


def _measured(folder: Path, past: SearchConfig, on_cpu: bool) -> Rate | None:
    with Ledger.open(folder) as ledger:
        rows = ledger.evaluations(outcomes=False)
    rows = [row for row in rows if row["error"] is None and (row["device"] == CPU) == on_cpu]
    per_update = {task.name: task.setup.steps_per_update for task in past.seen}
    steps = sum((row["until"] - row["begun"]) * per_update[row["task"]] for row in rows)
    compiling = sum(row["compile_seconds"] for row in rows)
    seconds = sum(row["seconds"] for row in rows) - compiling
    workers = len({row["worker"] for row in rows})
    return Rate(steps / seconds, compiling / workers, folder) if seconds > 0 else None
