"""One process with default threads that trains all agents in one vmapped call, for scaling.py."""

import sys
import time

from benchmarks.tasks import BREAKOUT, CARTPOLE, PPO, inputs
from discovery.inner.compile import run_chunk


def main() -> None:
    """Train once per line of standard input; print the seconds of each training."""
    task = {task.name: task for task in (CARTPOLE, BREAKOUT)}[sys.argv[1]]
    keys, lifetimes = inputs(task, int(sys.argv[2]))
    for _ in sys.stdin:
        started = time.perf_counter()
        run_chunk(PPO, task, {}, keys, lifetimes)
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
