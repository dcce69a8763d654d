"""The start of every search: from a config to a run in its folder, and an executor."""

from dataclasses import replace
from pathlib import Path

from discovery.core.config.search import SearchConfig
from discovery.executors import executor_of
from discovery.executors.base import Executor
from discovery.search.check import check
from discovery.search.width import with_width
from discovery.store.run import Run, new_folder


def refuse_unsuitable(config: SearchConfig, output: Path, short: str, name: str | None) -> None:
    """Raise a BadInput, before anything is written, if the search cannot begin."""
    new_folder(config, output, short, name)
    check(config)
    from discovery.results.distillation.start import sources_of  # after `check` limited jax to one thread

    sources_of(config)


def begin(
    config: SearchConfig,
    output: Path,
    short: str = "search",
    name: str | None = None,
    executor: Executor | None = None,
) -> tuple[Run, Executor]:
    """Check a config, find its width, and make its run.

    Args:
        config: the search.
        output: the folder in which the run's folder is created.
        short: the part of the run's default name after the date.
        name: of the run.
        executor: where trainings run; by default the config's.

    Returns:
        the open run and the executor; the caller closes both.

    Raises:
        BadInput: before anything is written, if the config is invalid.
    """
    refuse_unsuitable(config, output, short, name)
    if executor is None:
        config = with_width(config)
    elif width := getattr(executor, "agents_per_call", None):  # other kinds of executors may have no width
        config = replace(config, agents_per_call=width)
    from discovery.results.distillation.start import start_of

    own = executor or executor_of(config)
    try:
        return Run.create(config, output, short, name, start_of(config)), own
    except BaseException:
        if executor is None:
            own.close()
        raise
