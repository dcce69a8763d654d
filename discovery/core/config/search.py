"""What a search is, as frozen dataclasses: the command line, the config file and the record in one.

`SearchConfig` is written to ``config.toml`` of every run and read back to resume it. Importing this
module imports no jax.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from discovery.core.config.evolution import MOST, ESConfig
from discovery.core.config.execution import (
    EXECUTORS,
    check_address,
    check_gpus,
    check_inline,
    check_without_ray,
)
from discovery.core.errors import BadInput, unknown
from discovery.core.jobs import EXPORTED_FILE
from environments.task import Task

Option = bool | int | float | str

CPU_WIDTH = 8
"""Trainings in a call on a CPU: wider is no faster there, and more of them are padding."""


@dataclass(frozen=True)
class Stopping:
    """When to stop training proposals that will not matter; see discovery/search/early_stopping.py."""

    method: Literal["none", "racing", "halving"] = "none"
    """"racing": no further seeds for proposals that are clearly below the field. "halving": all are trained
    for a share of their lives, and the best of them for more."""
    error: float = 0.05
    """Racing: how often a proposal as good as the field's median may be dropped."""
    first_seeds: int = 3
    """Racing: seeds before anyone is dropped; they double at each further look."""
    rungs: int = 3
    """Halving: how often proposals are ranked, and the worst of them left, plus one."""
    eta: int = 2
    """Halving: how many times fewer proposals, of how many times longer lives, from rung to rung."""

    def __post_init__(self) -> None:
        if not 0 < self.error < 1:
            raise BadInput(f"stopping.error must lie between 0 and 1, got {self.error}")
        if self.first_seeds < 2:
            raise BadInput(
                f"stopping.first_seeds must be at least 2, to see any noise, got {self.first_seeds}"
            )
        if self.rungs < 2 or self.eta < 2:
            raise BadInput(
                f"stopping needs 2 rungs and eta 2 at least, got rungs {self.rungs}, eta {self.eta}"
            )


@dataclass(frozen=True)
class Starting:
    """What the search starts from, in place of the initial values of the family (`results.distillation`)."""

    sources: tuple[str, ...] = ()
    """Runs (RUN, RUN@GENERATION), known algorithms or exported files, each for the entries that it has. A run
    of the same family and options has its numbers taken over; others are imitated."""
    distill: bool = False
    """Imitate runs of the same family and options as well, in place of taking over their numbers."""
    steps: int = 2000
    """Steps of the fit to what is imitated."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise BadInput(f"start.steps must be at least 0, got {self.steps}")
        if self.distill and not self.sources:
            raise BadInput("start.distill needs start.sources, to say what is imitated")


@dataclass(frozen=True)
class SearchConfig:
    """A discovery search: what is searched, how, judged on what, and where it runs."""

    seed: int = 0
    """Seed of the whole run; every key derives from it."""
    generations: int = 30
    """Generations of the meta-optimizer; 0 only scores the first mean, as for one that was distilled."""
    algorithm: str = "lpo"
    """The family that is searched: a name from `discovery objectives`, or "package.module:function"."""
    algorithm_options: Mapping[str, Option] = field(default_factory=dict)
    """Options of the family, for example width or anchored."""
    start: Starting = field(default_factory=Starting)
    """What the first mean is made of."""
    meta: ESConfig = field(default_factory=ESConfig)
    """The meta-optimizer."""
    suite: str = ""
    """The suite that the tasks are from (`discovery suites`); a file that names one need not list tasks."""
    tasks: tuple[Task, ...] = (Task(),)
    """Meta-train tasks: proposals are scored on all of them."""
    selection: tuple[Task, ...] = ()
    """Tasks the choice among generations is based on; by default the meta-train tasks, with other seeds."""
    held_out: tuple[Task, ...] = ()
    """Tasks the search never sees; only `evaluate --test` trains on them, and the ledger records it."""
    seeds: int = 2
    """Inner trainings per proposal and task."""
    selection_seeds: int = 16
    """Trainings per task when the mean is evaluated; the choice among generations is made on these."""
    selection_doublings: int = 1
    """How often these are doubled, before the choice, for the means between which they do not decide."""
    stopping: Stopping = field(default_factory=Stopping)
    """When to stop training proposals that will not matter."""
    common_random_numbers: bool = True
    """Give all proposals of a generation the same seeds."""
    antithetic_tasks: bool = False
    """Give each antithetic pair its own seeds, level and lifetime, instead of one for the population."""
    executor: str = "processes"
    """Where trainings run: "processes" (one worker per core), "ray" (a cluster, or this machine by way of
    Ray) or "inline" (this process; GPUs, notebooks)."""
    workers: int | None = None
    """Workers of one core each; by default one per core."""
    address: str = ""
    """Ray: "host:port" of a cluster's head, or "auto" on one of its machines; empty for a Ray of our own."""
    gpu_workers: int = 0
    """Ray: workers with GPUs. With `workers` on cores beside them, numbers depend on who trained what, and
    rows say who did."""
    gpus_per_worker: float = 1.0
    """Ray: GPUs of each of these, or a share of one and of its memory."""
    agents_per_call: int | None = None
    """Trainings batched in one compiled call: by default 8 on a CPU, on an accelerator as many as its memory
    holds. A run records the number: its scores are bitwise reproducible at equal width only."""
    stretches: int = 1
    """Calls that each training is divided into, any of which a free worker can take, so that nobody waits for
    a long one at the end of a generation. Above 1, scores differ in their last digits from those of 1, and do
    not depend on the number. Lives that halving stops on the way have its parts instead."""
    timeout: float = 1800.0
    """Seconds one call may take, compilation included, before its worker is replaced."""

    def __post_init__(self) -> None:
        if EXPORTED_FILE in self.algorithm:
            raise BadInput(
                f"algorithm: a search cannot name an exported file, which has nothing to search; got "
                f"{self.algorithm!r}. Name the file to `discovery compare` or `discovery evaluate`"
            )
        least = {"generations": 0, "selection_doublings": 0}
        for name in ("generations", "seeds", "selection_seeds", "selection_doublings", "stretches"):
            if getattr(self, name) < least.get(name, 1):
                raise BadInput(f"{name} must be at least {least.get(name, 1)}, got {getattr(self, name)}")
        if not -(2**63) <= self.seed < 2**63:
            raise BadInput(f"seed must be a whole number of 64 bits, as TOML has it, got {self.seed:.12g}")
        if self.width < 1:
            raise BadInput(f"agents_per_call must be at least 1, got {self.width}")
        if self.width > MOST:
            raise BadInput(f"agents_per_call must be at most {MOST}, got {self.width:.12g}")
        if self.executor not in EXECUTORS:
            raise unknown("executor", self.executor, EXECUTORS)
        if self.workers is not None and self.workers < 1:
            raise BadInput(f"workers must be at least 1, got {self.workers}")
        check_gpus(self.gpu_workers, self.gpus_per_worker)
        check_address(self.address)
        if self.executor != "ray":
            check_without_ray(self.executor, self.address, self.gpu_workers)
        if self.executor == "inline":
            check_inline(self.workers)
        if not self.timeout > 0:
            raise BadInput(f"timeout must be positive, got {self.timeout}")
        if not self.tasks:
            raise BadInput("tasks is empty; a search needs at least one task to judge proposals on")
        names = [task.name for task in self.every_task]
        self._check_stopping()
        self._check_in_flight()
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
                f"task names must differ between meta-train, selection and held-out tasks; "
                f"repeated: {', '.join(repeated)}"
            )

    def _check_stopping(self) -> None:
        method = self.stopping.method
        if method == "none":
            return
        if self.meta.asynchronous:
            raise BadInput(
                f"stopping.method {method!r} compares a whole generation, which meta.asynchronous does not "
                "wait for; leave out one of the two"
            )
        if not self.common_random_numbers or self.antithetic_tasks or self.meta.shaping == "pairwise_sign":
            raise BadInput(
                f"stopping.method {method!r} compares all proposals on the same seeds: it needs "
                "common_random_numbers, and goes neither with antithetic_tasks nor with pairwise_sign"
            )
        least = self.stopping.eta ** (self.stopping.rungs - 1)
        if method == "halving" and self.meta.population < least:
            raise BadInput(
                f"halving over {self.stopping.rungs} rungs by {self.stopping.eta} needs a population of at "
                f"least {least}, got {self.meta.population}; lower stopping.rungs"
            )
        if method == "racing" and self.stopping.first_seeds >= self.seeds:
            raise BadInput(
                f"racing over {self.seeds} seeds cannot begin with {self.stopping.first_seeds}; "
                "raise seeds, or lower stopping.first_seeds"
            )

    def _check_in_flight(self) -> None:
        proposals = max(self.generations, 1) * self.meta.population
        if self.meta.in_flight is not None and self.meta.in_flight > proposals:
            raise BadInput(
                f"meta.in_flight is {self.meta.in_flight}, and the whole search has {proposals} proposals; "
                "lower it, or leave it out"
            )
        _ = self.proposing  # refuses what is no multiple of the broods

    @property
    def proposing(self) -> ESConfig:
        """The meta-optimizer, with the size of its broods: unless it is set, the fewest proposals that divide
        the population and whose seeds fill whole calls, else one call.
        """
        meta = self.meta
        if not meta.asynchronous or meta.brood or meta.facts.asynchronous != "broods":
            return meta
        sizes = [size for size in range(1, meta.population + 1) if meta.population % size == 0]
        whole = [size for size in sizes if size * self.seeds % self.width == 0]
        full = [size for size in sizes if size * self.seeds >= self.width]
        return replace(meta, brood=(whole or full or sizes[-1:])[0])

    @property
    def width(self) -> int:
        """W, trainings in a call: `agents_per_call`, or that of a CPU where nothing else was found."""
        return CPU_WIDTH if self.agents_per_call is None else self.agents_per_call

    @property
    def selecting(self) -> tuple[Task, ...]:
        """The tasks that the choice among generations is based on."""
        return self.selection or self.tasks

    @property
    def seen(self) -> tuple[Task, ...]:
        """What the search may look at: meta-train tasks, and selection tasks that are others."""
        return (*self.tasks, *self.selection)

    @property
    def every_task(self) -> tuple[Task, ...]:
        """Meta-train tasks, selection tasks that are others, held-out tasks."""
        return (*self.seen, *self.held_out)

    def task(self, name: str) -> Task:
        """The task called `name`, whatever it is for."""
        return next(task for task in self.every_task if task.name == name)
