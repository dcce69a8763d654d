"""(d) Peak memory of a training and of a ten times longer one, each in its own process."""

import resource
import subprocess
import sys

import numpy as np

from benchmarks.tasks import BREAKOUT, PPO, inputs, shortened
from benchmarks.timing import Figure, ratio


def _peak(factor: float) -> float:
    """Peak resident memory in MiB of a process that trains two agents."""
    command = [sys.executable, "-m", "benchmarks.memory", str(factor)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def measure(n: int) -> list[Figure]:
    """Two Breakout-MinAtar agents for 2 and for 20 rollouts."""
    short, long = [], []
    for _ in range(n):
        short.append(_peak(1 / 6))
        long.append(_peak(10 / 6))
    notes = {"short": f"{np.median(short):.0f} MiB", "long": f"{np.median(long):.0f} MiB"}
    return [ratio("peak memory, 10 x longer training", long, short, notes, at_most=1.05)]


def main() -> None:
    from discovery.inner.compile import run_chunk

    task = shortened(BREAKOUT, float(sys.argv[1]))
    keys, lifetimes = inputs(task, 2)
    run_chunk(PPO, task, {}, keys, lifetimes)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
