"""``discovery show RUN``."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from discovery.app.commands.folders import OUTPUT, Status, algorithm_text, find_run, is_running, status_of
from discovery.app.commands.listing import facts_of
from discovery.app.commands.parsing import parse
from discovery.app.commands.tables import show
from discovery.core.config.search import SearchConfig
from discovery.core.plain import plain
from discovery.core.toml import CONFIG, is_run
from discovery.results.words import words_of
from discovery.store.start import origins_of

if TYPE_CHECKING:
    from discovery.store.run import Run

PROG = "discovery show"

DESCRIPTION = """Show one run: its config, its progress, what it found, what failed, how long it took, and
what `discovery evaluate` recorded.

  discovery show runs/NAME
  discovery show NAME --config         the whole config, as TOML
  discovery show NAME --lineage        which programs the answer comes from, and what changed
  discovery show NAME@g12/p3 --lineage the same of a proposal
"""


@dataclass(frozen=True)
class Show:
    """Arguments of `discovery show`."""

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """A run's folder, or its name in --output; with --lineage also one of its proposals, RUN@g12/p3."""
    config: bool = False
    """Print the whole config as TOML, and nothing else."""
    lineage: bool = False
    """Print the ancestors of the answer, or of a proposal, and nothing else."""
    json: bool = False
    """Print one JSON object, for programs."""
    output: Path = OUTPUT
    """Folder in which RUN is searched."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(Show, argv, PROG, DESCRIPTION)
    if args.lineage:
        _print_lineage(args)
        return 0
    folder = find_run(args.run, args.output)

    from discovery.store.run import Run

    if args.config:
        print((folder / CONFIG).read_text(encoding="utf-8"), end="")
        return 0
    running = is_running(folder)
    with Run.open(folder) as run:
        if args.json:
            _print_json(run, status_of(run, running))
            return 0
        _print(run, status_of(run, running))
        judged = bool(run.ledger.reports(outcomes=False))
    if judged:
        from discovery.display.tables import comparison_tables
        from discovery.judging.evaluate import recorded
        from discovery.results.loaded import load_run

        print()
        show(comparison_tables(recorded(load_run(folder))), width=160)
    return 0


def _print(run: "Run", one: Status) -> None:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _facts(run, one):
        table.add_row(name, text)
    show(table, width=160)


def _print_json(run: "Run", one: Status) -> None:
    from discovery.core.json import json_line

    rows = run.ledger.evaluations(outcomes=False)
    numbers = {
        "config": plain(run.config),
        "trainings": len(rows),
        "failures": Counter(row["error"] for row in rows if row["error"]),
        "seconds": sum(row["seconds"] for row in rows),
        "compile_seconds": sum(row["compile_seconds"] for row in rows),
    }
    print(json_line({**facts_of(one), **numbers}))


def _print_lineage(args: Show) -> None:
    from discovery.display.lineage import lineage_facts, lineage_text
    from discovery.results.loaded import load_run

    name, at, proposal = args.run.rpartition("@")
    if "/" not in proposal or is_run(Path(args.run)):
        name, at, proposal = args.run, "", ""
    run = load_run(find_run(name, args.output))
    lineage = run.lineage(proposal if at else None)
    if args.json:
        from discovery.core.json import json_line

        print(json_line({"run": str(run.folder), "lineage": lineage_facts(lineage)}))
    elif lineage:
        show(lineage_text(lineage))
    else:
        print(f"The answer of {run.name} is what the search began with: it has no ancestors.")


def _facts(run: "Run", one: Status) -> Iterator[tuple[str, str]]:
    """The lines to show, as (name, text)."""
    config, rows = run.config, run.ledger.evaluations(outcomes=False)
    yield "run", str(run.folder)
    yield "state", f"{one.state}, {one.closed} of {config.generations} generations"
    yield "begun", _origin(one.meta)
    yield "algorithm", algorithm_text(config)
    if origins := origins_of(one.meta):
        yield "start", "\n".join(origin.text for origin in origins)
    yield "search", _search_text(config)
    for task in config.tasks:
        yield f"task {task.name}", task_text(task)
    for task in config.selection:
        yield f"selection {task.name}", task_text(task)
    for task in config.held_out:
        yield f"held out {task.name}", task_text(task)
    yield from _scores(run, one)
    yield "trainings", _trainings_text(rows)
    yield "time", _time_text(rows, one.meta.get("created", ""))
    yield from _products(run.folder)
    yield "next", "\n".join(_next(one))


def _origin(meta: dict[str, str]) -> str:
    versions = ", ".join(f"{name} {meta[name]}" for name in ("rl-discovery", "jax") if name in meta)
    commit = f", commit {meta['commit']}" if meta.get("commit") else ""
    return f"{meta.get('created', '?')[:19]} UTC from {meta.get('preset', '?')} with {versions}{commit}"


def _search_text(config: SearchConfig) -> str:
    meta = config.meta.resolved()
    parts = [meta.title, f"population {meta.population}", *meta.details, f"seed {config.seed}"]
    if meta.asynchronous:
        parts.append("asynchronous")
    parts.append(f"{config.seeds} seeds a proposal, {config.selection_seeds} selection seeds")
    return ", ".join(parts)


def task_text(task: Any) -> str:
    """A task in one line."""
    setup = task.setup
    numbers = "".join(f", {name} {value:g}" for name, value in sorted(task.numbers.items()))
    return (
        f"{setup.environment}, {task.trained_steps:,} steps, {setup.n_envs} x {setup.n_steps} a rollout, "
        f"{setup.n_epochs} epochs of {setup.n_minibatches}{numbers}, score: {task.score}"
    )


def _scores(run: "Run", one: Status) -> Iterator[tuple[str, str]]:
    from discovery.search.selection import selection_scores
    from discovery.statistics import interval, interval_with_failures

    words = words_of(run.config.meta)
    if one.chosen is None:
        yield "found", f"nothing yet: no {words.answer} has been evaluated on the selection seeds"
        return
    initial = selection_scores(run).get(0, {})
    yield "found", f"generation {one.chosen}, which {words.chosen} (mean, 95% interval)"
    for task, values in one.scores.items():
        found = interval_with_failures(interval(values, failures="drop"))
        before = (
            f"   {words.initial} {interval_with_failures(interval(initial[task], failures='drop'))}"
            if task in initial
            else ""
        )
        yield f"  {task}", found + before


def _trainings_text(rows: Sequence[dict[str, Any]]) -> str:
    failures = Counter(row["error"] for row in rows if row["error"])
    text = f"{len(rows):,} finished"
    if not failures:
        return f"{text}, none failed"
    from discovery.display.formats import failures_text

    example = next(row for row in rows if row["error"] == failures.most_common(1)[0][0])
    return f"{text}, {failures_text(failures)}; for example {example['id']}: {example['detail']}"


def _time_text(rows: Sequence[dict[str, Any]], created: str) -> str:
    from discovery.display.formats import duration

    seconds = sum(row["seconds"] for row in rows)
    compiling = sum(row["compile_seconds"] for row in rows)
    workers = len({row["worker"] for row in rows})
    return (
        f"{duration(seconds - compiling)} of training and {duration(compiling)} of compilation, summed over "
        f"{workers} worker{'s' * (workers != 1)}; {wall_text(rows, created)}"
    )


def wall_text(rows: Sequence[dict[str, Any]], created: str) -> str:
    """Wall-clock time from the run's start to its last record."""
    from datetime import datetime

    from discovery.display.formats import duration

    if not rows:
        return "no training recorded yet"
    last = max(datetime.fromisoformat(row["recorded_at"]) for row in rows)
    seconds = (last - datetime.fromisoformat(created)).total_seconds()
    return f"{duration(seconds)} from start to last record, pauses included"


def _products(folder: Path) -> Iterator[tuple[str, str]]:
    for name in ("plots", "exports"):
        files = sorted(path for path in (folder / name).glob("*") if path.is_file())
        if files:
            yield name, "\n".join(map(str, files))


def _next(one: Status) -> list[str]:
    from discovery.app.commands.session import next_commands

    if one.state == "interrupted":
        return [f"discovery resume {quote(str(one.folder))}"]
    if one.state == "running":
        return [f"discovery show {quote(str(one.folder))}"]
    return next_commands(one.folder, one.config)[1:] if one.config else []
