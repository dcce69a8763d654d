"""The ledger's rows as pandas frames and arrays of curves."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from discovery.core.errors import unknown
from discovery.core.jobs import Outcome

Rows = Sequence[Mapping[str, Any]]


class Curves(NamedTuple):
    """Learning curves of n trainings of one task.

    Attributes:
        steps: ``[n, K]`` environment steps at which each window ends.
        values: ``[n, K]`` mean over the window; NaN where no episode ended, and everywhere if the training
            returned nothing.
        rows: the trainings, a data frame of n rows.
    """

    steps: Float[np.ndarray, "n K"]
    values: Float[np.ndarray, "n K"]
    rows: pd.DataFrame


def curves(rows: Rows, field: str, steps_per_update: Callable[[str], int]) -> Curves:
    """`field` of the outcomes of `rows`, all of one task; NaN where a training has no such metric.

    Raises:
        BadInput: no outcome has it.
    """
    found = [_curves_of(row["outcome"]) for row in rows]
    names = dict.fromkeys(name for each in found for name in each)
    if names and field not in names:
        raise unknown("curve", field, tuple(names))
    arrays = [np.asarray(each[field], float) if field in each else None for each in found]
    points = max((array.size for array in arrays if array is not None), default=0)
    missing = np.full(points, np.nan)
    values = np.array([missing if array is None else array for array in arrays]).reshape(len(rows), points)
    frame = trainings([{k: v for k, v in row.items() if k != "outcome"} for row in rows], steps_per_update)
    total = frame["steps"].to_numpy(float) if len(frame) else np.zeros(0)
    return Curves(total[:, None] * (1 + np.arange(points)) / max(points, 1), values, frame)


def _curves_of(outcome: Outcome | None) -> dict[str, Any]:
    """The arrays ``[K]`` of an outcome, by name."""
    if outcome is None:
        return {}
    return {"curve": outcome.curve, "episodes": outcome.episodes, "length": outcome.length, **outcome.metrics}


def trainings(rows: Rows, steps_per_update: Callable[[str], int]) -> pd.DataFrame:
    """One row per training; `steps` counts the environment steps that it took from its checkpoint on."""
    return pd.DataFrame([{**row, "steps": _updates(row) * steps_per_update(row["task"])} for row in rows])


def _updates(row: Mapping[str, Any]) -> int:
    return row.get("until", row["lifetime"]) - row.get("begun", 0)


def proposals(proposals: Rows, evaluations: Rows) -> pd.DataFrame:
    """One row per proposal, with its failures and its mean score on each task, over whole trainings; NaN if
    one failed, or if there is none.
    """
    frame = pd.DataFrame(proposals).rename(columns={"idx": "index"})
    if frame.empty or not evaluations:
        return frame
    scores: dict[str, dict[str, list[float]]] = {}
    for row in evaluations:
        if row["until"] < row["lifetime"]:
            continue
        scores.setdefault(row["task"], {}).setdefault(row["proposal"], []).append(row["score"])
    frame["failed"] = [
        sum(bool(np.isnan(score)) for task in scores.values() for score in task.get(name, ()))
        for name in frame["id"]
    ]
    for task, found in scores.items():
        frame[f"score {task}"] = [float(np.mean(found.get(name, [np.nan]))) for name in frame["id"]]
    return frame


def generations(rows: Rows, scores: Float[np.ndarray, "G P"]) -> pd.DataFrame:
    """One row per closed generation: its population's scores, and the state's metrics after it."""
    table = []
    for row in rows:
        number = row["generation"]
        known = scores[number][np.isfinite(scores[number])] if number >= 0 else np.array([])
        population = {
            name: f(known) if known.size else np.nan
            for name, f in (("best", np.max), ("mean", np.mean), ("std", np.std))
        }
        table.append({"generation": number, **population, **row["metrics"], "closed_at": row["closed_at"]})
    return pd.DataFrame(table)
