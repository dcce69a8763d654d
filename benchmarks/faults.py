"""Faults during a search on Ray: `python -m benchmarks.faults [--out FOLDER] [NAME ...]`.

Starts a cluster of two nodes on this machine and a small search on it, and causes one fault during each
search. Prints the fault, the reaction of the search, what its ledger held when it ended, and whether every
final score equals bit for bit that of the same search in worker processes without a fault. A search that
stopped is first resumed with the command that it printed, in worker processes if its cluster is gone. An
asynchronous search depends on the order in which batches finish, so it is compared with `discovery repeat`.
"""

import argparse
import functools
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from discovery.executors.ray.messages import LOOPBACK, QUIET

CONFIG = """
generations = 4
algorithm_options = { width = 8 }
seeds = 2
selection_seeds = 4
selection_doublings = 0
agents_per_call = 2
timeout = 60.0

[meta]
population = 4
answer_every = 0

[[tasks]]
name = "Catch"
total_steps = %d
setup = { environment = "Catch-bsuite", n_envs = 8, n_steps = 32 }
"""
CAUSES = {"memory": "out_of_memory", "node": "trying again"}
FLAGS = {"flow": ("--meta.method", "pbe", "--meta.parents", "2", "--meta.asynchronous", "--meta.batch", "1")}
"""Further options of the search, by fault."""
STEPS = 40_000
"""Environment steps of a training."""
LONGER = {"head": 5 * STEPS}
"""The loss of the head is noticed after ten seconds, during which actors continue: a search of short
trainings could end before.
"""
TRAININGS = 4 * 8 + 4
"""Trainings of the whole search."""
PATIENCE = 300.0
STORE = 80 * 2**20
THRESHOLD = "RAY_memory_usage_threshold"
ROOM = 5 * 2**30
"""Further memory that the machine may use before Ray ends workers, in the fault "memory"."""


class Search:
    """A search in its own process, on a cluster, or in worker processes without an address."""

    def __init__(
        self, folder: Path, address: str | None, steps: int = STEPS, flags: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        where = (
            ["--executor", "processes"] if address is None else ["--executor", "ray", "--address", address]
        )
        path = folder.with_suffix(".toml")
        path.write_text(CONFIG % steps)
        arguments = ["search", str(path), "--output", str(folder.parent), "--name", folder.name, *where]
        self._log = open(folder.with_suffix(".log"), "w+")  # noqa: SIM115 - read at the end
        self.process = subprocess.Popen(
            [sys.executable, "-m", "discovery", *arguments, "--workers", "2", *flags],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait_for(self, rows: int) -> None:
        """Wait until `rows` trainings are recorded."""
        until = time.monotonic() + PATIENCE
        while len(scores(self.folder)) < rows:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the search did not get that far:\n{self.said()}")
            time.sleep(0.1)

    def end(self) -> int:
        """Wait for its end; returns its exit code."""
        return self.process.wait(PATIENCE)

    def said(self) -> str:
        """Everything that it printed."""
        self._log.flush()
        return Path(self._log.name).read_text()


class Outcome(NamedTuple):
    """The outcome of a fault.

    Attributes:
        done: description of the fault.
        code: exit code of the search.
        said: the first warning or error that it printed, if possible one that names the cause.
        rows: trainings that were recorded when it ended.
        failed: how many of them failed.
        attempts: the largest number of attempts of any of them.
        resumed: whether it had to be resumed.
        same: whether all final scores equal those of a search without a fault.
    """

    done: str
    code: int
    said: str
    rows: int
    failed: int
    attempts: int
    resumed: bool
    same: bool


def scores(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Score and error of every recorded training, by id."""
    found = rows(folder)
    assert len({row[0] for row in found}) == len(found)
    return {id: (score, error) for id, score, error, _ in found}


def rows(folder: Path) -> list[tuple[Any, ...]]:
    """Id, score, error and attempts of every recorded training."""
    path = folder / "ledger.sqlite"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        try:
            return list(database.execute("SELECT id, score, error, attempts FROM evaluations"))
        except sqlite3.OperationalError:  # it is just being created
            return []


def workers(cluster: Any) -> list[int]:
    """Process ids of a cluster's training workers."""
    raylets = [str(node.all_processes["raylet"][0].process.pid) for node in cluster.list_all_nodes()]
    command = ["pgrep", "-P", ",".join(raylets), "-f", "^ray::RayWorker"]
    said = subprocess.run(command, capture_output=True, text=True)
    return [int(pid) for pid in said.stdout.split()]


# Faults: each function causes one and returns its description ------------------------------------


def kill_worker(cluster: Any, search: Search) -> str:
    os.kill(workers(cluster)[0], signal.SIGKILL)
    return "kill -9 of a worker"


def lose_node(cluster: Any, search: Search) -> str:
    cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
    return "kill -9 of a node's raylet"


def stop_worker(cluster: Any, search: Search) -> str:
    os.kill(workers(cluster)[0], signal.SIGSTOP)
    return "a worker is stopped (SIGSTOP), timeout 60 s"


def fill_memory(cluster: Any, search: Search) -> str:
    used, total = _memory()
    size = int(float(os.environ[THRESHOLD]) * total) - used + 2**28
    code = f"import time; hoard = bytearray({size}); hoard[::4096] = b'x' * len(hoard[::4096]); time.sleep(3)"
    subprocess.run([sys.executable, "-c", code], check=True)
    return "memory runs out, Ray ends a worker"


def kill_driver(cluster: Any, search: Search) -> str:
    os.kill(search.process.pid, signal.SIGKILL)
    return "kill -9 of the search"


def kill_flowing(cluster: Any, search: Search) -> str:
    return f"{kill_driver(cluster, search)}, asynchronous"


def kill_head(cluster: Any, search: Search) -> str:
    cluster.head_node.kill_gcs_server(check_alive=False)
    return "kill -9 of the cluster's head (GCS)"


def kill_bridge(cluster: Any, search: Search) -> str:
    subprocess.run(["pkill", "-9", "-P", str(search.process.pid), "-f", "executors.ray.bridge"], check=True)
    return "kill -9 of the process that talks to Ray"


FAULTS: dict[str, Callable[[Any, Search], str]] = {
    "worker": kill_worker,
    "node": lose_node,
    "hang": stop_worker,
    "memory": fill_memory,
    "driver": kill_driver,
    "flow": kill_flowing,
    "head": kill_head,
    "bridge": kill_bridge,
}


def _memory() -> tuple[int, int]:
    """Used and total bytes of memory."""
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(meminfo[name].split()[0]) * 2**10 for name in ("MemTotal", "MemAvailable"))
    return total - free, total


@contextmanager
def cluster_of_two() -> Iterator[Any]:
    """Two nodes with two cores each according to Ray, so that one has room for the other's workers."""
    from ray.cluster_utils import Cluster

    there = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "object_store_memory": STORE, "include_dashboard": False},
    )
    there.add_node(num_cpus=2, object_store_memory=STORE)
    try:
        yield there
    finally:
        there.shutdown()


def suffer(name: str, out: Path) -> Outcome:
    """Run a search with a fault."""
    steps = LONGER.get(name, STEPS)
    used, total = _memory()
    os.environ[THRESHOLD] = str((used + ROOM) / total if name == "memory" else 0.98)
    with cluster_of_two() as cluster:
        search = Search(out / name, cluster.address, steps, FLAGS.get(name, ()))
        search.wait_for(10)
        done = FAULTS[name](cluster, search)
        code = search.end()
        found, said = scores(search.folder), search.said()
        attempts = max(row[3] for row in rows(search.folder))
        if code and name != "head":
            resume(search.folder, said)
    if code and name == "head":  # without its cluster
        resume(search.folder, said, "--executor", "processes")
    told = [line for line in said.splitlines() if line.startswith(("warning: ", "error: "))]
    told.sort(key=lambda line: CAUSES.get(name, "") not in line)  # other warnings may come first
    failed = sum(error is not None for _, error in found.values())
    same = is_repeated(search.folder) if name in FLAGS else scores(search.folder) == undisturbed(out, steps)
    return Outcome(done, code, told[0] if told else "", len(found), failed, attempts, bool(code), same)


def resume(folder: Path, said: str, *flags: str) -> None:
    """Run the command that a search printed, or `resume` if it was killed before it could print one."""
    printed = re.search("`discovery (resume [^`]+)`", said)
    words = shlex.split(printed[1]) if printed else ["resume", str(folder)]
    subprocess.run([sys.executable, "-m", "discovery", *words, *flags, "--quiet"], check=True)


def is_repeated(folder: Path) -> bool:
    """Whether a search in worker processes with the same order of batches computes the same numbers."""
    command = [sys.executable, "-m", "discovery", "repeat", str(folder), "--output", str(folder.parent)]
    return subprocess.run([*command, "--executor", "processes", "--quiet"]).returncode == 0


@functools.cache
def undisturbed(out: Path, steps: int) -> dict[str, tuple[Any, ...]]:
    """The scores of the same search in worker processes without a fault."""
    search = Search(out / f"reference-{steps}", None, steps)
    if search.end():
        raise RuntimeError(search.said())
    return scores(search.folder)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="NAME", help=f"of {', '.join(FAULTS)}; default: all")
    parser.add_argument("--out", type=Path, help="where the runs are kept; default: nowhere")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each, and no table")
    options = parser.parse_args()
    os.environ |= LOOPBACK | QUIET
    table = Table(title=f"a search of {TRAININGS} trainings on two nodes, broken after 10")
    for head in ("what was done", "what the search did", "on record then", "in the end"):
        table.add_column(head)
    with tempfile.TemporaryDirectory() as place:
        out = options.out or Path(place)
        out.mkdir(parents=True, exist_ok=True)
        for name in options.faults or FAULTS:
            seen = suffer(name, out)
            if options.json:
                print(json.dumps({"fault": name, **seen._asdict()}), flush=True)
                continue
            did = f"exit code {seen.code}: {seen.said}" if seen.code else f"went on: {seen.said}"
            held = f"{seen.rows} of {TRAININGS}, {seen.failed} failed, at most {seen.attempts} attempts"
            end = ("resumed, " if seen.resumed else "") + ("the same scores" if seen.same else "OTHER SCORES")
            table.add_row(seen.done, did, held, end)
    if not options.json:
        Console(width=150).print(table)


if __name__ == "__main__":
    main()
