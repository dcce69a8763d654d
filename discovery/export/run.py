"""Exporting what a run found: one file, with a header from the ledger, and its verification."""

from pathlib import Path

from discovery.core.errors import BadInput
from discovery.core.files import write_whole
from discovery.export import Provenance, Score, StepsReport, VerifyReport, export, verify
from discovery.export.parts import kinds_of
from discovery.export.write import MARK, numbers_in_files
from discovery.judging.comparison import Comparison
from discovery.judging.evaluate import recorded
from discovery.results.loaded import Generation, RunData, load_run
from discovery.statistics import Interval, interval

LIBRARIES = ("jax", "flax", "optax", "evosax", "gymnax")
"""Packages whose versions are in the header."""


def export_run(
    run: RunData, target: str, out: Path | str, generation: Generation = None, part: str = ""
) -> Path:
    """Write what a run found to one standalone file: the part of its algorithm that the target exports.

    Args:
        run: which run.
        target: a name in `discovery.export.FORMATS`.
        out: the file; its folders are created. Only an exported file is overwritten.
        generation: whose mean; by default the chosen one.
        part: which part, if the target exports several: the slot of a program.

    Raises:
        BadInput: unknown target, no such generation, an algorithm without a part for the target, several of
            which none is named, or a file that cannot be written or is not an exported one.
    """
    return write_file(out, source_of(run, target, generation, part))


def source_of(run: RunData, target: str, generation: Generation = None, part: str = "") -> str:
    """The text that `export_run` writes."""
    number = run.generation_number(generation)
    answer = run.answer(number)
    spec = answer.algorithm or run.spec
    return export(spec, answer.meta_params, _recipe(run), provenance(run, number), target, part)


def write_file(out: Path | str, source: str) -> Path:
    """Write an exported file; only another exported file is overwritten.

    Raises:
        BadInput: it cannot be written, or another file exists there.
    """
    out = Path(out)
    if out.is_dir():
        raise BadInput(f"{out} is a folder; name the file to write, for example {out / 'discovered.py'}")
    try:
        if out.exists() and MARK.encode() not in out.read_bytes()[:4096]:
            raise BadInput(
                f"{out} exists and was not written by `discovery export`, which overwrites no other files; "
                "choose another one with --out, or move this one away"
            )
        return write_whole(out, source)
    except OSError as error:
        raise BadInput(
            f"{out} cannot be written: {error.strerror}; choose another file with --out"
        ) from error


def verify_run(
    path: Path | str, run: RunData | Path | str, generation: Generation = None
) -> VerifyReport | StepsReport:
    """Prove that an exported file computes what was trained, at 10,000 points, or, for an optimizer, in some
    steps; see `discovery.export.verify`.

    Raises:
        RunError: it does not; the message names the worst point.
    """
    return verify_source(Path(path), run if isinstance(run, RunData) else load_run(run), generation)


def verify_source(
    source: Path | str, run: RunData, generation: Generation = None
) -> VerifyReport | StepsReport:
    """The same, also for a text that is not in a file yet."""
    answer = run.answer(generation)
    return verify(source, answer.algorithm or run.spec, answer.meta_params, _recipe(run))


def provenance(run: RunData, generation: int) -> Provenance:
    """The provenance of an exported generation, from the run's ledger."""
    reports = recorded(run)
    return Provenance(
        run=run.name,
        generation=generation,
        commit=run.meta.get("commit", ""),
        config_hash=run.meta.get("config_hash", ""),
        created=run.meta.get("created", "")[:10],
        versions={name: run.meta[name] for name in LIBRARIES if name in run.meta},
        tasks=run.config.tasks,
        scores=(*_selection_scores(run, generation), *_report_scores(run, generation, reports)),
        notes=[*_cautions(run, generation, reports), *_other_parts(run), *_differing_numbers(run)],
    )


def _other_parts(run: RunData) -> list[str]:
    kinds = kinds_of(run.spec)
    if len(kinds) < 2:
        return []
    commands = " or ".join(f"--to {kind.formats[0]} --part {kind.part}" for kind in kinds)
    return [
        f"This is one part of {run.spec.name}, whose parts were searched and scored together: without the "
        f"others, scores will differ. `discovery export {run.name}` writes each of them ({commands})."
    ]


def _recipe(run: RunData) -> dict[str, float]:
    """The plain numbers that the loss was tuned to: the first task's."""
    return dict(run.config.tasks[0].numbers)


def _selection_scores(run: RunData, generation: int) -> list[Score]:
    rows = []
    for task, scores in sorted(run.selection.get(generation, {}).items()):
        mean, iqm = (interval(scores, statistic, failures="drop") for statistic in ("mean", "iqm"))
        rows.append(_score(run.label(generation), task, mean, iqm, "selection seeds"))
    return rows


def _report_scores(run: RunData, generation: int, reports: Comparison) -> list[Score]:
    """Scores of this generation and of what it is compared with: known algorithms, and the initial mean."""
    shown = {run.label(generation), run.label(0), *(s for s in reports.subjects if not reports.sources[s])}
    return [
        _score(
            row.subject,
            row.task,
            row.mean,
            row.iqm,
            "held-out task" if row.task in reports.held_out else "held-out seeds",
        )
        for row in reports.rows
        if row.subject in shown
    ]


def _score(algorithm: str, task: str, mean: Interval, iqm: Interval, split: str) -> Score:
    return Score(algorithm, task, mean.estimate, mean.low, mean.high, mean.n, iqm.estimate, split)


def _cautions(run: RunData, generation: int, reports: Comparison) -> list[str]:
    cautions, label = [], run.label(generation)
    if len(run.selection) > 1 and generation == run.choice.generation:
        cautions.append(
            f"This generation was chosen among {len(run.selection)} by its scores on the selection seeds, "
            "which flatter it for that reason; those on held-out seeds do not."
        )
    if failed := sum(row.failed for row in reports.rows if row.subject == label):
        cautions.append(
            f"{failed} of its trainings on held-out seeds or tasks failed; they count as the worst score on "
            "their task."
        )
    return cautions


def _differing_numbers(run: RunData) -> list[str]:
    """Notes on plain numbers of the file in which its tasks differ."""
    notes = []
    for part, name, default in numbers_in_files(run.spec):
        values = {task.name: task.numbers.get(name, default) for task in run.config.tasks}
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{task} {value:g}" for task, value in values.items())
            notes.append(
                f"The {part} reads {name}, in which its tasks differ ({listed}); this is the first one's."
            )
    return notes
