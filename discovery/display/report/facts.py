"""All facts of a run's report in one structure. They are read from the ledger and written to report.json.

The page (`discovery/display/report/page.py`) shows only this structure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discovery.core.errors import BadInput
from discovery.core.json import json_text
from discovery.core.toml import dumps
from discovery.display.pictures.found import LOSS, pictures_of
from discovery.display.report.commands import Commands, commands_of, portable
from discovery.display.report.control import Control, control_of
from discovery.display.report.judged import Decline, Sweep, TaskTable, declines, sweeps, tables, verdict
from discovery.display.report.programs import Programs, programs_of
from discovery.display.report.searched import Method, Searched, method, searched, summary
from discovery.display.report.shape import Found, found_objective
from discovery.display.report.spent import Cost, Failure, cost, failures
from discovery.judging.comparison import Comparison
from discovery.judging.evaluate import recorded
from discovery.judging.robustness import Robustness, recorded_sweeps
from discovery.judging.verdict import FEW_SEEDS, Verdict
from discovery.results.loaded import RunData
from discovery.results.words import Words, words_of
from discovery.search.selection import contest
from discovery.store.run import Run

NO_NUMBERS = (
    "What was searched here is the entry {entries} of meta_params. This section has numbers for drifts only; "
    "see the picture."
)


@dataclass(frozen=True)
class Look:
    """One use of held-out tasks; `when` is UTC."""

    when: str
    command: str
    subjects: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: int
    first_seed: int


@dataclass(frozen=True)
class RunFacts:
    """The contents of a report.

    Attributes:
        name: name of the run.
        line: a sentence that describes the run.
        words: what its answers are called.
        chosen: the generation that the search answers with; None before one can be chosen.
        label: the name of its answer in tables.
        verdict: on held-out tasks.
        searched, method, cost: what was searched, how, and what it cost.
        found: the objective in numbers; None if there is none to show, for the reason in `not_found`.
        programs: a search over programs in numbers; None for another one.
        control: another search at the same budget; None if none was named.
        tables: everything that was trained on fresh seeds, by task.
        declines: the winner's curse, by task.
        sweeps: trainings with changed recipes.
        failures: by part and kind.
        looks: every use of held-out tasks.
        limits: limitations of the results, in sentences.
        provenance: versions, commit, hashes and times, by name.
        config: the whole config, as TOML.
        commands: commands that reproduce the report.
    """

    name: str
    line: str
    words: Words
    chosen: int | None
    label: str
    verdict: Verdict
    searched: Searched
    method: Method
    cost: Cost
    found: Found | None
    not_found: str
    programs: Programs | None
    control: Control | None
    tables: tuple[TaskTable, ...]
    declines: tuple[Decline, ...]
    sweeps: tuple[Sweep, ...]
    failures: tuple[Failure, ...]
    looks: tuple[Look, ...]
    limits: tuple[str, ...]
    provenance: Mapping[str, str]
    config: str
    commands: Commands

    def to_json(self) -> str:
        """Everything as JSON; non-finite numbers are null."""
        return json_text(self)


def collect(
    run: RunData,
    reports: Comparison | None = None,
    swept: Sequence[Robustness] | None = None,
    control: RunData | None = None,
) -> RunFacts:
    """The facts of a loaded run.

    Args:
        run: which run.
        reports: its recorded trainings on fresh seeds; read from the run by default.
        swept: its recorded trainings with changed recipes; read from the run by default.
        control: another run of the same tasks, to show beside it.

    Raises:
        LedgerError: the ledger cannot be read.
        BadInput: the other run is no control for this one.
    """
    beside = None if control is None else control_of(run, control)
    reports = recorded(run) if reports is None else reports
    with Run.open(run.folder) as open_run:
        race, tests = contest(open_run), open_run.ledger.tests()
    chosen = run.choice.generation if run.selection else None
    label = "" if chosen is None else run.label(chosen)
    found, reason = _found(run)
    shown, how = tables(run, reports, tests), method(run, race)
    looks = tuple(_look(run, row) for row in tests)
    return RunFacts(
        name=run.name,
        line=summary(run),
        words=words_of(run.config.meta),
        chosen=chosen,
        label=label,
        verdict=verdict(label, [one.task for one in shown if one.standing == "held out"], reports),
        searched=searched(run),
        method=how,
        cost=cost(run),
        found=found,
        not_found=reason,
        programs=programs_of(run),
        control=beside,
        tables=shown,
        declines=declines(run, reports),
        sweeps=sweeps(recorded_sweeps(run, reports) if swept is None else swept),
        failures=failures(run),
        looks=looks,
        limits=tuple(_limitations(run, how, shown, looks)),
        provenance=run.meta,
        config=dumps(run.config),
        commands=commands_of(run, control),
    )


def _look(run: RunData, row: Mapping[str, Any]) -> Look:
    return Look(
        when=row["recorded_at"][:19].replace("T", " "),
        command=portable(row["command"], run),
        subjects=tuple(portable(name, run) for name in row["subjects"]),
        tasks=tuple(row["tasks"]),
        seeds=row["seeds"],
        first_seed=row["first_seed"],
    )


def _found(run: RunData) -> tuple[Found | None, str]:
    if not run.selection:
        answer = words_of(run.config.meta).answer
        return None, f"Nothing has been chosen yet: no {answer} was scored on the selection seeds."
    try:
        pictures = pictures_of(run.learned())
        if LOSS not in pictures.values():
            return None, NO_NUMBERS.format(entries=" and ".join(pictures))
        return found_objective(run), ""
    except BadInput as error:
        return None, f"There is no objective to draw: {error}."


def _limitations(
    run: RunData, how: Method, shown: tuple[TaskTable, ...], looks: tuple[Look, ...]
) -> list[str]:
    """The limitations of the results, in sentences."""
    found, answer = [], words_of(run.config.meta).answer
    if not how.complete:
        found.append(f"The search is not complete: {how.closed} of {how.planned} generations are closed.")
    rows = [row for one in shown for row in one.rows]
    few = sorted({f"{row.subject} on {row.task} ({row.n})" for row in rows if row.n < FEW_SEEDS})
    if few:
        found.append(f"Intervals from fewer than {FEW_SEEDS} seeds are unreliable: {', '.join(few)}.")
    if len(how.means) > 1:
        found.append(
            f"The {answer} was chosen among {len(how.means)} by its scores on selection seeds, which are "
            "too high for that reason."
        )
    found += _task_limitations(run, shown)
    if len(looks) > 1:
        found.append(
            f"Held-out tasks were looked at {len(looks)} times: each look makes the next one weaker evidence."
        )
    found.append(
        "All subjects train with the task's recipe unchanged. That helps known algorithms where it was tuned "
        "for PPO, and what was found where the search adapted it to this recipe."
    )
    found.append(f"This is one search, with seed {run.config.seed}. Another seed may find something else.")
    if run.meta.get("commit", "").endswith("+"):
        found.append("The source had uncommitted changes; its hash identifies it.")
    return found


def _task_limitations(run: RunData, shown: tuple[TaskTable, ...]) -> list[str]:
    seen = {task.setup.environment for task in run.config.seen}
    again = [task.name for task in run.config.held_out if task.setup.environment in seen]
    unknown = [
        t.task for t in shown if t.standing == "held out" and t.task not in {t.name for t in run.tasks}
    ]
    outside = [t.task for t in shown if t.standing == "not part of the search"]
    found = []
    if again:
        found.append(f"Held out, but in an environment that the search has seen: {', '.join(again)}.")
    if unknown:
        found.append(f"Held out by a suite, not by the run when it began: {', '.join(unknown)}.")
    if outside:
        found.append(
            f"Neither seen by the search nor held out, so not part of the verdict: {', '.join(outside)}."
        )
    if not run.config.held_out:
        found.append("No task was held out when the search began.")
    return found
