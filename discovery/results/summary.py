"""A summary of a loaded run, for its repr, notebooks and the command line."""

from collections.abc import Mapping
from html import escape

from discovery.results.loaded import RunData
from discovery.store.start import origins_of


def facts(run: RunData) -> dict[str, str]:
    """The facts, name to text, the most important first."""
    config = run.config
    options = ", ".join(f"{name} {value}" for name, value in run.spec.options)
    evaluations, reports = run.evaluations(), run.reports()
    failed = sum(row["error"] is not None for row in evaluations)
    subjects = sorted({row["subject"] for row in reports})
    origins = "; ".join(origin.text for origin in origins_of(run.meta))
    return {
        "run": run.name,
        "searched": run.spec.name + (f" ({options})" if options else ""),
        **({"start": origins} if origins else {}),
        "by": f"{config.meta.title}, population {config.meta.population}",
        "tasks": ", ".join(task.name for task in config.tasks),
        "selection": ", ".join(task.name for task in config.selection) or "the same, other seeds",
        "held out": ", ".join(task.name for task in config.held_out) or "none",
        "generations": f"{run.n_generations} of {config.generations}",
        "trainings": f"{len(evaluations)}, {failed} failed",
        "chosen": _chosen(run),
        "reports": f"{len(reports)} trainings of {', '.join(subjects)}" if subjects else "none",
    }


def line(run: RunData) -> str:
    """The run on one line."""
    known = facts(run)
    return (
        f"{known['run']}: {known['searched']}, generations {known['generations']}, chosen {known['chosen']}"
    )


def html(known: Mapping[str, str]) -> str:
    """Facts as a table for notebooks."""
    left = ' style="text-align:left"'
    rows = [f"<tr><th{left}>{escape(k)}</th><td{left}>{escape(v)}</td></tr>" for k, v in known.items()]
    return f"<table>{''.join(rows)}</table>"


def _chosen(run: RunData) -> str:
    if not run.selection:
        return "none yet"
    generation, scores = run.choice
    texts = ", ".join(f"{task} {values.mean():.4g}" for task, values in sorted(scores.items()))
    return f"generation {generation} ({texts} on {min(map(len, scores.values()))} selection seeds)"
