"""One check of a config's fields, whether it comes from Python, a TOML file or the command line."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import tomli_w

from discovery.app.command_line import main
from discovery.core.config.evolution import ESConfig
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.core.toml import dumps, load, loads
from environments.fields import check_fields

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Inner:
    size: int = 1

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Outer:
    widths: tuple[int, ...] = ()
    share: float = 0.5
    flag: bool = False
    inner: Inner = Inner()
    each: tuple[Inner, ...] = ()
    factors: Mapping[str, float] = field(default_factory=dict)
    mixed: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    maybe: int | None = None
    name: str = ""

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"widths": [64, np.int64(3)]}, (64, 3)),
        ({"widths": np.array([2, 3])}, (2, 3)),
        ({"widths": (2e4,)}, (20_000,)),
        ({"share": 1}, 1.0),
        ({"share": np.float64(0.25)}, 0.25),
        ({"share": jnp.float32(0.25)}, 0.25),
        ({"flag": np.bool_(True)}, True),
        ({"inner": {"size": 3}}, Inner(3)),
        ({"each": [{"size": 3}, Inner(4)]}, (Inner(3), Inner(4))),
        ({"factors": {"a": 1}}, {"a": 1.0}),
        ({"mixed": {"a": np.int32(1), "b": True, "c": "x"}}, {"a": 1, "b": True, "c": "x"}),
        ({"mixed": {"a": 1.0}}, {"a": 1.0}),
        ({"maybe": np.int32(5)}, 5),
        ({"name": np.str_("x")}, "x"),
    ],
)
def test_what_fits_becomes_a_plain_value_of_the_declared_type(given: dict[str, Any], expected: Any) -> None:
    (name,) = given
    assert repr(getattr(Outer(**given), name)) == repr(expected)  # a number of NumPy's says so


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"widths": 64}, "Outer.widths"),
        ({"widths": [1, "2"]}, "Outer.widths[1]"),
        ({"widths": [1.5]}, "Outer.widths[0]"),
        ({"widths": [True]}, "Outer.widths[0]"),
        ({"share": "0.5"}, "Outer.share"),
        ({"share": True}, "Outer.share"),
        ({"flag": "false"}, "Outer.flag"),
        ({"inner": {"siz": 3}}, "did you mean Outer.inner.size"),
        ({"inner": {"size": "3"}}, "Outer.inner.size"),
        ({"inner": 3}, "Outer.inner"),
        ({"each": Inner()}, "Outer.each"),
        ({"factors": {"a": "1"}}, "Outer.factors.a"),
        ({"factors": {1: 1.0}}, "Outer.factors"),
        ({"mixed": {"a": [1]}}, "Outer.mixed.a"),
        ({"maybe": "5"}, "Outer.maybe"),
        ({"maybe": float("inf")}, "Outer.maybe"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(given: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError) as refused:
        Outer(**given)
    assert place in str(refused.value)


FAULTS = {
    "seed": ({"seed": "x3"}, "--seed x3"),
    "strategy": ({"meta": {"strategy": "openes"}}, "--meta.strategy openes"),
    "hidden": ({"tasks": [{"setup": {"hidden": ["wide"]}}]}, "--tasks.0.setup.hidden wide"),
    "generations": ({"generations": 100_000_000}, "--generations 1e8"),
    "workers": ({"workers": 10**9}, "--workers 1e9"),
    "eta": ({"stopping": {"eta": 3}}, "--stopping.eta 3"),
    "curve_points": ({"tasks": [{"setup": {"curve_points": 10**8}}]}, "--tasks.0.setup.curve-points 1e8"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_all_three_ways_in_refuse_the_same(name: str, tmp_path, capfd, monkeypatch) -> None:
    data, flags = FAULTS[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=name):
        SearchConfig(**data)
    with pytest.raises(BadInput, match=name):
        loads(tomli_w.dumps(data), "a file")
    assert main(["search", "lpo-catch", *flags.split()]) == 2
    assert name.replace("_", "-") in capfd.readouterr().err.replace("_", "-")
    assert not list(tmp_path.iterdir())


def test_a_config_of_python_is_the_one_that_is_read_back() -> None:
    setup = {"hidden": [8, np.int64(8)], "vary": {"gravity": [1, np.float32(2)]}}
    task = {"name": "one", "setup": setup, "total_steps": 1e5, "numbers": {"gamma": 1}}
    meta = ESConfig(sigma=1, scales={"drift": np.float64(0.5)})
    config = SearchConfig(seed=np.int64(3), tasks=[task], meta=meta)  # type: ignore[arg-type]
    text = dumps(config)
    assert loads(text, "itself") == config and dumps(loads(text, "itself")) == text


def test_setups_and_tasks_check_themselves_outside_of_tests() -> None:
    """In a process whose imports are not type-checked as they are here."""
    program = """
import numpy as np
from environments import Setup, Task
assert Setup(hidden=[64, np.int64(64)], vary={"gravity": [1, 2]}).hidden == (64, 64)
wrong = [
    (Setup, {"environment": 3}), (Setup, {"actions": "tanh"}), (Setup, {"hidden": "64"}),
    (Setup, {"normalize_observation": "false"}),
    (Task, {"name": 3}), (Task, {"score": "mean"}), (Task, {"setup": "Catch"}),
]
for made, fields in wrong:
    try:
        made(**fields)
    except ValueError:
        continue
    raise SystemExit(str(fields))
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60).returncode == 0


def test_a_file_may_begin_with_a_mark_of_its_encoding(tmp_path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbfgenerations = 3\n")
    assert load(path).generations == 3
