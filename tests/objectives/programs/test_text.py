"""Texts of programs: each function finds its slot, and what is written is read again."""

import re
from pathlib import Path

import numpy as np
import pytest

from objectives.programs.functions import CALLABLE
from objectives.programs.graph import ProgramError, canonical
from objectives.programs.known import SOURCES, known
from objectives.programs.slots import SLOTS
from objectives.programs.text import read, write
from tests.objectives.programs.random_programs import random_program


def test_what_is_written_is_read() -> None:
    programs = {slot: known(slot, next(iter(SOURCES[slot]))) for slot in [*SLOTS][::-1]}
    text = write(programs)
    assert text.count("\n\n\ndef ") == len(SLOTS) - 1
    found = read(text)
    assert list(found.items()) == [(slot, canonical(program)) for slot, program in programs.items()]


def test_random_programs_are_read() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        programs = {slot: random_program(rng, slot, 12, reductions=2) for slot in ("loss", "optimizer")}
        assert read(write(programs)) == programs


@pytest.mark.parametrize(
    ("function", "slot"),
    [
        ("def policy_loss(log_ratio): return log_ratio", "policy_loss"),
        ("def mine(log_ratio, advantage, clip=0.2): return clip * log_ratio", "policy_loss"),
        ("def mine(log_ratio, advantage, value): return value", "loss"),
        ("def mine(gradient, learning_rate): return learning_rate * gradient", "optimizer"),
        ("def trace(done): return done, done", "trace"),
        ("def mine(x): return x", "potential"),
    ],
)
def test_a_function_finds_its_slot(function: str, slot: str) -> None:
    """By its name, or by its parameters."""
    assert [*read(function)] == [slot]


def test_constants_are_for_all_functions() -> None:
    one, two = "def policy_loss(log_ratio):\n    return RATE * log_ratio", "def schedule():\n    return RATE"
    found = read(f"import jax\nRATE = 0.5\n{one}\n\n{two}\n")
    assert [program.constants for program in found.values()] == [(0.5,), (0.5,)]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("", "construct", "the text has no function; write def policy_loss(log_ratio, advantage"),
        ("x = 1", "construct", "no function"),
        ("import os\nos.remove('x')", "construct", "line 1: this import is not allowed here; remove it"),
        ("jnp.save('x', 1)", "construct", "line 1: a line that gives its value no name is not allowed"),
        ("class Loss:\n    pass", "construct", "line 1: a class is not allowed here; write a function"),
        (
            "def mine(progress): return progress",
            "name",
            "slots trace, advantage, optimizer, schedule; give it",
        ),
        ("def mine(log_ratoi): return 1", "name", "no slot has all the inputs log_ratoi; write def"),
        ("def mine(gradent, parameter): return 1", "name", "write def optimizer(gradient, parameter,"),
        ("def policy_loss(log_ratoi): return 1", "name", "nearest: log_ratio"),
        ("def loss(log_ratio): return log_ratio", "path", "has to read value, and this function does not"),
        ("def loss(log_ratio): return log_ratio", "path", "or name the function policy_loss"),
        ("def help(x): return x\ndef schedule(): return 1", "name", "line 1: of several functions"),
        ("def help(x): return x\ndef schedule(): return 1", "name", "put helper functions inside"),
        ("def schedule(): return 1\ndef schedule(): return 2", "name", "line 2: a second function schedule"),
        ("def schedule(): return 1\nfor i in x: pass", "construct", "line 2: a for loop"),
        ("def policy_loss(log_ratio):\n    return x\ndef trace(done): return done", "name", "line 2: x has"),
        (b"def schedule(): return 1", "text", "got bytes"),
        ("# " + "x" * 70_000, "size", "64 KiB"),
    ],
    ids=repr,
)
def test_refusals_say_what_to_write(text: object, kind: str, words: str) -> None:
    with pytest.raises(ProgramError) as caught:
        read(text)
    assert caught.value.kind == kind and words in str(caught.value) and caught.value.remedy, caught.value


def test_slots_that_are_not_wanted() -> None:
    assert [*read("def anything(log_ratio): return log_ratio", ["policy_loss"])] == ["policy_loss"]
    two = "def schedule(): return 1\ndef advantage(gae): return gae"
    with pytest.raises(
        ProgramError, match=r"line 2: .* advantage is none of these slots; .* slots: schedule"
    ):
        read(two, ["schedule"])
    with pytest.raises(ValueError, match="no slot 'policy_los'"):
        read(two, ["policy_los"])


def test_a_program_of_another_slot_is_not_written() -> None:
    with pytest.raises(ValueError, match="the program of loss is one for policy_loss"):
        write({"loss": known("policy_loss", "ppo")})


def test_the_page_on_programs_names_all_there_is() -> None:
    """Slots, inputs, results, conditions, known programs and functions."""
    docs = Path(__file__).parents[3] / "docs"
    page = (docs / "families" / "programs.md").read_text()
    assert (docs / "examples" / "my_loss.py").read_text().partition("\n\n")[2] in page
    words = {word for code in re.findall(r"`([^`\n]+)`", page) for word in re.findall(r"\w+", code)}
    wanted = {name.rpartition(".")[2] for name in CALLABLE}
    for slot in SLOTS.values():
        wanted |= {slot.name, *slot.names, *slot.outputs, *slot.conditions, *slot.offers, *SOURCES[slot.name]}
    assert wanted - words == set()
