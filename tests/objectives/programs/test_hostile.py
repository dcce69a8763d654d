"""Texts that want to do something: each is refused, or is a program that computes numbers; nothing is run.

The attempts are those of `reference/sandboxing.md`, sections 3, 4 and 9. Refusals of ordinary mistakes, and
what they say, are in test_source.py.
"""

import json
import re
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest

from objectives.programs.graph import Program, ProgramError
from objectives.programs.known import SOURCES
from objectives.programs.source import parse
from objectives.programs.text import read

KINDS = {"syntax", "construct", "name", "type", "size", "text"}


def loss(body: str, before: str = "") -> str:
    """A function of x and y with these lines."""
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    return f"{before}def policy_loss(log_ratio, advantage):\n    x, y = log_ratio, advantage\n{lines}"


def split(texts: str) -> list[str]:
    return re.split(" {4}|\n", texts.strip())


EXPRESSIONS = """
().__class__.__base__.__subclasses__()    x.__class__.__mro__[1]    jnp.exp.__globals__
(lambda: 0).__code__    f'{x.__class__}'    '{0.__class__}'.format(x)    '%s' % x    getattr(x, 'shape')
globals()    locals()['x']    eval('x')    exec('x = 1')    compile('x', '', 'eval')
__import__('os').system('true')    __builtins__    open('/proc/self/environ').read()
open('escaped', 'w').write('x')    input()    breakpoint()    exit()    print('x' * 10**9)
[print(i) for i in range(10**9)]    type(x)    super()    help()    memoryview(b'x')    os.environ['HOME']
os.fork()    os.setsid()    os.kill(1, 9)    os.symlink('/', 'x')    sys.exit()
subprocess.Popen(['true'])    socket.socket().connect(('127.0.0.1', 80))    ctypes.CDLL(None)
pickle.loads(b'')    jax._src.config.os.system('true')    jnp.save('x', x)
jnp.load('x', allow_pickle=True)    jnp.fromfile('x')    jax.pure_callback(print, x, x)
jax.experimental.io_callback(print, x, x)    jax.debug.print('x')    jax.profiler.start_trace('x')
jax.config.update('jax_enable_x64', True)    jax.device_put(x)    jax.jit(abs)(x)
jax.ffi.ffi_call('x', x)(x)    jax.distributed.initialize()    jax.random.normal(x)
jnp.vectorize(print)(x)    jnp.piecewise(x, [x > 0], [print])    jnp.apply_along_axis(print, 0, x)
jax.grad(jnp.exp)(x)    jnp    jnp.exp    jax.lax.while_loop(lambda i: True, abs, x)
jax.lax.fori_loop(0, 10**9, lambda i, a: a + x, x)    jax.numpy    jnp.zeros((10**10,))
jnp.ones_like(x, shape=10**10)    jnp.linspace(0, 1, 10**10)    [0] * 10**10    x @ x    'a' * 10**10
range(10**10)    9**9**9 * x    x ** 10**9    2.0**1e9 * x    1 << 10**10    1e400 * x    1j * x
float('nan') * x    jnp.nan * x    jnp.inf * x    0.0 / 0 * x    (x := 1)    (yield x)    await x
{a: a for a in x}    x[0]    x[...]    *x    {}    [x]    (x, y)    x is y    x in y    x and 1    ...
None    b'x'    lambda: x    jnp.exp(*[x])    jnp.exp(**{'x': x})    x.at[0].set(1)    x.T
\N{FULLWIDTH LATIN SMALL LETTER E}val(x)    \0x
"""
STATEMENTS = """
import os    from os import system    import jax as jnp    class A: pass    with x: pass    raise x
assert x    del x    global x    nonlocal x    for i in x: pass    while True: pass    if x > 0: y = x
pass    print(x)    async def f(): pass    x.shape = 1    x[0] = 1    jnp.exp = x    *z, = x, y
type z = x    f = lambda: f(); z = f()    f = lambda g: g(g); z = f(f)    f = lambda *a: a; z = f(x)
f = lambda a=open('x'): a; z = f()
"""
LARGE = {
    "parentheses": "(" * 10_000 + "x" + ")" * 10_000,
    "brackets": "[" * 10_000,
    "signs": "-" * 10_000 + "x",
    "attributes": "x" + ".x" * 1_400,
    "calls": "x" + "()" * 900,
    "indices": "x" + "[0]" * 900,
    "conditions": "1 if " * 900,
    "comparisons": "x" + " < x" * 1_400,
    "lambdas": "lambda: " * 900 + "x",
    "digits": "9" * 10_000,
    "a megabyte": "x #" + "#" * 2**20,
    "nested where": "jnp.where(x > 0, x, " * 300 + "y" + ")" * 300,
    "an unrolled loop": "x\n" + "    x = x * x + x\n" * 300 + "    return x",
    "continued lines": "x" + "\\\n" * 500 + "+ y",
}
TEXTS = {
    "code": compile("x", "", "eval"),
    "bytes": b"def f(): return 1",
    "a coding": "# -*- coding: utf-7 -*-\n+AGkAbQBwAG8AcgB0-",
    "half a character": loss("return \ud800"),
    "a module": "import os\nos.system('true')",
    "a default": "def policy_loss(log_ratio, a=print(1)): return a",
    "a decorator": "@print\n" + loss("return x"),
    "a call": loss("return x") + "policy_loss(1, 2)\n",
    "names of modules": "__builtins__ = 1\n" + loss("return x") + "__all__ = print\n",
    "recursion": loss("f = lambda a: f(a) + f(a)\nreturn f(x)"),
    "indented": "".join(f"{' ' * i}def f():\n" for i in range(150)),
}
ATTEMPTS = {
    **{each[:40]: loss(f"return {each}") for each in split(EXPRESSIONS)},
    **{each: loss(f"z = x\n{each}\nreturn z") for each in split(STATEMENTS)},
    **{name: loss(f"return {each}") for name, each in LARGE.items()},
    **TEXTS,
}
PROGRAMS = {
    "annotations": "def policy_loss(log_ratio: print(1), advantage=0.5) -> exec('x'):\n    return log_ratio",
    "strings": loss("'{0.__class__}'\nz: __import__('os').system('true') = x\nreturn z", "'os.system'\n"),
    "numbers that are not": loss("z = jnp.log(x - x) / (y - y)\nreturn jnp.exp(1e15 * jnp.exp(z * z)) * x"),
    "comments": "# type: ignore\n" + loss("return x  # type: __import__('os')"),
    "names": loss("exec = x\nopen = exec * y\nprint = lambda a: a * open\nreturn print(exec)"),
    "a declaration": loss("z: open('x')\nreturn x"),
}
"""Texts that look dangerous, and compute numbers."""


@pytest.mark.parametrize("text", [*ATTEMPTS.values(), *PROGRAMS.values()], ids=[*ATTEMPTS, *PROGRAMS])
def test_an_attempt_is_refused_soon_or_computes_numbers(text) -> None:
    """Within a second and 32 MB, although every allocation is traced."""
    for reader in (lambda text: parse(text, "policy_loss"), read):
        tracemalloc.start()
        start = time.process_time()
        try:
            reader(text)
            assert text in PROGRAMS.values()
        except ProgramError as error:
            assert error.kind in KINDS and 20 < len(str(error)) < 2000 and text in ATTEMPTS.values()
        spent, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert spent < 1 and peak < 32e6


AUDITED = """
import json, sys
from objectives.programs.checks import check
from objectives.programs.code import Size
from objectives.programs.graph import ProgramError
from objectives.programs.text import read

def tried(text):
    try:
        return len(check(read(text)["policy_loss"], Size(24, 8, 0)).behavior)
    except ProgramError:
        return 0

texts = json.load(sys.stdin)
tried(texts[0]), tried("")  # compiles the probes
events, now = [], []
def note(event, given):
    if now and event != "builtins.id":
        events.append((event, repr(given[0 if event == "open" else -1])[:99]))

sys.addaudithook(note)
found = []
for text in texts:
    now.append(text[:60])
    found.append(tried(text))
now.clear()
json.dump([found, events], sys.stdout)
"""


def test_nothing_is_run_imported_opened_or_connected() -> None:
    """By the account of Python itself (`sys.addaudithook`), while texts are read, checked and computed.

    Each text is parsed once: `ast.parse` is an event "compile" of a source called "/dev/null/program". To run
    what it returns would be another event, "exec". To cite a wrong line, Python's parser tries to open a file
    of that name. Signatures of our own functions are looked at.
    """
    texts = [*PROGRAMS.values(), *(text for text in ATTEMPTS.values() if isinstance(text, str))]
    given = json.dumps(texts).encode()
    done = subprocess.run([sys.executable, "-c", AUDITED], input=given, capture_output=True, check=True)
    found, events = json.loads(done.stdout)
    assert all(found[: len(PROGRAMS)]), "these are finite on all probes"
    assert 100 < sum(event == "compile" for event, _ in events) <= len(texts)
    looks = {("object.__getattr__", f"'__{what}__'") for what in ("code", "defaults", "kwdefaults")}
    assert {*map(tuple, events)} <= {
        ("compile", "'/dev/null/program'"),
        ("open", "'/dev/null/program'"),
        *looks,
    }


TOKENS = re.findall(r"\w+|[^\w ]|\n *", EXPRESSIONS + STATEMENTS + '\t \f é # " \\')
SPLIT = {slot: [re.findall(r"\w+|\s+|.", text) for text in texts.values()] for slot, texts in SOURCES.items()}


def anything(rng: np.random.Generator) -> tuple[str, str]:
    """Tokens at random, or a known program with some tokens changed; and a slot."""
    slot = str(rng.choice([*SPLIT]))
    if rng.random() < 0.3:
        return " ".join(rng.choice(TOKENS, int(rng.integers(60)))), slot
    known = SPLIT[slot]
    tokens = list(known[int(rng.integers(len(known)))])
    for _ in range(int(rng.integers(1, 5))):
        at, other = (int(i) for i in rng.integers(len(tokens) + 1, size=2))
        span = tokens[other : other + int(rng.integers(1, 6))]
        new = [[], span, [str(rng.choice(TOKENS))]][int(rng.integers(3))]
        tokens[at : at + int(rng.integers(3))] = new
    return "".join(tokens).lstrip("\n"), slot


def is_program(text: str, slot: str) -> bool:
    """Whether a text is one; it is refused otherwise, for a reason, within 50 ms."""
    spent, accepted = [], False
    while not spent or (spent[-1] >= 0.05 and len(spent) < 5):  # the machine may have been busy
        start = time.process_time()
        try:
            accepted = isinstance(parse(text, slot), Program)
        except ProgramError as error:
            assert error.kind in KINDS and error.remedy
            assert error.line is None or 1 <= error.line <= text.count("\n") + 1
        spent.append(time.process_time() - start)
    assert spent[-1] < 0.05
    return accepted


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_any_text_is_a_program_or_refused_by_type(count) -> None:
    rng = np.random.default_rng(count)
    accepted = sum(is_program(*anything(rng)) for _ in range(count))
    assert 0.05 < accepted / count < 0.8


def test_files_are_not_cited(tmp_path, monkeypatch) -> None:
    (tmp_path / "<unknown>").write_text("KEY = 1\n" * 3)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProgramError) as caught:
        parse(loss("return x y"), "policy_loss")
    assert "KEY" not in str(caught.value)
