"""How functions are written into a file: what is known is in its place, and what it means stays the same."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec
from discovery.export import Provenance, VerifyReport, export, verify
from discovery.export.known import Symbol, constants
from discovery.export.source import imports
from discovery.export.specialize import StandaloneSource
from objectives.base import PolicyLoss
from objectives.parts import actor_critic

OFFSET = 0.5


class Pair(NamedTuple):
    first: Any
    second: Any


def scaled(x, factor, shift=OFFSET):
    return Pair(x * factor, shift)


def layers(weights, x):
    for w, b in weights:
        x = jnp.tanh(x @ w + b)
    return x


def run(source: StandaloneSource) -> dict[str, Any]:
    """The names of a file with what was written."""
    numbers = "".join(f"{name} = {text}\n" for name, text in source.numbers.items())
    body = f"{numbers}\n{source.definitions}\n{source.weights}"
    space: dict[str, Any] = {"__name__": "written"}
    exec(compile(f"{imports(body)}\n{body}", "written.py", "exec"), space)
    return space


def written(function: Any, **known: Any) -> tuple[str, Any]:
    """Source of a function, and the function that it makes."""
    source = StandaloneSource()
    name = source.function(function, known, as_value=True).name
    return source.definitions, run(source)[name]


def test_known_values_take_their_place():
    def chosen(meta_params: Any, x: Any, flag: bool, mode: str | None = None) -> Any:
        rate = meta_params["rate"]
        if flag and mode is None:
            pair = scaled(x, rate)
        else:
            other = -1.0 * rate
            pair = scaled(x, other)
        return pair.first + (pair.second if not flag else 0.0)

    known = constants({"rate": 2.0})
    text, function = written(chosen, meta_params=known, flag=True, mode=None)
    assert float(function(3.0)) == chosen({"rate": 2.0}, 3.0, True) == 6.0
    assert "if " not in text and "-1.0" not in text and "mode" not in text
    text, function = written(chosen, meta_params=known, flag=False, mode="x")
    assert float(function(3.0)) == chosen({"rate": 2.0}, 3.0, False, "x") == -5.5


def test_names_of_variables_functions_and_python_stay_apart():
    def _total(x):
        return x.sum()

    def of_rows(x):
        total = _total(x)
        return x / total

    def _of_rows(total):
        return of_rows(total) + _total(total)

    _, function = written(_of_rows)
    np.testing.assert_allclose(function(np.array([1.0, 3.0])), [4.25, 4.75])

    def _sum(x):
        return 10 * x

    def outer(x):
        return _sum(x) + sum([1, 2])

    assert written(outer)[1](1) == 13

    def shifted(xs):
        out, i = [], 0
        while i < len(xs):
            if i > 0:
                out.append(xs[i] - OFFSET)  # noqa: F823
            OFFSET = xs[i]  # noqa: F841
            i += 1
        return out + [OFFSET for OFFSET in xs]

    assert written(shifted)[1]([1, 3, 7]) == shifted([1, 3, 7]) == [2, 4, 1, 3, 7]

    def around(x, n):
        def inner(n):
            return n + 1

        return [inner(n) for n in range(2)] + [inner(x), n]

    assert written(around, n=constants({"n": 7})["n"])[1](4) == [1, 2, 5, 7]


def test_several_entries_with_leaves_of_one_name():
    known = constants({"one": {"w": np.array([1], np.float32)}, "two": {"w": np.array([2], np.float32)}})

    def both(meta_params):
        return meta_params["one"]["w"] + 10 * meta_params["two"]["w"], meta_params["two"]

    source = StandaloneSource()
    source.function(both, {"meta_params": known})
    value, two = run(source)["both"]()
    assert value == 21 and two["w"] == 2


def test_whether_a_symbol_is_zero_is_not_known():
    def gated(x, progress):
        return x if progress.fraction else 0.0

    _, function = written(gated, progress=SimpleNamespace(fraction=Symbol("fraction")))
    assert (function(3.0, fraction=0.0), function(3.0, fraction=0.5)) == (0.0, 3.0)


def test_one_function_for_different_constants_is_written_twice():
    def both(meta_params, x):
        return scaled(x, meta_params["a"]).first + scaled(x, meta_params["b"]).first

    text, function = written(both, meta_params=constants({"a": 2.0, "b": 3.0}))
    assert text.count("def scaled") == 2 and function(1.0) == 5.0


def own(normalize_advantage: bool = False) -> Any:
    """An algorithm of a user's own, whose weights are pairs in a list."""

    def init(key):
        first, second = jax.random.normal(key, (2, 4)), jax.random.normal(key, (4, 1))
        return {"net": [(first, jnp.zeros(4)), (second, jnp.ones(1))]}

    def per_sample(meta_params, log_prob, old_log_prob, advantage, progress):
        x = jnp.stack([log_prob - old_log_prob, advantage * progress.fraction], -1)
        return layers(meta_params["net"], x)[..., 0] - log_prob * advantage

    return actor_critic("own", PolicyLoss(per_sample, normalize_advantage), init)


def wrapped() -> Any:
    """One whose loss is not made by `def`."""
    loss = PolicyLoss(lambda meta_params, new, old, advantage, progress: -new * advantage)
    return actor_critic("wrapped", loss)


def foreign() -> Any:
    """One whose loss uses what no file can import."""

    def per_sample(meta_params, log_prob, old_log_prob, advantage, progress):
        return SimpleNamespace(x=-log_prob * advantage).x

    return actor_critic("foreign", PolicyLoss(per_sample))


def test_an_algorithm_of_ones_own_is_exported_and_proved():
    spec = AlgorithmSpec(f"{__name__}:own")
    entries = jax.tree.map(np.asarray, own().init(jax.random.key(0)))
    source = export(spec, entries, {}, Provenance(), "jax")
    assert "NEEDS_PROGRESS = True" in source and "def layers(x):" in source
    assert isinstance(verify(source, spec, entries, {}, n_points=200), VerifyReport)


@pytest.mark.parametrize(("name", "message"), [("wrapped", "<lambda>"), ("foreign", "SimpleNamespace")])
def test_what_no_file_can_hold_is_refused(name, message):
    with pytest.raises(BadInput, match=message):
        export(AlgorithmSpec(f"{__name__}:{name}"), {}, {}, Provenance(), "jax")
