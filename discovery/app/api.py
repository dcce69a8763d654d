"""The pipeline in a few lines of Python; `import discovery as d` offers these by name.

task = d.Task("Catch", d.Setup("Catch-bsuite", n_envs=8, n_steps=32), 20_000)
run = d.discover(d.SearchConfig(generations=10, tasks=(task,)))
print(d.evaluate(run, against=("ppo", "initial")).verdicts())
print(d.compare_suite(["ppo", "dpo", run], "classic", seeds=30).verdicts())
d.plot_run(run.reload(), run.folder / "plots")
d.export_run(run, "jax", "found.py")
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from discovery.app.begin import begin
from discovery.app.commands.judging import store_folder
from discovery.app.comparisons import Comparison, SuiteComparison
from discovery.app.evaluation import Plan, evaluate_plan
from discovery.app.loaded import LoadedRun, load_run
from discovery.core import presets
from discovery.core.config.search import SearchConfig
from discovery.core.jobs import Job, JobResult
from discovery.core.suites import load_suite
from discovery.executors import executor_of
from discovery.executors.base import Executor
from discovery.judging.evaluate import Watcher, pick_tasks
from discovery.judging.suite import chosen_tasks, train_on_suite
from discovery.meta.base import Results
from discovery.results import loaded
from discovery.results.subjects import subjects as subjects_of
from discovery.search.listener import Listener
from discovery.search.loop import search
from discovery.store.held_out import looks_at, run_folders_of
from discovery.store.run import Run
from objectives import FAMILIES

Subject = loaded.RunData | Path | str
"""A loaded run, or a name of a subject as on the command line."""


class Silence:
    """A listener that says nothing."""

    def started(self, generation: int, jobs: Sequence[Job], done: int) -> None: ...

    def finished(self, job: Job, result: JobResult) -> None: ...

    def closed(self, generation: int, results: Results, metrics: Mapping[str, float]) -> None: ...


def discover(
    config: SearchConfig | str | Path,
    output: Path | str = "runs",
    name: str | None = None,
    executor: Executor | None = None,
    listener: Listener | None = None,
) -> LoadedRun:
    """Run a whole search, and load it.

    Args:
        config: what to search, how, on what; or the name of a preset, or a TOML file.
        output: the folder in which the run's folder is created.
        name: of the run; by default the date, "search" and a short id.
        executor: where trainings run; by default the config's, which is closed at the end.
        listener: receives progress.

    Raises:
        BadInput: before anything is written, if the config is invalid or names something that does not exist.
    """
    short = "search"
    if not isinstance(config, SearchConfig):
        config, short = presets.read(str(config))
    run, used = begin(config, Path(output), short, name, executor)
    with run, contextlib.nullcontext() if executor else used:
        search(run, used, listener or Silence())
    return load_run(run.folder)


def resume(
    folder: Path | str, executor: Executor | None = None, listener: Listener | None = None
) -> LoadedRun:
    """Continue an interrupted run, and load it; a finished run is only loaded."""
    with Run.open(folder, write=True) as run, _Lent(run.config, executor) as lent:
        search(run, lent, listener or Silence())
    return load_run(folder)


def evaluate(
    run: Subject,
    against: Sequence[Subject] | Subject = ("ppo",),
    tasks: Sequence[str] | str | None = None,
    seeds: int = 32,
    executor: Executor | None = None,
    listener: Watcher | None = None,
    first_seed: int = 0,
    test: bool = False,
    sweeps: Mapping[str, Sequence[float]] | None = None,
    retry_failed: bool = False,
) -> Comparison:
    """Compare what a run found with others on held-out seeds, and record every training in the run.

    Recorded trainings are not repeated, except those that failed because of the machine.

    Args:
        run: the run, or its folder.
        against: known algorithms, other runs, or "initial" for this run's initial mean.
        tasks: names; by default those of the run's search, and with `test` also its held-out ones.
        seeds: S, trainings of each subject on each task.
        executor: where they run; by default the run's, which is closed at the end.
        listener: receives progress.
        first_seed: index of the first seed.
        test: train on held-out tasks too; the ledgers of the runs that hold them out record this.
        sweeps: parameter -> factors, for example ``{"learning_rate": (0.1, 1, 10)}``.
        retry_failed: repeat all failed trainings.

    Raises:
        BadInput: a run holds a task out and `test` is false, or a task or subject does not exist.
    """
    folder = Path(_name(run))
    others = [against] if isinstance(against, Subject) else against
    names = [str(folder), *(f"{folder}@initial" if each == "initial" else _name(each) for each in others)]
    with Run.open(folder) as opened:
        config = opened.config
    every = [task.name for task in (config.every_task if test else config.seen)]
    chosen = pick_tasks(every if tasks is None else [tasks] if isinstance(tasks, str) else tasks, config)
    looks = looks_at([task.name for task in chosen], run_folders_of(names), test)
    plan = Plan(
        names, chosen, looks, seeds, first_seed, "discovery.evaluate", (), sweeps or {}, None, retry_failed
    )
    with _Lent(config, executor) as lent:
        return evaluate_plan(plan, lent, listener)


def compare_suite(
    subjects: Sequence[Subject],
    suite: Path | str,
    tasks: Sequence[str] | str = (),
    seeds: int = 30,
    test: bool = False,
    first_seed: int = 0,
    sweeps: Mapping[str, Sequence[float]] | None = None,
    executor: Executor | None = None,
    listener: Watcher | None = None,
    output: Path | str = "runs",
    name: str | None = None,
    retry_failed: bool = False,
    command: str = "discovery.compare_suite",
) -> SuiteComparison:
    """Compare algorithms, runs and exported files on a suite, as `discovery compare` does.

    Trainings are recorded in a folder, where the tables and pictures are written too. Recorded trainings are
    not repeated, except those that failed because of the machine.

    Args:
        subjects: runs, or names as on the command line: "ppo", "ppo[clip=0.1]", "RUN@initial", "found.py".
        suite: its name, or its file.
        tasks: names; by default those for meta-training and selection, and with `test` also the held-out
            ones.
        seeds: S, trainings of each subject on each task.
        test: train on held-out tasks too; the ledger records this.
        first_seed: index of the first seed.
        sweeps: parameter -> factors, for example ``{"learning_rate": (0.1, 1, 10)}``.
        executor: where they run; by default one process per core, closed at the end.
        listener: receives progress.
        output: the folder in which the comparison's folder is created.
        name: of the comparison; by default "compare-" and the suite's name.
        retry_failed: repeat all failed trainings.
        command: recorded as the command line.

    Raises:
        BadInput: before anything is written, if a subject, task, suite or sweep does not fit.
        RunError: so many trainings failed because of the machine that no task is left to compare on.
    """
    found, names = load_suite(suite), [_name(each) for each in subjects]
    tasks = [tasks] if isinstance(tasks, str) else tasks
    chosen = chosen_tasks(found, tasks, test, run_folders_of(names))
    folder, who = store_folder(Path(output), name or f"compare-{found.name}"), subjects_of(names)
    with _Lent(SearchConfig(), executor) as lent:
        result = SuiteComparison.of(
            train_on_suite(
                found, chosen, who, seeds, lent, folder, listener, command, first_seed, sweeps, retry_failed
            )
        )
    result.write(folder, command)
    return result


def algorithms() -> tuple[str, ...]:
    """Names of the available algorithms and families; `build` makes one."""
    return tuple(sorted(FAMILIES))


class _Lent:
    """The caller's executor, left open, or the config's, closed at the end."""

    def __init__(self, config: SearchConfig, executor: Executor | None) -> None:
        self._own = None
        if executor is None:
            self._own = executor_of(config)
        self._executor = executor or self._own

    def __enter__(self) -> Executor:
        assert self._executor is not None
        return self._executor

    def __exit__(self, *_: object) -> None:
        if self._own is not None:
            self._own.close()


def _name(subject: Subject) -> str:
    """The name of a subject, as on the command line."""
    return str(subject.folder if isinstance(subject, loaded.RunData) else subject)
