"""Held-out tasks: from which runs a task is held out, the check before training on it, and the record of
every use.

    looks = looks_at(["CartPole", "FourRooms"], run_folders_of(names), test=True)
    record_looks(looks, command, labels, seeds, first_seed)  # then train

`discovery evaluate`, `discovery compare` and their Python functions all use this module.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from discovery.core.errors import BadInput
from discovery.core.toml import CONFIG, is_run, load

Looks = Mapping[Path, tuple[str, ...]]
"""Run -> names of tasks to train on that are held out from it."""


def run_folders_of(names: Sequence[str]) -> list[Path]:
    """The runs among names of subjects, each once."""
    found: dict[Path, Path] = {}
    for name in names:
        folder = name if is_run(name) else name.rpartition("@")[0]
        if folder and is_run(folder):
            found.setdefault(Path(folder).resolve(), Path(folder))
    return list(found.values())


def looks_at(
    tasks: Sequence[str], runs: Iterable[Path], test: bool, hidden: Collection[str] = ()
) -> dict[Path, tuple[str, ...]]:
    """The tasks held out from each run: by its config, or by a suite if the run has not seen the task.

    Args:
        tasks: names of the tasks to train on.
        runs: folders of the runs that are judged.
        test: whether held-out tasks may be used.
        hidden: names of the tasks that a suite holds out.

    Raises:
        BadInput: a task is held out and `test` is false.
    """
    looks = {}
    for folder in runs:
        config = load(folder / CONFIG)
        own, seen = {task.name for task in config.held_out}, {task.name for task in config.seen}
        looks[folder] = tuple(n for n in tasks if n in own or (n in hidden and n not in seen))
        if looks[folder] and not test:
            raise held_out_by(looks[folder], str(folder))
    return looks


def held_out_by(names: Sequence[str], whose: str) -> BadInput:
    """The error of training on held-out tasks without `test`."""
    return BadInput(
        f"{', '.join(names)} is held out by {whose}, for the last word; --test (in Python: test=True) trains "
        "on it, and the ledger records that it was done; --tasks names others"
    )


def unseen(looks: Looks, hidden: Iterable[str] = ()) -> tuple[str, ...]:
    """Names of the held-out tasks that none of the runs has seen, for tables."""
    seen = {task.name for folder in looks for task in load(folder / CONFIG).seen}
    every = dict.fromkeys([*hidden, *(name for names in looks.values() for name in names)])
    return tuple(name for name in every if name not in seen)


def record_looks(looks: Looks, command: str, labels: Sequence[str], seeds: int, first_seed: int) -> None:
    """Record in the runs' ledgers that tasks held out from them will be used. Call it before training."""
    from discovery.store.run import Run

    for folder, names in looks.items():
        if names:
            with Run.open(folder, write=True) as run:
                run.ledger.record_test(command, labels, names, seeds, first_seed)
