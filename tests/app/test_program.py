"""`discovery program` explains files and known programs; a file can stand where algorithms do."""

import json
from pathlib import Path

import pytest

from tests.app.support import Says

LOSS = """def my_loss(log_ratio, advantage):
    ratio = jnp.exp(log_ratio)
    return -jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(LOSS)
    return tmp_path


def test_a_file_is_explained(says: Says) -> None:
    code, out, err = says("program", "mine.py")
    assert (code, err) == (0, "") and out.startswith("policy_loss: the policy loss")
    for line in (
        "  inputs      log_ratio, advantage; not read: progress",
        "  primitives  6",
        "nearest     dpo 0.14",
    ):
        assert line in out
    assert "drift       holds" in out and "equals      ppo" in out
    facts = json.loads(says("program", "mine.py", "--json")[1])
    assert (facts["program"], facts["slot"], facts["known"], facts["distances"]["ppo"]) == (
        "mine.py", "policy_loss", "ppo", pytest.approx(0, abs=1e-6),
    )  # fmt: skip
    assert says("program", "ppo", "--slot", "policy_loss")[0] == 0


def test_a_refused_program_is_shown_with_the_reason(says: Says, here: Path) -> None:
    (here / "mine.py").write_text("def my_loss(log_ratio, advantage): return jnp.sign(log_ratio)")
    code, out, err = says("program", "mine.py")
    assert (
        code == 2
        and "  passed      types and size, cost\n" in out
        and "  refused     a differentiable" in out
    )
    assert err.startswith("error: mine.py: the program for policy_loss is refused: the result has no")


LINES = {
    "program": "FILE|NAME|RUN",
    "program nothing.py": "nothing.py cannot be read: No such file",
    "program pppo": "did you mean ppo or",
    "program ppo": "choose one of --slot policy_loss, loss",
    "program kto --slot loss": "no known program for loss",
    "program ppo --slot los": "did you mean loss",
    "program mine.py --slot optimizer": "mine.py: line 1: optimizer has no input log_ratio",
    "program loop.py": "loop.py: line 2: a for loop is not allowed here; write the steps",
    "evaluate loop.py ppo --tasks Catch-bsuite": "loop.py: line 2: a for loop is not allowed here",
    "compare flat.py ppo --suite classic": "flat.py: the program for policy_loss is refused: the result",
    "compare nothing.py --suite classic": "there is no file nothing.py; write a program there",
}


@pytest.mark.parametrize("line", LINES)
def test_a_bad_line_is_refused(line: str, says: Says, here: Path) -> None:
    (here / "loop.py").write_text("def mine(log_ratio):\n    for i in (1, 2): pass\n    return log_ratio")
    (here / "flat.py").write_text("def mine(log_ratio, advantage): return advantage")
    before = sorted(here.iterdir())
    code, out, err = says(*line.split())
    assert (code, out) == (2, "") and LINES[line] in err and "Traceback" not in err, err
    assert sorted(here.iterdir()) == before
