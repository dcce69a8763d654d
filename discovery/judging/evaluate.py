"""Training several subjects on the same tasks, with the same recipes and held-out seeds.

    who = subjects(["runs/NAME", "runs/NAME@initial", "ppo"])
    result = train_subjects(who, tasks, seeds=16, executor=executor, ledger=run.ledger)

Each training is recorded when it ends, under an id that is a hash of what was trained and how. So an
interrupted comparison continues where it stopped, and a changed recipe is trained anew. A training that
failed because of the machine is repeated by the next command (see `discovery.judging.failures`).
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np

from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput, unknown
from discovery.core.jobs import Job, JobKey, JobResult
from discovery.core.plain import recipe
from discovery.executors.base import Executor, together
from discovery.judging.comparison import BEGINNINGS, Cell, Comparison, Training
from discovery.results.loaded import RunData
from discovery.results.subjects import Subject
from discovery.search.requests import report_jobs
from discovery.store.arrays import digest_of
from discovery.store.ledger import Ledger, Report
from environments.task import Task


class Watcher(Protocol):
    """Receives progress; any `discovery.search.listener.Listener` is one."""

    def started(self, generation: int, jobs: Sequence[Job], done: int) -> None:
        """Trainings begin; `done` of them were finished before. `generation` is -1."""

    def finished(self, job: Job, result: JobResult) -> None:
        """One training ended and is recorded."""


class Variant(NamedTuple):
    """A change of recipes.

    Attributes:
        name: what the ledger calls it, for example "learning_rate x 3"; "" for unchanged tasks.
        task: ``(subject, task) -> task`` to train that subject on, under the same name, since seeds derive
            from it.
        without: labels of subjects to which the change does not apply; they are not trained.
    """

    name: str
    task: Callable[[Subject, Task], Task]
    without: frozenset[str] = frozenset()


AS_IT_IS = Variant("", Subject.task)


def pick_tasks(names: Sequence[str], *configs: SearchConfig) -> list[Task]:
    """The tasks called `names`, of any split, in the first config that has them."""
    known: dict[str, Task] = {}
    for config in configs:
        for task in config.every_task:
            known.setdefault(task.name, task)
    for name in names:
        if name not in known:
            raise unknown("task", name, known)
    return [known[name] for name in dict.fromkeys(names)]


def train_subjects(
    subjects: Sequence[Subject],
    tasks: Sequence[Task],
    seeds: int,
    executor: Executor,
    ledger: Ledger | None = None,
    listener: Watcher | None = None,
    command: str = "",
    held_out: Collection[str] = (),
    first_seed: int = 0,
    variant: Variant = AS_IT_IS,
    retry_failed: bool = False,
) -> Comparison:
    """Train every subject on every task with the same held-out seeds, and compare.

    Args:
        subjects: from `discovery.results.subjects.subjects`; labels must differ.
        tasks: full-length trainings on these.
        seeds: S, trainings of each subject on each task.
        executor: where they run.
        ledger: open for writing. Every training is recorded; recorded ones are not repeated, except those
            that failed because of the machine.
        listener: receives which trainings begin, and which ended.
        command: the command line, for the record.
        held_out: names of held-out tasks that no search saw, for the table.
        first_seed: index of the first held-out seed.
        variant: a change of the tasks' recipes.
        retry_failed: repeat all failed trainings.

    Raises:
        BadInput: there is nothing to do, or a task's recipe has numbers that a subject does not read.
    """
    check_subjects(subjects, tasks, seeds, first_seed)
    changed = [subject for subject in subjects if subject.label not in variant.without]
    pairs = [(subject, variant.task(subject, task)) for task in tasks for subject in changed]
    plan = [(subject, task, _jobs(subject, task, seeds, first_seed)) for subject, task in pairs]
    # Two subjects may have the same numbers (a search that chose its initial mean): one training serves both.
    jobs = {job.id: (subject, job) for subject, _, listed in plan for job in listed}
    results = ledger.finished(jobs, "reports", "all" if retry_failed else "machine") if ledger else {}
    if listener:
        listener.started(-1, [job for _, job in jobs.values()], len(results))
    for group in together(executor.run([job for name, (_, job) in jobs.items() if name not in results])):
        if ledger:
            reports = [_report(*jobs[result.id], command, variant.name) for result in group]
            ledger.record_all(zip(reports, group, strict=True))
        for result in group:
            results[result.id] = result
            if listener:
                listener.finished(jobs[result.id][1], result)
    cells = [
        Cell.of(
            subject.label,
            task.name,
            [_training(results[job.id]) for job in listed],
            listed[0].lifetime * task.setup.steps_per_update,
        )
        for subject, task, listed in plan
    ]
    return Comparison(
        tuple(cells),
        {s.label: s.source for s in subjects},
        frozenset(held_out) & {t.name for t in tasks},
        {t.name: t.score for t in tasks},
    )


def comparisons(*arguments: Any, **options: Any) -> Callable[[Variant], Comparison]:
    """`train_subjects` with these arguments, as a function of the variant; it trains no variant twice."""
    return cache(lambda variant: train_subjects(*arguments, **options, variant=variant))


def check_subjects(
    subjects: Sequence[Subject], tasks: Sequence[Task], seeds: int, first_seed: int = 0
) -> None:
    """Check that there is something to compare, and that everything can be trained.

    Raises:
        BadInput: there is nothing to do; two labels are equal; an environment does not exist or does not
            support a task's setup; or a task has numbers that a subject does not read.
    """
    if first_seed < 0:
        raise BadInput(f"first_seed must be at least 0, got {first_seed}")
    if seeds < 1 or not subjects or not tasks:
        raise BadInput(
            f"a comparison needs subjects, tasks and seeds, got {len(subjects)}, {len(tasks)} and {seeds}"
        )
    if len({subject.label for subject in subjects}) < len(subjects):
        raise BadInput(f"labels must differ, got {', '.join(subject.label for subject in subjects)}")
    for task in tasks:
        for subject in subjects:
            _check_training(subject, subject.task(task))


def recorded(run: RunData) -> Comparison:
    """What `discovery evaluate` has recorded in a run so far, as one comparison, without variants of sweeps.

    Means of this run have the labels that they would get now ("discovered" is the generation it chooses). If
    a recipe has changed, only the last recorded version of a label counts.
    """
    outcomes = run.outcomes("report")
    groups: dict[tuple[str, str], dict[str, list[Any]]] = {}
    sources: dict[str, str] = {}
    for row in run.reports():
        if row["variant"]:
            continue
        label = label_now(run, row["subject"], row["source"])
        sources[label] = row["source"]
        recipes = groups.setdefault((label, row["task"]), {})
        recipe = row["id"].partition("/")[0]
        key = JobKey(recipe, row["split"], row["task"], row["seed"])
        result = JobResult(key, outcomes[row["id"]], row["error"], row["detail"])
        recipes[recipe] = [*recipes.pop(recipe, []), (row["lifetime"], result)]
    cells = []
    for (label, task), recipes in groups.items():
        trained = recipes[list(recipes)[-1]]
        steps = trained[0][0] * run.steps_per_update(task)
        cells.append(Cell.of(label, task, [_training(result) for _, result in trained], steps))
    names = [task.name for task in run.tasks]
    order = {"discovered": 0} | dict.fromkeys(BEGINNINGS, 1)
    cells.sort(
        key=lambda c: (names.index(c.task) if c.task in names else len(names), order.get(c.subject, 2))
    )
    return Comparison(
        tuple(cells),
        sources,
        frozenset(task.name for task in run.config.held_out),
        {task.name: task.score for task in run.tasks},
    )


def label_now(run: RunData, label: str, source: str) -> str:
    """The label that a recorded subject gets now, next to the means of `run` itself."""
    name, _, generation = source.rpartition("@")
    if not generation.isdigit():
        return label
    if name in (run.name, run.meta.get("run")):  # a folder may have been renamed
        return run.label(int(generation))
    return label if name in label else f"{name} {label}"


def _jobs(subject: Subject, task: Task, seeds: int, first_seed: int) -> list[Job]:
    name = f"{subject.spec.name}-{_fingerprint(subject, task)}"
    return report_jobs(name, subject.spec, subject.meta_params, [task], seeds, first_seed)


def _fingerprint(subject: Subject, task: Task) -> str:
    """Twelve hex digits of everything that a training's numbers depend on, except seed and device."""
    from discovery.inner.compile import as_trained, build_algorithm

    algorithm = build_algorithm(subject.spec)
    data = recipe(task) | {"numbers": {**dict(algorithm.defaults), **task.numbers}}
    data.pop("reference", None)
    weights = {name: as_trained(value) for name, value in _leaves(subject.meta_params)}
    text = json.dumps([subject.spec.name, subject.options, data, digest_of(weights)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _check_training(subject: Subject, task: Task) -> None:
    from discovery.inner.compile import build_algorithm
    from discovery.inner.loops import loop_of, trained_on
    from discovery.inner.loops.on_policy import check_numbers

    algorithm = trained_on(build_algorithm(subject.spec), task.setup)
    try:
        check_numbers(algorithm, task.numbers)
        loop_of(algorithm).check(algorithm, task.setup)
    except ValueError as error:
        raise BadInput(f"{subject.label} cannot be trained on {task.name}: {error}") from error


def _leaves(tree: Any) -> Iterator[tuple[str, Any]]:
    import jax

    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(path), leaf


def _report(subject: Subject, job: Job, command: str, variant: str) -> Report:
    return Report(
        id=str(job.id),
        subject=subject.label,
        source=subject.source,
        task=job.task.name,
        seed=job.id.seed,
        lifetime=job.lifetime,
        key=job.key,
        command=command,
        variant=variant,
    )


def _training(result: JobResult) -> Training:
    outcome = result.outcome
    score, curve = (np.nan, None) if outcome is None else (float(outcome.score), outcome.curve)
    return Training(result.id.seed, score, curve, result.error, result.detail)
