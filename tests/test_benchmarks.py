"""The benchmarks are run by hand; that they can be is tested here, with their measurements replaced."""

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import generation, hosts, memory, scaling, stepping
from benchmarks.timing import Figure, ratio


@pytest.fixture
def measured(monkeypatch):
    """Parts that were measured, as (part, rounds)."""
    found = []

    def record(part):
        def measure(rounds):
            found.append((part, rounds))
            return [Figure(f"{part} ratio", 1.25, 1.0, 1.5, "at least 1", part != "hosts")]

        return measure

    for part, module in {
        "generation": generation,
        "hosts": hosts,
        "memory": memory,
        "scaling": scaling,
        "stepping": stepping,
    }.items():
        monkeypatch.setattr(module, "measure", record(part))
    return found


def test_all_parts_are_measured_unless_some_are_named(measured, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks"])
    assert benchmarks.main() == 1  # hosts missed its goal
    assert sorted(measured) == [(part, 5) for part in sorted(benchmarks.PARTS)]
    assert "MISSED" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["benchmarks", "memory", "--rounds", "3", "--json"])
    assert benchmarks.main() == 0
    assert measured[-1] == ("memory", 3) and len(measured) == 6
    monkeypatch.setattr("sys.argv", ["benchmarks", "memry"])
    with pytest.raises(SystemExit):
        benchmarks.main()


def test_a_ratio_is_the_median_of_the_rounds_that_finished():
    found = ratio("a / b", [4.0, 9.0, None, 2.0], [2.0, 3.0, 1.0, 2.0], {}, at_least=2.0)
    assert (found.ratio, found.low, found.high, found.met) == (2.0, 1.0, 3.0, True)
    assert found.notes["gave up"] == "1 of 4 rounds"
    assert ratio("a / b", [3.0], [2.0], {}, at_most=1.4).met is False
    assert ratio("a / b", [None], [2.0], {}, at_least=1.0).met is None
