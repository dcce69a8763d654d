"""`verify` passes what is right and fails loudly on what is not."""

import pytest

from discovery.core.errors import BadInput, RunError
from discovery.core.jobs import AlgorithmSpec
from discovery.export import VerifyReport, verify
from discovery.export.verify import compare, points, probe, reference
from discovery.export.write import resolve

SPEC = AlgorithmSpec("lpo", (("temporal", True), ("width", 8)))
PPO = AlgorithmSpec("ppo")


def test_a_right_file_passes_and_is_reported(exported, searched, tmp_path):
    path = tmp_path / "found.py"
    path.write_text(exported(SPEC), encoding="utf-8")
    report = verify(path, SPEC, searched(SPEC), {})
    assert isinstance(report, VerifyReport)
    assert report.n_points == 10_000
    assert report.float64_value < 1e-9 and report.float64_gradient < 1e-9
    assert 0 < report.float32_value < 1e-3


def test_one_corrupted_weight_fails_loudly(exported, searched):
    source = exported(SPEC)
    weight = str(searched(SPEC)["drift"]["w_out"][3])
    assert source.count(weight) == 1
    corrupted = source.replace(weight, str(round(float(weight) + 1e-3, 6)))
    with pytest.raises(RunError, match=r"value of .lpo.: .* of 10,000 points"):
        verify(corrupted, SPEC, searched(SPEC), {})


WRONG = {
    "another number": ("CLIP = 0.2\n", "CLIP = 0.20000002\n", "value of 'ppo'.*points differ"),
    "a coupled batch": (
        "    return ppo_drift(log_ratio, advantage) - jnp.exp(log_ratio) * advantage\n",
        "    loss = ppo_drift(log_ratio, advantage) - jnp.exp(log_ratio) * advantage\n"
        "    return loss + (log_ratio.mean() - jax.lax.stop_gradient(log_ratio.mean()))\n",
        "gradient of 'ppo'.*points differ",
    ),
    "float32 inside": (
        "    log_ratio = jnp.clip(log_prob - old_log_prob, -LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)",
        '    log_ratio = (1.0001 * (log_prob - old_log_prob)).astype("float32")',
        "points differ",
    ),
    "not a number": (
        "* advantage)\n",
        "* advantage) + 0.0 * jnp.log(jnp.abs(log_ratio))\n",
        "the file gives nan",
    ),
}


@pytest.fixture(scope="module")
def wrong(exported):
    """What we compute, and what each wrong file does."""
    source = exported(PPO)
    assert all(old in source for old, _, _ in WRONG.values())
    at = points(500, 0, 3.0, 0.2)
    sources = [source.replace(old, new, 1) for old, new, _ in WRONG.values()]
    theirs = dict(zip(WRONG, probe(sources, at), strict=True))
    return at, reference(*resolve(PPO, {}, {}), at), theirs


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_computation_is_refused(name, wrong):
    at, ours, theirs = wrong
    with pytest.raises(RunError, match=WRONG[name][2]):
        compare(PPO, theirs[name], ours, at)


def test_another_shape_is_refused(wrong):
    at, ours, _ = wrong
    with pytest.raises(RunError, match="shape"):
        compare(PPO, {**ours, "float64/value": ours["float64/value"].mean()}, ours, at)


def test_a_file_that_is_missing_or_cannot_be_imported_alone_is_refused(exported, tmp_path):
    source = exported(PPO).replace("import jax\n", "import discovery.core.errors\nimport jax\n", 1)
    with pytest.raises(RunError, match=r"alone.*discovery"):
        verify(source, PPO, {}, {}, n_points=500)
    with pytest.raises(BadInput, match=r"gone\.py"):
        verify(tmp_path / "gone.py", PPO, {}, {})
