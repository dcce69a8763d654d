"""What a search is, as frozen dataclasses: the command line, the config file and the record in one.

`SearchConfig` is written to ``config.toml`` of every run and read back to resume it. Importing this
module imports no jax.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from discovery.errors import BadInput, unknown
from discovery.executors import FACTORIES
from discovery.meta.es_config import ESConfig
from environments.task import Task

Option = bool | int | float | str


@dataclass(frozen=True)
class SearchConfig:
    """A discovery search: what is searched, how, judged on what, and where it runs."""

    seed: int = 0
    """Seed of the whole run; every key derives from it."""
    generations: int = 30
    """Generations of the meta-optimizer."""
    algorithm: str = "lpo"
    """The family that is searched: a name from `discovery objectives`, or "package.module:function"."""
    algorithm_options: Mapping[str, Option] = field(default_factory=dict)
    """Options of the family, for example width or anchored."""
    meta: ESConfig = field(default_factory=ESConfig)
    """The meta-optimizer."""
    tasks: tuple[Task, ...] = (Task(),)
    """Meta-train tasks: proposals are scored on all of them."""
    held_out: tuple[Task, ...] = ()
    """Tasks the search never sees; only `evaluate` trains on them."""
    seeds: int = 2
    """Inner trainings per proposal and task."""
    selection_seeds: int = 16
    """Trainings per task when the mean is evaluated; the final choice is made on these."""
    common_random_numbers: bool = True
    """Give all proposals of a generation the same seeds."""
    antithetic_tasks: bool = False
    """Give each antithetic pair its own seeds, level and lifetime, instead of one for the population."""
    executor: str = "processes"
    """Where trainings run: "processes" (one worker per core) or "inline" (this process; GPUs, notebooks)."""
    workers: int | None = None
    """Worker processes; by default one per core."""
    agents_per_call: int = 8
    """Trainings batched in one compiled call. Numbers are bitwise reproducible at equal width only."""
    timeout: float = 1800.0
    """Seconds one call may take, compilation included, before its worker is replaced."""

    def __post_init__(self) -> None:
        for name in ("generations", "seeds", "selection_seeds", "agents_per_call"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.executor not in FACTORIES:
            raise unknown("executor", self.executor, FACTORIES)
        if self.workers is not None and self.workers < 1:
            raise BadInput(f"workers must be at least 1, got {self.workers}")
        if self.timeout <= 0:
            raise BadInput(f"timeout must be positive, got {self.timeout}")
        if not self.tasks:
            raise BadInput("tasks is empty; a search needs at least one task to judge proposals on")
        names = [task.name for task in (*self.tasks, *self.held_out)]
        if self.antithetic_tasks and not self.meta.pairs:
            raise BadInput(
                f"antithetic_tasks needs antithetic pairs, which {self.meta.strategy} as configured does not "
                "sample; turn antithetic_tasks off, or use Open_ES"
            )
        if self.antithetic_tasks and not self.common_random_numbers:
            raise BadInput(
                "antithetic_tasks gives both proposals of a pair the same tasks, which "
                "common_random_numbers = false would undo; leave out one of the two"
            )
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise BadInput(
                f"task names must differ, also from held-out ones; repeated: {', '.join(repeated)}"
            )

    def task(self, name: str) -> Task:
        """The task called `name`, meta-train or held-out."""
        return next(task for task in (*self.tasks, *self.held_out) if task.name == name)
