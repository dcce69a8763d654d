"""The config of a search as frozen dataclasses, shared by the command line, the config file and the record.

`SearchConfig` is written to ``config.toml`` of every run and read back to resume it. Importing this
module imports no jax.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from discovery.core.config.execution import (
    EXECUTORS,
    check_address,
    check_gpus,
    check_inline,
    check_without_ray,
)
from discovery.core.config.generations import MOST
from discovery.core.config.methods import ESConfig, MetaConfig
from discovery.core.errors import BadInput, unknown
from discovery.core.jobs import EXPORTED_FILE, AlgorithmSpec
from environments.fields import check_fields
from environments.task import Task

Option = bool | int | float | str

CPU_WIDTH = 8
"""Trainings in a call on a CPU: wider is no faster there, and more of them are padding."""

COUNTS = {
    "generations": (0, MOST),
    "seeds": (1, MOST),
    "selection_seeds": (1, MOST),
    "selection_doublings": (0, 20),
    "stretches": (1, MOST),
    "agents_per_call": (1, MOST),
    "workers": (1, 10_000),
    "gpu_workers": (0, 10_000),
}
"""The least and the most of each count; more would take hours or all memory."""


@dataclass(frozen=True)
class Stopping:
    """Rules that stop the training of bad proposals early; see discovery/search/early_stopping.py."""

    method: Literal["none", "racing", "halving", "hurdle"] = "none"
    """"racing": proposals that are clearly worse than the others get no further seeds. "halving": all are
    trained for a part of their lifetime, and only the best of them for longer. "hurdle": the same, but those
    that have gained enough, compared with the family's first baseline (PPO), are trained to the end."""
    error: float = 0.05
    """Racing: probability of dropping a proposal as good as the median one."""
    first_seeds: int = 3
    """Racing: number of seeds before the first test; it doubles from test to test."""
    rungs: int = 3
    """Halving: number of training lengths; proposals are ranked after each but the last."""
    eta: int = 2
    """Halving: from one length to the next, 1/eta of the proposals are kept and trained eta times as long."""
    share: float = 0.2
    """Hurdle: the share of its lifetime after which a proposal is compared with the baseline."""
    least: float = 0.6
    """Hurdle: the share of the baseline's gain in score that a proposal must have by then."""

    def __post_init__(self) -> None:
        check_fields(self, BadInput)
        users = {"error": "racing", "first_seeds": "racing", "rungs": "halving", "eta": "halving"}
        users |= {"share": "hurdle", "least": "hurdle"}
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            other = users.get(each.name, self.method)
            if other != self.method and value != each.default:
                raise BadInput(
                    f"stopping.{each.name}={value} has no effect with stopping.method {self.method!r}; "
                    f"leave it out, or set the method to {other!r}"
                )
        for name in ("error", "share", "least"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise BadInput(f"stopping.{name} must lie between 0 and 1, got {value}")
        if self.first_seeds < 2:
            raise BadInput(
                f"stopping.first_seeds must be at least 2, to see any noise, got {self.first_seeds}"
            )
        if self.rungs < 2 or self.eta < 2:
            raise BadInput(
                f"stopping needs 2 rungs and eta 2 at least, got rungs {self.rungs}, eta {self.eta}"
            )
        if self.rungs > 20:
            raise BadInput(f"stopping.rungs must be at most 20, got {self.rungs}")


@dataclass(frozen=True)
class Starting:
    """The start of a search, if not from the family's initial values (`results.distillation`)."""

    sources: tuple[str, ...] = ()
    """Runs (RUN, RUN@GENERATION), known algorithms or exported files, each used for the entries that it has.
    The numbers of a run of the same family and options are copied; other sources are imitated."""
    distill: bool = False
    """Also imitate runs of the same family and options, instead of copying their numbers."""
    steps: int = 2000
    """Gradient steps of the imitation."""

    def __post_init__(self) -> None:
        check_fields(self, BadInput)
        if not 0 <= self.steps <= MOST:
            raise BadInput(f"start.steps must be between 0 and {MOST}, got {self.steps:.12g}")
        if self.distill and not self.sources:
            raise BadInput("start.distill needs start.sources, to say what is imitated")


@dataclass(frozen=True)
class SearchConfig:
    """A discovery search: what is searched, how, on which tasks, and where it runs."""

    seed: int = 0
    """Seed of the run, from which every random key derives."""
    generations: int = 30
    """Number of generations; 0 only scores the initial mean, for example a distilled one."""
    algorithm: str = "lpo"
    """Family to search: a name from `discovery objectives`, or "package.module:function"."""
    algorithm_options: Mapping[str, Option] = field(default_factory=dict)
    """Options of the family, for example width or anchored."""
    start: Starting = field(default_factory=Starting)
    """The initial mean."""
    meta: MetaConfig = field(default_factory=ESConfig)
    """The meta-optimizer; its options are those of its method."""
    suite: str = ""
    """Suite of the tasks (`discovery suites`); a file that names a suite need not list tasks."""
    tasks: tuple[Task, ...] = (Task(),)
    """Meta-train tasks: each proposal is scored on all of them."""
    selection: tuple[Task, ...] = ()
    """Tasks for choosing among generations. Default: the meta-train tasks with other seeds."""
    held_out: tuple[Task, ...] = ()
    """Tasks that the search never sees; only `evaluate --test` trains on them, and the ledger records it."""
    seeds: int = 2
    """Trainings per proposal and task."""
    selection_seeds: int = 16
    """Trainings per task of each evaluated mean, for choosing among generations."""
    selection_doublings: int = 1
    """How many times the number of selection seeds doubles for means that they do not separate."""
    stopping: Stopping = field(default_factory=Stopping)
    """Early stopping of proposals."""
    common_random_numbers: bool = True
    """Use the same seeds for all proposals of a generation."""
    antithetic_tasks: bool = False
    """Give each antithetic pair its own seeds, level and lifetime, instead of one for the population."""
    executor: str = "processes"
    """Where trainings run: "processes" (one worker per core), "ray" (a cluster, or Ray on this machine) or
    "inline" (this process; for GPUs and notebooks)."""
    workers: int | None = None
    """Number of workers, each on one core. Default: one per core."""
    address: str = ""
    """Ray: "host:port" of a cluster's head, or "auto" on one of its machines; "" starts Ray on this
    machine."""
    gpu_workers: int = 0
    """Ray: number of workers with GPUs. With `workers` on cores as well, scores depend in their last digits
    on which worker trained what; the ledger records it."""
    gpus_per_worker: float = 1.0
    """Ray: GPUs per such worker, or a fraction of one GPU and its memory."""
    agents_per_call: int | None = None
    """Trainings batched in one compiled call. Default: 8 on a CPU, as many as fit into memory on an
    accelerator. Scores are reproducible bit for bit only at the same number, which the run records."""
    stretches: int = 1
    """Number of calls that each training is split into. Any free worker takes the next one, so that none
    waits for a long training at the end of a generation. Scores for 1 and for larger numbers differ in their
    last digits. Does not apply to trainings that halving stops."""
    timeout: float = 1800.0
    """Seconds that one call may take, compilation included, before its worker is replaced."""

    def __post_init__(self) -> None:
        check_fields(self, BadInput)
        if EXPORTED_FILE in self.algorithm:
            raise BadInput(
                f"algorithm: a search cannot name an exported file, which has nothing to search; got "
                f"{self.algorithm!r}. Name the file to `discovery compare` or `discovery evaluate`"
            )
        for name, (least, most) in COUNTS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise BadInput(f"{name} must be between {least} and {most}, got {value:.12g}")
        searching = self.meta.population * self.seeds * len(self.tasks)
        selecting = self.selection_seeds * 2**self.selection_doublings * len(self.selecting)
        for what, trainings in {
            "population * seeds * tasks": searching,
            "selection_seeds * 2^selection_doublings * tasks": selecting,
        }.items():
            if trainings > MOST:
                raise BadInput(
                    f"{what} must be at most {MOST}, since a generation is held in memory, got {trainings}"
                )
        if not -(2**63) <= self.seed < 2**63:
            raise BadInput(f"seed must be a whole number of 64 bits, as TOML has it, got {self.seed:.12g}")
        if self.executor not in EXECUTORS:
            raise unknown("executor", self.executor, EXECUTORS)
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
                f"antithetic_tasks needs antithetic pairs, which {self.meta.title} as configured does not "
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
        if not self.common_random_numbers or self.antithetic_tasks or self.meta.compares_pairs:
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
        _ = self.proposing  # refuses numbers that are not multiples of the batch

    @property
    def proposing(self) -> MetaConfig:
        """The meta-optimizer, with its batch size."""
        return self.meta.filling(self.seeds, self.width)

    @property
    def spec(self) -> AlgorithmSpec:
        """The searched algorithm."""
        return AlgorithmSpec(self.algorithm, tuple(sorted(self.algorithm_options.items())))

    @property
    def width(self) -> int:
        """W, trainings in a call: `agents_per_call`, by default the CPU's width."""
        return CPU_WIDTH if self.agents_per_call is None else self.agents_per_call

    @property
    def selecting(self) -> tuple[Task, ...]:
        """The tasks that the choice among generations is based on."""
        return self.selection or self.tasks

    @property
    def seen(self) -> tuple[Task, ...]:
        """The tasks that the search may see: meta-train tasks and other selection tasks."""
        return (*self.tasks, *self.selection)

    @property
    def every_task(self) -> tuple[Task, ...]:
        """Meta-train tasks, other selection tasks, held-out tasks."""
        return (*self.seen, *self.held_out)

    def task(self, name: str) -> Task:
        """The task called `name`, of any split."""
        return next(task for task in self.every_task if task.name == name)
