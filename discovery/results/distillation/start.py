"""Finding what a search starts from, if not from its family's initial values.

    [start]
    sources = ["ppo"]                  a known algorithm: the family is fitted to it
    sources = ["runs/a", "runs/b@12"]  what runs found; each gives the entries it has

The numbers of a run of the same family and options are copied. Other runs, known algorithms and exported
files are imitated on synthetic inputs (`lessons.py`), and the remaining error is recorded in the run. Neither
a source nor the sources of its own start may have been searched on what the new search holds out.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec
from discovery.inner.compile import build_algorithm
from discovery.inner.loops.on_policy import complete
from discovery.results.distillation.imitation import imitate
from discovery.results.distillation.lessons import lesson_of
from discovery.results.learned import part_of_entries
from discovery.results.subjects import Subject, subjects
from discovery.search.requests import seed_words
from discovery.store.held_out import run_folders_of
from discovery.store.run import Run
from discovery.store.start import Origin, Seen, Start, origins_of
from environments.make import options_of
from environments.task import Task
from objectives import all_options, family_of
from objectives.base import Algorithm
from objectives.family import Family


def start_of(config: SearchConfig) -> Start | None:
    """The start that a config asks for; None if it names no source.

    Raises:
        BadInput: a source does not exist, has nothing that the family could copy or imitate, has the same
            entry as another, or was searched on a held-out task.
    """
    if not config.start.sources:
        return None
    mean = build_algorithm(config.spec).init(_key(config, "start"))
    origins: dict[str, Origin] = {}
    for source, seen in sources_of(config):
        found = {entry: _entry(config, mean, entry, source) for entry in mean}
        given = {entry: pair for entry, pair in found.items() if pair is not None}
        if not given:
            parts = part_of_entries(config.spec)
            able = [entry for entry in mean if lesson_of(parts[entry])]
            raise BadInput(
                f"start.sources: {source.label!r} has nothing that {config.algorithm} could begin with; it "
                f"searches {', '.join(mean)}, and can imitate {', '.join(able) or 'nothing'} of that"
            )
        if twice := sorted(set(given) & set(origins)):
            raise BadInput(
                f"start.sources: {source.label!r} and {origins[twice[0]].source!r} both have {twice[0]!r}; "
                "name one of them"
            )
        mean |= {entry: numbers for entry, (numbers, _) in given.items()}
        origins |= {entry: origin._replace(seen=seen) for entry, (_, origin) in given.items()}
    return Start(jax.tree.map(np.asarray, mean), tuple(origins.values()))


def sources_of(config: SearchConfig) -> list[tuple[Subject, tuple[Seen, ...]]]:
    """The sources of a search, and what each was searched on.

    Raises:
        BadInput: a source does not exist, or was searched on a task that the config holds out: one of that
            name, or with that environment and options, unless the config searches on these itself.
    """
    if not (names := config.start.sources):
        return []
    found = [(source, _seen(name)) for name, source in zip(names, subjects(names), strict=True)]
    for name, (_, seen) in zip(names, found, strict=True):
        for one in seen:
            _refuse(config, name, one)
    return found


def _seen(source: str) -> tuple[Seen, ...]:
    """What a source and its start were searched on; nothing if it is not a run."""
    seen: list[Seen] = []
    for folder in run_folders_of([source]):
        with Run.open(folder) as run:
            setups = ((task.name, task.setup) for task in run.config.seen)
            seen += (Seen(run.name, name, setup.environment, dict(setup.options)) for name, setup in setups)
            seen += (each for origin in origins_of(run.ledger.meta) for each in origin.seen)
    return tuple(each for i, each in enumerate(seen) if each not in seen[:i])


def _refuse(config: SearchConfig, source: str, seen: Seen) -> None:
    """Refuse a source that has seen a held-out task."""
    for task in config.held_out:
        named, there = task.name == seen.task, _is_there(seen, task)
        if not named and (not there or any(_is_there(seen, own) for own in config.seen)):
            continue
        what = repr(task.name) if named else f"{seen.task!r}, in the environment of {task.name!r}"
        raise BadInput(
            f"start.sources: {source} comes from run {seen.run}, which was searched on {what}; this search "
            f"holds {task.name!r} out: leave it out of held_out, or start from what has not seen it"
        )


def _is_there(seen: Seen, task: Task) -> bool:
    """Whether a task is in the environment that was seen, its options included."""
    if task.setup.environment != seen.environment:
        return False
    known = options_of(seen.environment)
    return known | dict(seen.options) == known | dict(task.setup.options)


def _key(config: SearchConfig, *parts: str) -> PRNGKeyArray:
    return jax.random.wrap_key_data(jnp.asarray(seed_words(config.seed, *parts)))


def _entry(
    config: SearchConfig, mean: Mapping[str, Any], entry: str, source: Subject
) -> tuple[Any, Origin] | None:
    """The entry's numbers from one source, or None if it has none."""
    own, spec = source.meta_params.get(entry), config.spec
    as_read = own is not None and _how_read(spec, entry) == _how_read(source.spec, entry)
    if as_read and not config.start.distill:
        return own, Origin(entry, source.label, source.source)
    teacher = build_algorithm(source.spec)
    lesson = lesson_of(part_of_entries(spec)[entry])
    # A run that searched something else does not teach: the optimizer of a drift's run is plain Adam.
    if lesson is None or not lesson.suits(teacher) or (source.meta_params and own is None):
        return None
    student, numbers = build_algorithm(spec), config.tasks[0].numbers
    learned = imitate(
        lesson,
        entry,
        (student, _complete(student, numbers, mean)),
        (teacher, _complete(teacher, {**numbers, **source.numbers}, source.meta_params)),
        _key(config, "start", entry),
        config.start.steps,
    )
    steps = config.start.steps if learned.error < learned.before else 0
    errors = learned.error, learned.before, steps
    return learned.numbers, Origin(entry, source.label, source.source, lesson.what, *errors)


def _complete(
    algorithm: Algorithm, numbers: Mapping[str, float], entries: Mapping[str, Any]
) -> dict[str, Any]:
    """`complete` with the numbers that the algorithm reads."""
    known = dict(algorithm.defaults)
    return complete(algorithm, {name: value for name, value in numbers.items() if name in known}, entries)


def _how_read(spec: AlgorithmSpec, entry: str) -> tuple[Family, Mapping[str, Any]]:
    """The family that reads an entry, with all options that say how its numbers are read."""
    part = part_of_entries(spec)[entry]
    family, options = family_of(part.name), all_options(part.name, dict(part.options))
    return family, {key: value for key, value in options.items() if key not in family.starts}
