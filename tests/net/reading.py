"""What the net reads of a run. The only place that knows the names of columns: adapt it to a new schema.

    python -m tests.net.reading run RUN

Floats are written as hexadecimal, so that no bit is lost.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import discovery as d

Facts = dict[str, Any]

CURVES = ("curve", "entropy", "grad_norm")
"""Quantities over a training whose last value is kept. The gradient's norm differs where one bit does."""


def run_facts(folder: Path | str) -> Facts:
    """The scores of a run's trainings and proposals, and its means after each generation."""
    run = d.load_run(folder)
    proposals = run.proposals_frame()
    named = dict(zip(proposals["id"], map(_proposal, *_columns(proposals)), strict=True))
    means = {str(number): mean_facts(run.meta_params(number)) for number in range(run.n_generations + 1)}
    return {
        "generations": run.n_generations,
        "chosen": run.choice.generation,
        "fitness": {named[id]: hexed(value) for id, value in _pairs(proposals, "fitness")},
        "trainings": dict(sorted(_trainings(run, named))),
        "means": means,
    }


def report_facts(folder: Path | str) -> Facts:
    """The scores of what `discovery evaluate` trained in a run."""
    rows = d.load_run(folder).reports_frame()
    order = [rows[name] for name in ("subject", "task", "seed", "score")]
    return {
        f"{Path(subject).name} {task} seed {seed}": hexed(score)
        for subject, task, seed, score in zip(*order, strict=True)
    }


def mean_facts(tree: Any) -> Facts:
    """Each leaf of nested dicts of arrays: its type, a hash of its bytes, and its first values."""
    return {name: _leaf(np.asarray(leaf)) for name, leaf in _leaves(tree)}


def hexed(value: float) -> str:
    """A float in full."""
    return float(value).hex()


def _trainings(run: d.LoadedRun, named: dict[str, str]) -> Iterator[tuple[str, Facts]]:
    last = _last_points(run)
    names = ("id", "proposal", "task", "seed", "until", "lifetime", "score", "final", "auc")
    rows = run.frame()
    for id, proposal, task, seed, until, lifetime, *scores in zip(*(rows[n] for n in names), strict=True):
        values = dict(zip(("score", "final", "auc"), map(hexed, scores), strict=True))
        yield f"{named[proposal]} {task} seed {seed}, {until} of {lifetime}", values | last[id]


def _last_points(run: d.LoadedRun) -> dict[str, Facts]:
    """The last value of each curve, by training."""
    found: dict[str, Facts] = {}
    for split in ("search", "selection"):
        for task in run.config.seen:
            for field in CURVES:
                if field == "grad_norm" and task.setup.exact:
                    continue  # exact training has no gradients
                curves = run.curves(split, task.name, field=field)
                ids = curves.rows["id"] if len(curves.rows) else ()
                for id, values in zip(ids, curves.values, strict=True):
                    found.setdefault(id, {})[field] = hexed(values[-1])
    return found


def _columns(proposals: Any) -> Iterator[Any]:
    return (proposals[name] for name in ("generation", "index", "split"))


def _proposal(generation: int, index: int, split: str) -> str:
    return f"g{generation} {'mean' if split == 'selection' else f'p{index}'}"


def _pairs(frame: Any, name: str) -> Iterator[tuple[str, float]]:
    return zip(frame["id"], frame[name], strict=True)


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(tree, dict):
        yield path, tree
        return
    for name in sorted(tree):
        yield from _leaves(tree[name], f"{path}.{name}" if path else name)


def _leaf(array: np.ndarray) -> Facts:
    content = np.ascontiguousarray(array)
    return {
        "type": f"{array.dtype} {list(array.shape)}",
        "sha256": hashlib.sha256(content.tobytes()).hexdigest()[:16],
        "first": [hexed(value) for value in content.ravel()[:4]],
    }


if __name__ == "__main__":
    read = {"run": run_facts, "reports": report_facts}[sys.argv[1]]
    print(json.dumps(read(sys.argv[2])))
