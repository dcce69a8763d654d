"""Discovery of reinforcement-learning algorithms: search, judge, inspect, take away.

import discovery as d
run = d.load_run("runs/...")

Names load what they need when they are first used: importing this package imports no jax. If that starts jax
on a CPU, it uses one thread: with more, compiled trainings can hang and are hardly faster
(`discovery/executors/cpu.py`). PJRT_NPROC=4 in the environment overrides this.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from discovery.app.api import algorithms, compare_suite, discover, evaluate, resume
    from discovery.app.comparisons import Comparison, SuiteComparison
    from discovery.app.loaded import LoadedRun, load_run
    from discovery.core.config.evolution import ESConfig
    from discovery.core.config.population import PBEConfig
    from discovery.core.config.programs import ProgramsConfig
    from discovery.core.config.search import SearchConfig
    from discovery.core.errors import BadInput, DiscoveryError, ExecutorError, LedgerError, RunError
    from discovery.core.jobs import AlgorithmSpec
    from discovery.display.pictures.grid import draw_environment, draw_level
    from discovery.display.pictures.runs import plot_run
    from discovery.executors import make_executor
    from discovery.export.run import export_run, verify_run
    from discovery.inner.loops import train
    from discovery.inner.play import play
    from discovery.results.objective import Objective, objective_of
    from discovery.statistics import Interval, apart, interval, iqm, paired_difference
    from discovery.store.run import Run
    from environments.task import Setup, Task
    from objectives import build

__distribution__ = "rl-discovery"
__all__ = [
    "AlgorithmSpec",
    "BadInput",
    "Comparison",
    "DiscoveryError",
    "ESConfig",
    "ExecutorError",
    "Interval",
    "LedgerError",
    "LoadedRun",
    "Objective",
    "PBEConfig",
    "ProgramsConfig",
    "Run",
    "RunError",
    "SearchConfig",
    "Setup",
    "SuiteComparison",
    "Task",
    "__distribution__",
    "algorithms",
    "apart",
    "build",
    "compare_suite",
    "discover",
    "draw_environment",
    "draw_level",
    "evaluate",
    "export_run",
    "interval",
    "iqm",
    "load_run",
    "make_executor",
    "objective_of",
    "paired_difference",
    "play",
    "plot_run",
    "resume",
    "train",
    "verify_run",
]

_HOMES = {
    "discovery.app.loaded": ("LoadedRun", "load_run"),
    "discovery.app.api": ("algorithms", "compare_suite", "discover", "evaluate", "resume"),
    "discovery.app.comparisons": ("Comparison", "SuiteComparison"),
    "discovery.core.config.search": ("SearchConfig",),
    "discovery.core.errors": ("BadInput", "DiscoveryError", "ExecutorError", "LedgerError", "RunError"),
    "discovery.executors": ("make_executor",),
    "discovery.display.pictures.grid": ("draw_environment", "draw_level"),
    "discovery.inner.play": ("play",),
    "discovery.inner.loops": ("train",),
    "discovery.core.config.evolution": ("ESConfig",),
    "discovery.core.config.population": ("PBEConfig",),
    "discovery.core.config.programs": ("ProgramsConfig",),
    "discovery.results.objective": ("Objective", "objective_of"),
    "discovery.display.pictures.runs": ("plot_run",),
    "discovery.store.run": ("Run",),
    "discovery.statistics": ("Interval", "apart", "interval", "iqm", "paired_difference"),
    "discovery.export.run": ("export_run", "verify_run"),
    "discovery.core.jobs": ("AlgorithmSpec",),
    "environments.task": ("Setup", "Task"),
    "objectives": ("build",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, from the module that defines it (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'discovery' has no attribute {name!r}")
    importlib.import_module("discovery.executors.cpu").prefer_single_thread()
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
