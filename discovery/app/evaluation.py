"""Evaluating subjects: what the verb `discovery evaluate` and `discovery.evaluate` share."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from discovery.app.comparisons import Comparison
from discovery.executors.base import Executor
from discovery.judging.evaluate import AS_IT_IS, Watcher, check_subjects, comparisons
from discovery.judging.suite import store
from discovery.judging.sweep import check_sweep, sweep
from discovery.results.subjects import subjects
from discovery.store.held_out import Looks, record_looks, run_folders_of, unseen
from discovery.store.ledger import Ledger
from discovery.store.run import Run
from environments.task import Task


@dataclass(frozen=True)
class Plan:
    """What is evaluated.

    Attributes:
        names: of subjects, runs as their paths. Trainings are recorded in the first run among them.
        tasks: on which tasks.
        looks: run's folder -> tasks held out from it; see `discovery.store.held_out`.
        seeds, first_seed: on which seeds.
        command: the command line, to be recorded.
        hidden: names of tasks that a suite holds out.
        sweeps: parameter -> factors.
        place: folder of the record if no run takes part; None records nothing.
        retry_failed: repeat all failed trainings.
    """

    names: Sequence[str]
    tasks: Sequence[Task]
    looks: Looks
    seeds: int
    first_seed: int = 0
    command: str = ""
    hidden: Collection[str] = ()
    sweeps: Mapping[str, Sequence[float]] = field(default_factory=dict)
    place: Path | None = None
    retry_failed: bool = False


def evaluate_plan(plan: Plan, executor: Executor, listener: Watcher | None = None) -> Comparison:
    """Train what a plan says, record it, and compare.

    Raises:
        BadInput: before anything is recorded, if a subject, a task or a sweep does not fit.
    """
    who, seeds = subjects(plan.names), (plan.seeds, plan.first_seed)
    check_subjects(who, plan.tasks, *seeds)
    for parameter, factors in plan.sweeps.items():
        check_sweep(parameter, factors, who, plan.tasks)
    folders = run_folders_of(plan.names)
    record_looks(plan.looks, plan.command, plan.names, *seeds)
    with _ledger(folders, plan.place) as ledger:
        if ledger and plan.hidden and not folders:
            ledger.record_test(plan.command, plan.names, plan.hidden, *seeds)
        held_out = unseen(plan.looks, plan.hidden)
        common = (plan.seeds, executor, ledger, listener, plan.command, held_out, plan.first_seed)
        compared = comparisons(who, plan.tasks, *common, retry_failed=plan.retry_failed)
        result = compared(AS_IT_IS)
        swept = [sweep(*each, who, plan.tasks, compared) for each in plan.sweeps.items()]
    return Comparison.of(result, swept)


@contextmanager
def _ledger(folders: Sequence[Path], place: Path | None) -> Iterator[Ledger | None]:
    """Where trainings are recorded: in the first run, else in a store, else nowhere."""
    if folders:
        with Run.open(folders[0], write=True) as run:
            yield run.ledger
    elif place:
        with store(place) as ledger:
            yield ledger
    else:
        yield None
