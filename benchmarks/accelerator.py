"""Speed of many trainings on one device: `python -m benchmarks.accelerator [--sizes 1,16,256,2048] [--tiny]`.

For each task and each number of agents (population times seeds), compares our trainings, in calls as wide as
the device's memory allows, with rejax's PPO, with all agents under one vmap (not for Brax). Both run in one
process on one device. Prints environment steps per second, seconds of compilation, memory of
the program, and FLOP/s of matrix products as a share of the device's peak. --profile also writes a trace of
our trainings and prints the operations that take the most time.
"""

import argparse
import gzip
import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ["PJRT_NPROC"] = "1"  # before jax is imported

import jax
import numpy as np

from benchmarks.hosts import rejax_program
from benchmarks.peak import peak, product_flops
from benchmarks.tasks import BREAKOUT, CARTPOLE, PPO, inputs, shortened
from benchmarks.timing import rounds, timed
from discovery.core.config.search import CPU_WIDTH
from discovery.inner import compile as compiled
from discovery.inner.batch_size import bytes_of, measure_lanes
from discovery.inner.loops import train
from discovery.inner.loops.on_policy import complete
from discovery.search.width import even_share
from environments.task import Setup, Task

ANT = Task(
    name="ant",
    setup=Setup(
        "brax/ant",
        n_envs=64,
        n_steps=16,
        n_epochs=4,
        n_minibatches=8,
        hidden=(64, 64),
        options={"backend": "spring"},
    ),
    total_steps=64 * 16 * 4,
    numbers={"learning_rate": 3e-4, "entropy_coef": 0.0},
)
TASKS = {"cartpole": shortened(CARTPOLE, 0.2), "breakout": shortened(BREAKOUT, 0.34), "ant": ANT}


@dataclass(frozen=True)
class Side:
    """One way of training all agents.

    Attributes:
        width: agents in one call.
        compile_seconds: of its program.
        bytes: memory of the program on each device.
        seconds: of each round; empty if it did not fit.
    """

    width: int
    compile_seconds: float
    bytes: int
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.seconds)) if self.seconds else math.nan


@dataclass(frozen=True)
class Result:
    """Both ways on one task with one number of agents; `flops` counts the products of our trainings."""

    task: str
    agents: int
    matmul: str
    steps: int
    ours: Side
    rejax: Side
    flops: float
    peak: float
    peak_source: str
    device: str

    def text(self) -> str:
        ours, rejax = (self.steps / side.median for side in (self.ours, self.rejax))
        achieved = self.flops / self.ours.median
        return (
            f"{self.task:<17}{self.agents:>5} agents: {ours:>11,.0f} steps/s in calls of {self.ours.width}, "
            f"rejax {rejax:>11,.0f}, ratio {ours / rejax:5.2f}; compile {self.ours.compile_seconds:.1f} and "
            f"{self.rejax.compile_seconds:.1f} s; program {self.ours.bytes / 2**20:,.1f} and "
            f"{self.rejax.bytes / 2**20:,.1f} MiB; products {achieved / 1e12:.4g} TFLOP/s, "
            f"{achieved / self.peak:.2%} of {self.peak / 1e12:.4g} ({self.peak_source})"
        )


def tiny(task: Task) -> Task:
    """The task with a small agent and a budget of two rollouts."""
    setup = replace(task.setup, n_envs=2, n_steps=4, n_epochs=1, n_minibatches=2, hidden=(8,))
    return replace(task, setup=setup, total_steps=16)


def width_of(task: Task, agents: int) -> int:
    """Agents in one of our calls, as a search determines it."""
    if jax.default_backend() == "cpu":
        return min(agents, CPU_WIDTH)
    keys, lifetimes = inputs(task, 1)
    measured, _, _ = measure_lanes(PPO, task, {}, keys, lifetimes)
    return even_share(agents, measured["lanes"], math.gcd(agents, jax.local_device_count()))


def our_side(task: Task, agents: int, width: int) -> tuple[Side, Callable[[], Any]]:
    """Our side, compiled, and a function that runs it once."""
    keys, lifetimes = inputs(task, agents)
    wide = math.ceil(agents / width) * width
    keys, lifetimes = np.resize(keys, (wide, 2)), np.resize(lifetimes, wide)
    arguments = compiled.arguments_of(PPO, task, {}, keys[:width], lifetimes[:width])
    program, seconds = compiled.executable(PPO, task.setup, arguments)

    def run() -> None:
        for start in range(0, wide, width):
            here = slice(start, start + width)
            compiled.run_chunk(PPO, task, {}, keys[here], lifetimes[here])

    return Side(width, seconds, bytes_of(program), ()), run


def rejax_side(task: Task, agents: int) -> tuple[Side, Callable[[], Any]]:
    """The same for rejax, with the same precision."""
    began = time.perf_counter()
    precision = {"bfloat16": "BF16_BF16_F32"}.get(task.setup.matmul, task.setup.matmul)
    with jax.default_matmul_precision(precision):
        program, arguments = rejax_program(task, agents)
    side = Side(agents, time.perf_counter() - began, bytes_of(program), ())
    return side, lambda: jax.block_until_ready(program(*arguments))


def measure(task: Task, agents: int, n: int, width: int | None) -> tuple[Result, Callable[[], Any]]:
    """Measure both sides in turns; also returns a function that runs ours once.

    rejax is left out for Brax, and if it does not fit into memory.
    """
    ours, run = our_side(task, agents, width or width_of(task, agents))
    variants, rejax = {"ours": timed(run)}, Side(agents, math.nan, 0, ())
    try:
        if "/" not in task.setup.environment:
            rejax, run_rejax = rejax_side(task, agents)
            run_rejax()
            variants["rejax"] = timed(run_rejax)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
    seconds: Any = {"rejax": [], **rounds(variants, n)}
    device, steps = jax.devices()[0], task.n_updates * task.setup.steps_per_update * agents
    top, source = peak(device, task.setup.matmul)
    result = Result(
        task.name,
        agents,
        task.setup.matmul,
        steps,
        replace(ours, seconds=tuple(seconds["ours"])),
        replace(rejax, seconds=tuple(seconds["rejax"])),
        flops_of(task) * agents,
        top,
        source,
        device.device_kind,
    )
    return result, run


def flops_of(task: Task) -> float:
    """FLOPs of the matrix products in one training."""
    algorithm = compiled.build_algorithm(PPO)
    numbers = complete(algorithm, task.numbers, {})
    return product_flops(
        lambda key: train(algorithm, task.setup, numbers, key, task.n_updates), jax.random.key(0)
    )


def profile(run: Callable[[], Any], folder: Path) -> list[tuple[str, Any]]:
    """Trace one run into `folder`; returns the twelve operations that took the most seconds.

    Loops and calls contain other operations, so they are left out.
    """
    with jax.profiler.trace(str(folder)):
        run()
    newest = max(folder.rglob("*.trace.json.gz"), key=lambda path: path.stat().st_mtime)
    with gzip.open(newest) as file:
        events = json.load(file)["traceEvents"]
    total: Counter[str] = Counter()
    for event in events:
        name = event.get("args", {}).get("hlo_op", "")
        if name and not name.startswith(("while", "call", "conditional")):
            total[name] += event.get("dur", 0.0) / 1e6
    return total.most_common(12)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accelerator", description=__doc__)
    parser.add_argument("--sizes", default="1,16,256,2048", help="agents: population times seeds")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--matmul", default="float32", choices=("float32", "tensorfloat32", "bfloat16"))
    parser.add_argument("--width", type=int, help="agents in a call of ours; found by memory unless given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write results there, one JSON object a line")
    parser.add_argument("--profile", type=Path, help="write traces of ours below this folder")
    parser.add_argument("--tiny", action="store_true", help="tiny agents, to check this script with")
    options = parser.parse_args()
    sizes = [2] if options.tiny else [int(size) for size in options.sizes.split(",")]
    device = jax.devices()[0]
    print(f"{jax.device_count()} x {device.device_kind}, jax {jax.__version__}", flush=True)
    if device.platform == "cpu":
        print("unverified: ran on a CPU; these figures do not apply to an accelerator", flush=True)
    for name in options.tasks.split(","):
        task = replace(TASKS[name], setup=replace(TASKS[name].setup, matmul=options.matmul))
        if options.tiny:
            task = tiny(task)
        for agents in sizes:
            result, run = measure(task, agents, options.rounds, options.width)
            print(result.text(), flush=True)
            if options.json:
                with options.json.open("a") as file:
                    file.write(json.dumps(asdict(result)) + "\n")
            if options.profile:
                for operation, seconds in profile(run, options.profile / f"{name}-{agents}"):
                    print(f"    {seconds:8.4f} s  {operation}")
    memory = device.memory_stats() or {}
    if "peak_bytes_in_use" in memory:
        print(f"peak memory of this process: {memory['peak_bytes_in_use'] / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
