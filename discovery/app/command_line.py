"""The command line: `discovery VERB ...`. Verbs are in `discovery/commands/`, imported when they are used.

Exit codes: 0, 1 for a failed run, 2 for bad input, 130 for Ctrl-C. Errors are one line on standard
error; DISCOVERY_DEBUG=1 or --debug shows the traceback.
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
    "quickstart": ("quickstart", "search, compare with PPO, plot and export: all of it once, in minutes"),
    "search": ("search", "search for a learning algorithm: a preset or a TOML file, and what to override"),
    "resume": ("resume", "go on with a search that was stopped, or extend it"),
    "repeat": ("repeat", "search once more as a run did, and compare all numbers with its"),
    "list": ("listing", "the runs there are, how far they got, and their best scores"),
    "show": ("show", "one run: its config, progress, scores, failures and times"),
    "evaluate": ("evaluate", "train what runs found beside known algorithms, on held-out seeds and tasks"),
    "compare": (
        "compare",
        "algorithms, runs and exported files on a suite, and which differences are significant",
    ),
    "plot": ("plot", "draw a run: meta-learning curve, the drift, learning curves"),
    "report": ("report", "one page on a run: what was searched, what was found, how far to trust it"),
    "export": ("export", "take what was found away as one standalone file"),
    "presets": ("catalog:presets", "searches that are ready to run"),
    "suites": ("suites", "sets of tasks with what random actions and tuned PPO reach on them"),
    "objectives": ("catalog:objectives", "what can be searched, and known algorithms, with their options"),
    "envs": ("catalog:envs", "environments to train on"),
    "doctor": ("doctor", "versions, devices, cores, and what is wrong with this installation"),
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

Runs are folders below runs/. Ctrl-C stops a search at any time; `discovery resume` goes on from there.
`discovery VERB --help` says more; --debug shows the traceback of an error."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without our signs shows "?"
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
    except BrokenPipeError:  # `discovery list | head -1`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor does Python's own last flush
        return code
    except DiscoveryError as error:
        return _failed(str(error), error.exit_code)
    except Exception as error:
        return _failed(str(unexpected(error)), FAILED)


def _open_closed_streams() -> None:
    """Put /dev/null where standard output or error is closed (`>&-`), which a ledger could get otherwise."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _check_encoding(arguments: Sequence[str]) -> None:
    """Refuse names of files that are not UTF-8: records and reports are."""
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
        "Discover reinforcement-learning algorithms: search, judge, inspect, take away.\n\n"
        f"Verbs:\n{verbs}\n\n{EXAMPLES}"
    )


def _show(text: str) -> int:
    print(text)
    return 0


def _failed(message: str, code: int) -> int:
    """Say in one line what went wrong."""
    if debugging():
        traceback.print_exc()
    with contextlib.suppress(OSError):
        print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return code
