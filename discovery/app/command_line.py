"""The command line: `discovery VERB ...`. Verbs are in `discovery/app/commands/` and imported when used.

Exit codes: 0 for success, 1 for a failed run, 2 for bad input, 130 for Ctrl-C. An error is one message on
standard error; DISCOVERY_DEBUG=1 or --debug shows its traceback.
"""

import contextlib
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata

from discovery.app.commands.failure import (
    BAD_INPUT,
    FAILED,
    INTERRUPTED,
    debugging,
    interruptible,
    unexpected,
)
from discovery.core.errors import BadInput, DiscoveryError, unknown

VERBS = {
    "quickstart": ("quickstart", "run a small discovery: search, compare with PPO, plot, export"),
    "search": ("search", "search for a learning algorithm, from a preset or a TOML file"),
    "resume": ("resume", "continue a search that was stopped, or extend one that is finished"),
    "repeat": ("repeat", "run a finished search again and compare all numbers"),
    "list": ("listing", "list runs, their progress and their best scores"),
    "show": ("show", "show one run: config, progress, scores, failures, times"),
    "evaluate": ("evaluate", "train what runs found, and known algorithms, on held-out seeds and tasks"),
    "compare": (
        "compare",
        "compare algorithms, runs and files on a suite, with tests of significance",
    ),
    "plot": ("plot", "plot a run: scores by generation, what was found, learning curves"),
    "report": ("report", "write a page on a run: what was searched, what was found, how far to trust it"),
    "export": ("export", "write what a run found as one standalone file"),
    "presets": ("catalog:presets", "list searches that are ready to run"),
    "suites": ("suites", "list sets of tasks, with the scores of random actions and tuned PPO"),
    "objectives": ("catalog:objectives", "list what can be searched, and known algorithms"),
    "envs": ("catalog:envs", "list environments"),
    "program": (
        "program",
        "check and explain a program: a file of one's own, a known one, or what a run found",
    ),
    "doctor": ("doctor", "check versions, devices, cores and this installation"),
}
"""Verb -> "module" or "module:function" in `discovery.app.commands` (default: `main`), and its summary."""

EXAMPLES = """\
Examples:
  discovery quickstart
  discovery presets
  discovery search lpo-catch --dry-run
  discovery search lpo-catch --seed 1 --generations 10
  discovery resume runs/NAME
  discovery evaluate runs/NAME ppo dpo --seeds 32
  discovery export runs/NAME --to jax --out found.py --verify

Runs are folders below runs/. Ctrl-C stops a search at any time, and `discovery resume` continues it.
`discovery VERB --help` explains a verb; --debug shows the traceback of an error."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character shows "?"
    if "--debug" in arguments:
        arguments.remove("--debug")
        os.environ["DISCOVERY_DEBUG"] = "1"
    code = 0
    try:
        with interruptible():
            _check_encoding(arguments)
            code = _dispatch(arguments)
            sys.stdout.flush()
        return code
    except SystemExit as end:  # --help
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `discovery list | head -1` closes the pipe early
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's last flush
        return code
    except DiscoveryError as error:
        return _failed(str(error), error.exit_code)
    except Exception as error:
        return _failed(str(unexpected(error)), FAILED)


def _open_closed_streams() -> None:
    """Replace a closed standard output or error (`>&-`) by /dev/null, before a ledger gets its number."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _check_encoding(arguments: Sequence[str]) -> None:
    """Refuse file names that are not UTF-8, since records and reports are."""
    for argument in arguments:
        if argument.encode(errors="replace") != argument.encode(errors="surrogateescape"):
            raise BadInput(f"{argument!a} is not UTF-8; rename the file or folder")


def _dispatch(arguments: Sequence[str]) -> int:
    if not arguments:
        print(usage())
        return BAD_INPUT
    verb, *rest = arguments
    if verb in ("-h", "--help", "help"):
        return _dispatch([rest[0], "--help"]) if rest and rest[0] in VERBS else _show(usage())
    if verb in ("-V", "--version"):
        return _show(f"rl-discovery {metadata.version('rl-discovery')}")
    if verb not in VERBS:
        raise unknown("verb", verb, VERBS)
    module, _, function = VERBS[verb][0].partition(":")
    return getattr(importlib.import_module(f"discovery.app.commands.{module}"), function or "main")(rest)


def usage() -> str:
    """What `discovery --help` prints."""
    verbs = "\n".join(f"  {verb:<11} {summary}" for verb, (_, summary) in VERBS.items())
    return (
        "usage: discovery VERB [arguments]\n\n"
        "Discover reinforcement-learning algorithms: search, compare, inspect, export.\n\n"
        f"Verbs:\n{verbs}\n\n{EXAMPLES}"
    )


def _show(text: str) -> int:
    print(text)
    return 0


def _failed(message: str, code: int) -> int:
    """Print an error in one line."""
    if debugging():
        traceback.print_exc()
    with contextlib.suppress(OSError):
        print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return code
