"""A run that searched several parts exports each as one that had searched it alone."""

import jax
import numpy as np
import pytest

from discovery.core.errors import BadInput, RunError
from discovery.core.jobs import AlgorithmSpec
from discovery.export import Provenance, export, formats_of
from discovery.export.verify import verify
from discovery.export.write import numbers_in_files
from objectives import build

LPO = AlgorithmSpec("lpo", (("width", 4),))
OPEN = AlgorithmSpec("open", (("anchored", True), ("gru_width", 0), ("width", 4)))
BOTH = AlgorithmSpec(
    "lpo+open", (("lpo_width", 4), ("open_anchored", True), ("open_gru_width", 0), ("open_width", 4))
)


def searched(spec):
    entries = build(spec.name, dict(spec.options)).init(jax.random.key(1))
    return jax.tree.map(lambda w: np.asarray(w) + np.float32(0.1), entries)


@pytest.mark.parametrize(("part", "target"), [(LPO, "jax"), (LPO, "rejax"), (OPEN, "optax")])
def test_the_file_of_a_part_is_the_file_of_that_family(part, target):
    entries = searched(LPO) | searched(OPEN)
    numbers = {"learning_rate": 0.003, "clip": 0.1}
    together = export(BOTH, entries, numbers, Provenance(), target)
    assert together == export(part, searched(part), numbers, Provenance(), target)
    assert f"{part.name} (" in together.splitlines()[0]


@pytest.mark.slow
def test_the_file_of_a_part_has_the_numbers_of_the_whole():
    """Of PQN, which has other values of Adam's epsilon and of the largest norm than OPEN alone."""
    spec = AlgorithmSpec("pqn+open", BOTH.options[1:])
    file = export(spec, searched(OPEN), {}, Provenance(), "optax")
    assert "MAX_GRAD_NORM = 10.0" in file
    assert ("optimizer", "max_grad_norm", 10.0) in numbers_in_files(spec)
    verify(file, spec, searched(OPEN), {})
    with pytest.raises(RunError):
        verify(file.replace("MAX_GRAD_NORM = 10.0", "MAX_GRAD_NORM = 0.5"), spec, searched(OPEN), {})


def test_formats_and_numbers_are_those_of_both():
    assert formats_of("lpo+open") == (*formats_of("lpo"), *formats_of("open"))
    assert set(numbers_in_files(BOTH)) == {*numbers_in_files(LPO), *numbers_in_files(OPEN)}
    assert formats_of("ampo+open") == ("jax", "optax")
    with pytest.raises(BadInput, match=r"'ampo\+open'"):
        spec = AlgorithmSpec("ampo+open", (("ampo_map", "l2"), ("open_gru_width", 0), ("open_width", 4)))
        export(spec, searched(OPEN), {}, Provenance(), "rejax")


@pytest.mark.parametrize(
    ("name", "held"),
    [("ppo", {"clip"}), ("lpo", set()), ("dpo", {"dpo_alpha", "dpo_beta"}), ("ampo", {"eta"})],
)
def test_numbers_in_files_are_those_that_a_part_reads(name, held):
    assert {number for _, number, _ in numbers_in_files(AlgorithmSpec(name))} == held
