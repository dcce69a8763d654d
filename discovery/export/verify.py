"""Proof that an exported file computes what was trained: values and gradients, point by point."""

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

from discovery.errors import BadInput, RunError
from discovery.export.write import resolve
from discovery.work import AlgorithmSpec

ABSOLUTE, RELATIVE = 1e-9, 1e-9
"""In float64, |a - b| <= ABSOLUTE + RELATIVE |b| must hold for every value and gradient."""

N_UPDATES = 1024
"""N of the points' n / N: a power of two, so that n / N is exact however XLA divides."""

LONGEST_SECONDS = 300


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found. It exists only for a file that passed.

    Attributes:
        n_points: at how many points.
        float64_value, float64_gradient: largest |a - b| between the file and us in float64.
        float32_value, float32_gradient: largest |a - b| / (1 + |b|) in float32, which is what a
            training sees; not bounded, because at a kink rounding decides the side.
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


def verify(
    source: str | Path,
    spec: AlgorithmSpec,
    meta_params: Mapping[str, Any],
    numbers: Mapping[str, float],
    n_points: int = 10_000,
    seed: int = 0,
) -> VerifyReport:
    """Compare an exported file with the algorithm it was made from.

    The file is imported in a fresh process in which our packages cannot be imported. Jax is used on
    the CPU, in float64, without changing this process's settings.

    Args:
        source: the file's path, as a `Path`; or its text, as a `str`.
        spec: which algorithm.
        meta_params: its searched entries, as `export` was given them.
        numbers: its plain numbers, likewise.
        n_points: how many points; `points` says where.
        seed: of the random ones.

    Raises:
        RunError: the file cannot be imported, or its values or gradients (by log_prob) differ; the
            message names the worst point.
    """
    algorithm, entries, resolved = resolve(spec, meta_params, numbers)
    at = points(n_points, seed, dict(spec.options).get("log_ratio_clip", 3.0), resolved.get("clip", 0.2))
    theirs = probe([source], at)[0]
    ours = reference(algorithm, entries, resolved, at)
    compare(spec, theirs, ours, at)
    difference = {key: np.abs(theirs[key] - value) for key, value in ours.items()}
    return VerifyReport(
        len(at["log_prob"]),
        float(difference["float64/value"].max()),
        float(difference["float64/gradient"].max()),
        *(
            float((difference[key] / (1.0 + np.abs(ours[key]))).max())
            for key in ("float32/value", "float32/gradient")
        ),
    )


def points(n_points: int, seed: int, log_ratio_clip: float, clip: float) -> dict[str, np.ndarray]:
    """Where to compare: log ratios in [-3.5, 3.5], advantages 3 N(0, 1), n / N in [0, 1).

    One in five has a log ratio on or beside a boundary: exactly 0, the drift's own clipping, PPO's
    clip range, the ends; one in ten has an advantage of exactly 0 or 1. Log probabilities are
    multiples of 2^-16, so that all points and their log ratios are exact in float32.

    Returns:
        log_prob, old_log_prob, advantage, fraction (float64) and update (int32), each ``[n_points]``.
    """
    if n_points < 1:
        raise BadInput(f"n_points must be at least 1, got {n_points}")
    generator = np.random.default_rng(seed)
    grid = 2.0**-16
    special = [0.0, log_ratio_clip, -log_ratio_clip, 3.5, -3.5, np.log1p(clip), np.log1p(-min(clip, 0.95))]
    special = np.array([x for x in special if np.isfinite(x) and abs(x) <= 3.5])
    special = np.concatenate([special, special - grid, special + grid]).clip(-3.5, 3.5)
    log_ratio = generator.uniform(-3.5, 3.5, n_points)
    edges = np.arange(0, n_points, 5)
    log_ratio[edges] = special[np.arange(len(edges)) % len(special)]
    log_ratio = np.round(log_ratio / grid) * grid
    advantage = 3.0 * generator.standard_normal(n_points)
    advantage[::20], advantage[10::20] = 0.0, 1.0
    old_log_prob = np.round(generator.uniform(-4.0, 0.0, n_points) / grid) * grid
    update = generator.integers(0, N_UPDATES, n_points, dtype=np.int32)
    update[::50] = 0
    fraction = update.astype(np.float32) / np.float32(N_UPDATES)
    return {
        "log_prob": old_log_prob + log_ratio,
        "old_log_prob": old_log_prob,
        "advantage": advantage.astype(np.float32).astype(np.float64),
        "fraction": fraction.astype(np.float64),
        "update": update,
    }


def probe(sources: Sequence[str | Path], at: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """What the files compute, each "dtype/value" and "dtype/gradient" ``[N]``; see `probe.py`.

    Raises:
        RunError: the process failed, with its last words.
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


def _missing(last_words: str) -> str:
    """What pip would call the module that was not found; "" if that was not it."""
    found = re.search(r"ModuleNotFoundError: No module named '(\w+)", last_words)
    return {"rejax": "rejax==0.1.3"}.get(found[1], found[1]) if found else ""


def _as_file(source: str | Path, path: Path) -> Path:
    if isinstance(source, Path):
        if not source.is_file():
            raise BadInput(f"there is no file {source} to verify")
        return source.resolve()
    path.write_text(source, encoding="utf-8")
    return path


def reference(
    algorithm: Any, entries: Any, numbers: Mapping[str, float], at: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What the algorithm itself computes, as `probe` returns it; float32 weights are upcast exactly."""
    import jax

    results = {}
    with jax.enable_x64(True), jax.default_device(_cpu()):
        for dtype in ("float64", "float32"):
            arrays = [at[name] for name in ("log_prob", "old_log_prob", "advantage")]
            meta_params, arrays = _cast(({**numbers, **entries}, arrays), dtype)
            value, gradient = _evaluate(algorithm, meta_params, *arrays, at["update"])
            results[f"{dtype}/value"], results[f"{dtype}/gradient"] = np.asarray(value), np.asarray(gradient)
    return results


def _cast(tree: Any, dtype: str) -> Any:
    import jax

    return jax.tree.map(lambda x: np.asarray(x, dtype), tree)


def _cpu() -> Any:
    import jax

    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out; float64 is right elsewhere too
        return None


def _evaluate(algorithm: Any, meta_params: Any, *arrays: np.ndarray) -> tuple[Any, Any]:
    import jax

    from objectives.base import Progress

    def one(log_prob: Any, old_log_prob: Any, advantage: Any, update: Any) -> Any:
        progress = Progress(update, N_UPDATES)
        return algorithm.policy_loss.per_sample(meta_params, log_prob, old_log_prob, advantage, progress)

    return jax.jit(jax.vmap(jax.value_and_grad(one)))(*arrays)


def compare(
    spec: AlgorithmSpec,
    theirs: Mapping[str, np.ndarray],
    ours: Mapping[str, np.ndarray],
    at: Mapping[str, np.ndarray],
) -> None:
    """Raise a `RunError` with the worst point unless values and gradients agree in float64."""
    for kind in ("value", "gradient"):
        _compare(spec, kind, theirs[f"float64/{kind}"], ours[f"float64/{kind}"], at)


def _compare(
    spec: AlgorithmSpec, kind: str, theirs: np.ndarray, ours: np.ndarray, at: Mapping[str, np.ndarray]
) -> None:
    if theirs.dtype != np.float64 or theirs.shape != ours.shape:
        raise RunError(
            f"the exported file does not keep shape and dtype: its {kind} is {theirs.dtype} {theirs.shape} "
            f"for float64 {ours.shape}"
        )
    allowed = ABSOLUTE + RELATIVE * np.abs(ours)
    excess = np.nan_to_num(np.abs(theirs - ours) / allowed, nan=np.inf)
    if (excess <= 1.0).all():
        return
    worst = int(excess.argmax())
    log_ratio = at["log_prob"][worst] - at["old_log_prob"][worst]
    raise RunError(
        f"the exported file does not compute the {kind} of {spec.name!r}: {int((excess > 1.0).sum()):,} of "
        f"{len(ours):,} points differ, most at log ratio {log_ratio:.6g}, "
        f"advantage {at['advantage'][worst]:.6g}, n/N {at['fraction'][worst]:.3g}: the file gives "
        f"{theirs[worst]:.12g}, we {ours[worst]:.12g} (allowed difference {allowed[worst]:.1e}). "
        "Do not use it; export it again"
    )
