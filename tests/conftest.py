"""What holds for every test: one CPU thread for XLA, no display, and shapes checked at run time."""

import atexit
import gc
import os
import shutil
import signal
import tempfile
import typing
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

# Read when numpy, jax and matplotlib are imported. A pool of two threads can hang on vmapped trainings, and
# pools of numpy's get into the way of one another.
os.environ["PJRT_NPROC"] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# What a test runs, it runs for less time than an optimizing compiler takes. `make test-slow` sets it empty.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    # jaxlib 0.11 has no such flag, and aborts on unknown ones.
    + (" --xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else ""),
)

# Nor does it compile what another process of these tests has: workers, commands, pytest's own side by side.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="discovery-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import jax
import jaxtyping
import pytest

# A shell starts what runs in the background with Ctrl-C ignored, and so would be whatever tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
WITHOUT_ARRAYS = (
    *("building", "functions", "graph", "guards", "known", "printer", "scan", "source", "spellings", "text"),
)
"""Modules of `objectives.programs` whose functions take no arrays: with checks, their
tests take several times as long."""


def _checked() -> list[str]:
    """Modules whose functions' annotations are checked."""
    files = (ROOT / "objectives").rglob("*.py")
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files if file.stem[0] != "_"]
    unchecked = {f"objectives.programs.{name}" for name in WITHOUT_ARRAYS}
    return [*(name for name in names if name not in unchecked), "environments", "discovery.inner"]


# Functions' array annotations are checked here and nowhere else; users pay nothing. What is imported before
# this line escapes the check, so nothing of ours may be.
jaxtyping.install_import_hook(_checked(), "beartype.beartype")

from discovery.inner import compile as compiled  # noqa: E402
from objectives.base import Distribution  # noqa: E402

# Beartype asks isinstance where a function is annotated to return one.
typing.runtime_checkable(Distribution)

# What is imported stays, and most of what jax traces too: looking for garbage takes half as long with this.
gc.freeze()
gc.set_threshold(20_000, 20, 20)

MAPS = Path("/proc/self/maps")
MOST_MAPS = 30_000
"""Of 65,530 that Linux gives a process; a file of tests takes up to 20,000. Each compiled program takes some,
and a compiler that gets no more aborts."""


@pytest.fixture(scope="module", autouse=True)
def _room_for_programs() -> Iterator[None]:
    """Forgets what was compiled once there is much of it; the slow tests in one process come that far."""
    yield
    if MAPS.exists() and MAPS.read_text().count("\n") > MOST_MAPS:
        compiled._executables.clear()
        jax.clear_caches()


@pytest.fixture
def says(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a verb: exit code, standard output, standard error."""
    from discovery.app.command_line import main

    def run(*argv: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(argument) for argument in argv])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The folder of a whole search, seconds long, the jobs it ran, and the programs it was compiled to.

    Not to be written to.
    """
    from discovery.app.api import discover
    from discovery.core.config.evolution import ESConfig
    from discovery.core.config.search import SearchConfig
    from discovery.executors.base import no_more
    from discovery.executors.inline import Inline
    from environments.task import Setup, Task

    class Recorder(Inline):
        """Keeps what it is given."""

        def run(self, jobs, more=no_more):
            given.extend(jobs)
            return super().run(jobs, more)

    given = []
    setup = Setup(
        "CartPole-v1", n_envs=2, n_steps=8, n_epochs=1, n_minibatches=2, hidden=(8,), curve_points=5
    )
    config = SearchConfig(
        generations=3,
        algorithm_options={"anchored": True, "temporal": True, "width": 4},
        meta=ESConfig(population=4, answer_every=2),
        tasks=(Task("cart", setup, 480, {"learning_rate": 0.01, "clip": 0.3}),),
        # The same structure as the task, so that nothing compiles again.
        held_out=(Task("fast cart", setup, 480, {"learning_rate": 0.03}),),
        seeds=2,
        selection_seeds=4,
        selection_doublings=0,
    )
    programs: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "_executables", programs)
        run = discover(config, tmp_path_factory.mktemp("runs"), "tiny", Recorder(4))
    compiled._executables.update(programs)
    return SimpleNamespace(folder=run.folder, jobs=given, programs=programs)


@pytest.fixture(scope="session")
def reported_run(finished_run: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A copy of that run in which two subjects beside it were evaluated, and the comparison."""
    from discovery.app.api import evaluate
    from discovery.executors.inline import Inline

    folder = tmp_path_factory.mktemp("reported") / finished_run.folder.name
    shutil.copytree(finished_run.folder, folder)
    comparison = evaluate(folder, against=("initial", "ppo"), seeds=4, executor=Inline(4), test=True)
    return SimpleNamespace(folder=folder, comparison=comparison)
