"""Verification that an exported file computes what was trained: values and gradients by point, or steps."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from discovery.core.errors import BadInput, RunError
from discovery.core.jobs import AlgorithmSpec
from discovery.export.parts import KINDS, holder, kinds_of
from discovery.export.trials import POLICY_LOSS, TRIALS, Trial, points, reference
from discovery.export.write import own_of, resolve

__all__ = ["StepsReport", "VerifyReport", "compare", "points", "probe", "reference", "verify"]

ABSOLUTE, RELATIVE = 1e-9, 1e-9
"""In float64, |a - b| <= ABSOLUTE + RELATIVE |b| must hold for every value and gradient; for an optimizer's
updates, ABSOLUTE is multiplied by the largest."""

LONGEST_SECONDS = 300


@dataclass(frozen=True)
class VerifyReport:
    """The result of `verify` for a loss. It exists only for a file that passed.

    Attributes:
        n_points: number of points.
        float64_value, float64_gradient: largest |a - b| between the file and this package in float64.
        float32_value, float32_gradient: largest |a - b| / (1 + |b|) in float32, which is what a
            training sees; not bounded, because rounding decides the side at a kink.
    """

    n_points: int
    float64_value: float
    float64_gradient: float
    float32_value: float
    float32_gradient: float

    def __str__(self) -> str:
        return (
            f"verified at {self.n_points:,} points in float64: values differ by at most "
            f"{self.float64_value:.1e}, gradients by {self.float64_gradient:.1e} (float32, relative: "
            f"{self.float32_value:.1e} and {self.float32_gradient:.1e})"
        )


@dataclass(frozen=True)
class StepsReport:
    """The result of `verify` for an optimizer. It exists only for a file that passed.

    Attributes:
        n_steps: number of steps.
        n_parameters: number of the agent's parameters.
        largest: largest update of this package; 0 means that these weights have no effect, which proves
            little.
        float64: largest |a - b| between updates of the file and of this package in float64.
        float32: the same in float32, which is what a training sees.
    """

    n_steps: int
    n_parameters: int
    largest: float
    float64: float
    float32: float

    def __str__(self) -> str:
        return (
            f"verified in {self.n_steps} steps of {self.n_parameters} parameters in float64, all extra "
            f"arguments given: updates of at most {self.largest:.1e} differ by at most {self.float64:.1e} "
            f"(float32: {self.float32:.1e})"
        )


def verify(
    source: str | Path,
    spec: AlgorithmSpec,
    meta_params: Mapping[str, Any],
    numbers: Mapping[str, float],
    n_points: int = 10_000,
    seed: int = 0,
) -> VerifyReport | StepsReport:
    """Compare an exported file with the algorithm it was made from.

    The file is imported in a new process in which this package cannot be imported. jax is used on the CPU, in
    float64, without changing this process's settings.

    Args:
        source: the file's path, as a `Path`; or its text, as a `str`.
        spec: which algorithm.
        meta_params: its searched entries, as `export` was given them.
        numbers: its plain numbers, likewise.
        n_points: number of points for a loss, see `trials.py`. An optimizer takes a few steps.
        seed: of the random inputs.

    Raises:
        RunError: the file cannot be imported, or its values or gradients (by log_prob, scores, or a program's
            inputs) differ; the message names the worst point.
    """
    if n_points < 1:
        raise BadInput(f"n_points must be at least 1, got {n_points}")
    text = (
        source.read_text(encoding="utf-8") if isinstance(source, Path) and source.is_file() else str(source)
    )
    algorithm, entries, resolved = resolve(spec, meta_params, numbers)
    kinds = [*kinds_of(spec, algorithm), *KINDS]
    kind = next((kind for kind in kinds if f"\ndef {kind.entry}(" in text), kinds[0])
    if (part := holder(spec, kind)) != spec:  # with the whole algorithm's numbers, as in `export`
        return verify(source, part, *own_of(part, entries, resolved), n_points, seed)
    trial = TRIALS[kind.entry]
    at = trial.points(spec, algorithm, resolved, n_points, seed)
    theirs = probe([source], at)[0]
    ours = reference(algorithm, entries, resolved, at, trial)
    compare(spec, theirs, ours, at, trial)
    return _report(theirs, ours)


def _report(theirs: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray]) -> "VerifyReport | StepsReport":
    exact = {key: float(np.abs(theirs[key] - value).max()) for key, value in ours.items()}
    relative = {
        key: float((np.abs(theirs[key] - value) / (1.0 + np.abs(value))).max()) for key, value in ours.items()
    }
    size, values = ours["float64/value"].shape, exact["float64/value"]
    if "float64/gradient" not in ours:
        largest = float(np.abs(ours["float64/value"]).max())
        return StepsReport(size[0], size[1], largest, values, exact["float32/value"])
    return VerifyReport(
        size[0], values, exact["float64/gradient"], relative["float32/value"], relative["float32/gradient"]
    )


def probe(sources: Sequence[str | Path], at: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The results of the files, each "dtype/value" and "dtype/gradient" ``[N]``; see `probe.py`.

    Raises:
        RunError: the process failed; the message has its last lines.
    """
    with tempfile.TemporaryDirectory(prefix="discovery-verify-") as name:
        folder = Path(name)
        files = [_as_file(source, folder / f"exported_{i}.py") for i, source in enumerate(sources)]
        np.savez(folder / "points.npz", allow_pickle=False, **at)
        script = Path(__file__).with_name("probe.py")
        # -I: neither the current folder nor PYTHONPATH; the script itself blocks what is installed.
        command = [sys.executable, "-I", script, folder / "points.npz", folder / "results.npz", *files]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PJRT_NPROC": "1"}
        try:
            done = subprocess.run(
                list(map(str, command)),
                env=environment,
                capture_output=True,
                text=True,
                timeout=LONGEST_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise RunError(f"the exported file did not finish within {LONGEST_SECONDS} s") from error
        if done.returncode:
            last = (done.stderr.strip() or "no output").splitlines()[-1]
            hint = f"; `pip install {host}` installs it" if (host := _missing(last)) else ""
            raise RunError(
                f"the exported file cannot be used on its own (exit {done.returncode}): {last}{hint}"
            )
        results = dict(np.load(folder / "results.npz"))
    split = [key.partition("/") for key in results]
    return [
        {rest: results[f"{i}/{rest}"] for number, _, rest in split if number == str(i)}
        for i in range(len(sources))
    ]


def _missing(last_lines: str) -> str:
    """The pip name of the module that was not found; "" for another error."""
    found = re.search(r"ModuleNotFoundError: No module named '(\w+)", last_lines)
    return {"rejax": "rejax==0.1.3"}.get(found[1], found[1]) if found else ""


def _as_file(source: str | Path, path: Path) -> Path:
    if isinstance(source, Path):
        if not source.is_file():
            raise BadInput(f"there is no file {source} to verify")
        return source.resolve()
    path.write_text(source, encoding="utf-8")
    return path


def compare(
    spec: AlgorithmSpec,
    theirs: Mapping[str, np.ndarray],
    ours: Mapping[str, np.ndarray],
    at: Mapping[str, np.ndarray],
    trial: Trial = POLICY_LOSS,
) -> None:
    """Raise a `RunError` with the worst place unless values and gradients agree in float64."""
    for kind in ("value", "gradient"):
        if f"float64/{kind}" in ours:
            _compare(spec, kind, theirs[f"float64/{kind}"], ours[f"float64/{kind}"], at, trial)


def _compare(
    spec: AlgorithmSpec,
    kind: str,
    theirs: np.ndarray,
    ours: np.ndarray,
    at: Mapping[str, np.ndarray],
    trial: Trial,
) -> None:
    if theirs.dtype != np.float64 or theirs.shape != ours.shape:
        raise RunError(
            f"the exported file does not keep shape and dtype: its {kind} is {theirs.dtype} {theirs.shape} "
            f"for float64 {ours.shape}"
        )
    size = (float(np.abs(ours).max()) if trial.small else 0.0) or 1.0
    allowed = ABSOLUTE * size + RELATIVE * np.abs(ours)
    excess = np.nan_to_num(np.abs(theirs - ours) / allowed, nan=np.inf)
    if (excess <= 1.0).all():
        return
    worst = np.unravel_index(int(excess.argmax()), ours.shape)
    raise RunError(
        f"the exported file does not compute the {kind} of {spec.name!r}: {int((excess > 1.0).sum()):,} of "
        f"{ours.size:,} {trial.unit} differ, most at {trial.place(at, tuple(map(int, worst)))}: the file "
        f"gives {theirs[worst]:.12g}, expected {ours[worst]:.12g} (allowed difference {allowed[worst]:.1e}). "
        "Do not use it; export it again"
    )
