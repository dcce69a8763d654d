"""What a search starts from: numbers taken over, known algorithms imitated, and what is refused."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from discovery.app.api import discover
from discovery.app.command_line import main
from discovery.app.loaded import load_run
from discovery.core.config.search import Starting
from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec
from discovery.display.report.formula import drift_options, formula_of
from discovery.display.report.searched import searched
from discovery.executors.inline import Inline
from discovery.inner.loops.on_policy import complete
from discovery.meta.base import Proposal
from discovery.results.distillation.imitation import imitate
from discovery.results.distillation.lessons import lesson_of, loss_answers, loss_inputs, small_agent
from discovery.results.distillation.start import start_of
from discovery.store.run import Run
from discovery.store.start import origins_of
from environments.task import Setup, Task
from objectives import build
from objectives.base import Algorithm
from objectives.learned_optimizers.lesson import optimizer_answers
from objectives.mirror_map.lesson import policy_answers

BY_ENTRY: dict[str, Any] = {
    entry: lesson_of(AlgorithmSpec(name))
    for entry, name in {"drift": "lpo", "potential": "ampo", "optimizer": "open"}.items()
}


def full(algorithm: Algorithm, **numbers: float) -> dict:
    return complete(algorithm, numbers, jax.jit(algorithm.init)(jax.random.key(0)))


# Lessons, against formulas


def test_drift_and_slope_of_ppo_by_its_formula():
    ppo, key = build("ppo"), jax.random.key(1)
    drift, slope = np.asarray(jax.jit(loss_answers, static_argnums=0)(ppo, full(ppo), key), np.float64)
    log_ratio, advantage, fraction = (np.asarray(x, np.float64) for x in loss_inputs(key))
    ratio = np.exp(log_ratio)
    expected = np.maximum((ratio - np.clip(ratio, 0.8, 1.2)) * advantage, 0.0)
    np.testing.assert_allclose(drift, expected, atol=2e-5)
    inside = expected == 0.0
    np.testing.assert_allclose(slope, np.where(inside, -ratio * advantage, 0.0), atol=2e-5)
    assert 0.1 < inside.mean() < 0.9 and fraction.min() >= 0 and fraction.max() <= 1
    assert np.abs(log_ratio).max() <= 1.5 and 0.3 < (np.abs(log_ratio) < 0.2).mean() < 0.8


def test_policies_of_the_softmax_and_of_negative_entropy_are_the_same():
    ppo, ampo = build("ppo"), build("ampo", {"map": "negative_entropy"})
    answers = jax.jit(policy_answers, static_argnums=0)
    softmax = answers(ppo, full(ppo), jax.random.key(2))
    np.testing.assert_allclose(answers(ampo, full(ampo), jax.random.key(2)), softmax, atol=1e-5)
    np.testing.assert_allclose(softmax.sum(-1), 1.0, rtol=1e-5)
    assert softmax.min() < 1e-3 and softmax.max() > 0.99


def test_steps_are_those_of_the_optimizer_on_the_same_gradients():
    """Gradients are read off plain descent; Adam on them is optax's."""
    answers = jax.jit(partial(optimizer_answers, agent=small_agent()), static_argnums=0)
    plain = {"anneal": 0.0, "max_grad_norm": 1e9}
    sgd, adam = build("ppo", {"optimizer": "sgd"}), build("ppo")
    rates = {"learning_rate": 1.0, "critic_rate": 1.0, "bias_rate": 1.0}
    gradient = -answers(sgd, full(sgd, **plain, **rates), jax.random.key(3))[0]
    found = answers(adam, full(adam, **plain, learning_rate=0.01, adam_eps=1e-8), jax.random.key(3))[0]
    optimizer = optax.adam(0.01, eps=1e-8)
    update = jax.jit(optimizer.update)
    for sequence, steps in zip(gradient, found, strict=True):
        state = optimizer.init(sequence[0])
        for given, step in zip(sequence, steps, strict=True):
            expected, state = update(given, state)
            np.testing.assert_allclose(step, jnp.asarray(expected), rtol=1e-3, atol=1e-6)  # type: ignore[arg-type]
    sizes = np.sqrt(np.square(gradient).mean((1, 2)))
    assert sizes.max() > 1.5 * sizes.min(), "trainings differ in the size of their gradients"
    persisting = np.abs(gradient.mean(1)).mean() / np.abs(gradient).mean()
    assert 0.3 < persisting < 0.95, "gradients are neither noise alone nor always the same"


# Imitation


@pytest.mark.slow
def test_a_random_drift_learns_from_ppo_and_says_how_well():
    lpo, ppo = build("lpo", {"width": 8}), build("ppo")
    pair = (lpo, full(lpo)), (ppo, full(ppo))
    learned = imitate(BY_ENTRY["drift"], "drift", *pair, jax.random.key(0), steps=200)
    assert learned.before > 0.5 and learned.error < 0.4 * learned.before
    # The error is what it says, on other inputs too.
    key = jax.random.key(99)
    right = np.asarray(loss_answers(ppo, pair[1][1], key), np.float64)
    given = np.asarray(loss_answers(lpo, {**pair[0][1], "drift": learned.numbers}, key), np.float64)
    error = np.sqrt((np.square(given - right).mean(1) / np.square(right).mean(1)).mean())
    assert error == pytest.approx(learned.error, rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry", "name", "teacher", "smaller", "steps"),
    [
        ("potential", "ampo", {"units": 126, "anchored": False}, {"units": 12}, 300),
        ("drift", "lpo", {"width": 32}, {"width": 16}, 1500),
        ("optimizer", "open", {"gru_width": 0, "start": "random"}, {"width": 8}, 500),
        ("optimizer", "open", {"gru_width": 8, "start": "random"}, {"gru_width": 4, "width": 8}, 500),
    ],
)
def test_a_finished_black_box_is_distilled_into_its_own_size_and_a_smaller_one(
    entry, name, teacher, smaller, steps
):
    """A random teacher that is not idle, random students: a fifth of the error is left at most.

    Measured: 0.4% to 8% of it. Drifts of 8 units stop at 60% with some seeds: none of their zeros is learned.
    """
    trained = not_idle(build(name, teacher), seed=1)
    for options in ({}, smaller):
        student = build(name, {**teacher, **options})
        pair = (student, complete(student, {}, student.init(jax.random.key(2)))), trained
        learned = imitate(BY_ENTRY[entry], entry, *pair, jax.random.key(0), steps)
        assert learned.before > 0.05 and learned.error < 0.2 * learned.before, learned


def not_idle(algorithm: Algorithm, seed: int) -> tuple[Algorithm, dict]:
    """With standard normal numbers where it would begin with zeros, as in the output layer of OPEN."""
    leaves, treedef = jax.tree.flatten(algorithm.init(jax.random.key(seed)))
    keys = jax.random.split(jax.random.key(seed + 100), len(leaves))
    drawn = [x if np.any(x) else jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return algorithm, complete(algorithm, {}, jax.tree.unflatten(treedef, drawn))


# Starts of searches


@pytest.fixture(scope="module")
def config(finished_run):
    with Run.open(finished_run.folder) as run:
        return replace(run.config, generations=0, selection_doublings=0)


def test_distill_imitates_its_own_size_too(finished_run, config):
    start = start_of(replace(config, start=Starting((str(finished_run.folder),), distill=True, steps=0)))
    assert start is not None and start.origins[0].what and start.origins[0].error > 0


def test_the_search_begins_there_and_its_record_says_so(finished_run, config, tmp_path, capsys):
    wanted = Starting((f"{finished_run.folder}@3",))
    run = discover(replace(config, start=wanted), tmp_path, "begun", Inline(4))
    source = load_run(finished_run.folder)
    for name, numbers in source.meta_params(3)["drift"].items():
        np.testing.assert_array_equal(run.meta_params("initial")["drift"][name], numbers)
    # The mean of the source after its last generation was trained on the same selection seeds.
    assert run.choice.generation == 0
    for task, scores in run.selection[0].items():
        np.testing.assert_array_equal(scores, source.selection[3][task][: len(scores)])
    (origin,) = origins_of(run.meta)
    assert origin.text == f"drift taken over from {source.name}@3" and origin.error == 0
    assert main(["show", str(run.folder)]) == 0
    assert origin.text in capsys.readouterr().out
    assert searched(run).start == (origin.text,)


def test_it_goes_on_from_what_was_kept_though_its_source_is_gone(finished_run, config, tmp_path):
    start = start_of(replace(config, start=Starting((f"{finished_run.folder}@1",))))
    assert start is not None
    with Run.create(config, tmp_path, name="kept", start=start) as run:
        folder = run.folder
    with Run.open(folder) as run:
        np.testing.assert_array_equal(run.ledger.load_start()["drift"]["w_in"], start.mean["drift"]["w_in"])
    with Run.create(config, tmp_path, name="plain") as run:
        assert run.ledger.load_start() is None


@pytest.mark.slow
def test_a_run_of_no_generations_is_distilled_shown_judged_drawn_and_exported(finished_run, tmp_path, capsys):
    """From the command line: a drift of two units is fitted to one of four that a run has found."""
    teacher = tmp_path / "teacher"
    shutil.copytree(finished_run.folder, teacher)
    options = ["anchored=true", "temporal=true", "width=2"]
    at, small = ["--output", str(tmp_path)], tmp_path / "small"
    search = ["search", str(teacher / "config.toml"), "--start.sources", str(teacher), "--start.steps", "300"]
    search += ["--algorithm-options", *options, "--generations", "0", "--executor", "inline"]
    assert main([*search, "--name", "small", "--quiet", *at]) == 0
    run = load_run(small)
    assert run.choice.generation == 0 and run.meta_params()["drift"]["w_out"].shape == (2,)
    (origin,) = origins_of(run.meta)
    assert 0 < origin.error < 0.5 * origin.before and origin.steps == 300, origin

    evaluate = ["evaluate", str(small), str(teacher), "--tasks", "cart", "--seeds", "4", "--quiet"]
    assert main([*evaluate, "--executor", "inline", "--agents-per-call", "4", *at]) == 0
    capsys.readouterr()
    assert main(["plot", "small", *at]) == 0
    drawn = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert {"objective.png", "comparison.png"} < {path.name for path in drawn}
    assert all(path.stat().st_size > 0 for path in drawn)
    assert main(["show", "small", *at]) == 0
    assert f"drift distilled from {load_run(teacher).name}@" in capsys.readouterr().out
    assert main(["report", "small", *at]) == main(["export", "small", "--verify", *at]) == 0


@pytest.mark.slow
def test_a_known_algorithm_begins_both_parts(config):
    options = {"lpo_width": 2, "open_gru_width": 0, "open_width": 2, "open_anchored": True}
    both = replace(config, algorithm="lpo+open", algorithm_options=options, start=Starting(("ppo",), steps=2))
    start = start_of(both)
    assert start is not None and [origin.entry for origin in start.origins] == ["drift", "optimizer"]
    assert start.origins[1].error < 1e-6, "zero weights on top of Adam are Adam"


def begun_from(source, config, folder, name):
    """A run that starts there, without a generation: its own tasks are seen all the same."""
    config = replace(config, start=Starting((source,)))
    with Run.create(config, folder, name=name, start=start_of(config)) as run:
        run.ledger.close_generation(-1, {"x": np.zeros(1)}, {}, answer=Proposal(run.start()))
        return f"{run.folder}@initial"


def elsewhere(config, name, environment="Catch-bsuite"):
    (task,) = config.tasks
    return replace(task, name=name, setup=replace(task.setup, environment=environment))


def test_what_a_source_was_searched_on_cannot_be_held_out(finished_run, config, tmp_path):
    """By its name, or by its environment; nor what the source itself began with, though that is gone."""
    source, catch = finished_run.folder, elsewhere(config, "catch")
    named = replace(config, tasks=(catch,), held_out=(elsewhere(config, "cart", "Acrobot-v1"),))
    placed = replace(config, tasks=(catch,), held_out=(elsewhere(config, "other", "CartPole-v1"),))
    for wanted, words in ((named, "'cart'"), (placed, "'cart', in the environment of 'other'")):
        with pytest.raises(BadInput, match=f"{source}@2 comes from run tiny.*{words}"):
            start_of(replace(wanted, start=Starting((f"{source}@2",))))

    moved = shutil.copytree(source, tmp_path / "tiny")
    second = begun_from(f"{moved}@1", replace(config, tasks=(catch,), held_out=()), tmp_path, "second")
    shutil.rmtree(moved)
    third = begun_from(second, replace(config, tasks=(catch,), held_out=()), tmp_path, "third")
    for source in (second, third):
        with pytest.raises(BadInput, match=f"{source} comes from run tiny.*'cart'"):
            start_of(replace(named, start=Starting((source,))))
    unseen = replace(named, held_out=(elsewhere(config, "new", "Acrobot-v1"),), start=Starting((third,)))
    assert start_of(unseen) is not None


def test_an_environment_is_another_one_with_other_options(finished_run, config, tmp_path):
    """Defaults may be written out. An environment that the search sees itself is nothing to leak."""
    chain = Setup("memory/chain", n_envs=2, n_steps=8, n_minibatches=2)
    plain, written, longer = (
        Task(name, replace(chain, options=options), 480)
        for name, options in (("a", {}), ("b", {"length": 10}), ("c", {"length": 20}))
    )
    source = begun_from(
        f"{finished_run.folder}@1", replace(config, tasks=(plain,), held_out=()), tmp_path, "chains"
    )
    wanted = replace(config, tasks=(elsewhere(config, "catch"),), start=Starting((source,)))
    with pytest.raises(BadInput, match="'a', in the environment of 'b'"):
        start_of(replace(wanted, held_out=(written,)))
    assert start_of(replace(wanted, held_out=(longer,))) is not None
    assert start_of(replace(wanted, tasks=(replace(plain, name="own"),), held_out=(written,))) is not None


def test_sources_that_do_not_fit(finished_run, config):
    run, width = str(finished_run.folder), {"width": 2}
    for sources, algorithm, options, word in (
        (("ppo",), "lpg", width, "lpg"),
        (("ppo", "dpo"), "lpo", width, "'dpo' and 'ppo'"),
        (("lpo",), "lpo", width, "'lpo'"),
        ((run,), "ampo", {}, "ampo"),
    ):
        start = Starting(sources, steps=0)
        with pytest.raises(BadInput, match=word):
            start_of(replace(config, algorithm=algorithm, algorithm_options=options, start=start))


def test_the_command_line_refuses_sources_before_anything_is_written(finished_run, tmp_path, capfd):
    """The first preset trains on Catch and holds CartPole-v1 out, on which the source was searched."""
    seen = ["open-catch", "--algorithm", "lpo", "--algorithm-options", "width=4"]
    seen += ["--start.sources", f"{finished_run.folder}@2"]
    for words, message in (
        (seen, "'cart'"),
        ([*seen, "--dry-run"], "'cart'"),
        (["lpo-catch", "--start.sources", "nope"], "'nope'"),
        (["lpo-catch", "--start.sources", "ppo", "--start.steps", "-1"], "start.steps"),
    ):
        assert main(["search", *words, "--output", str(tmp_path / "runs")]) == 2
        assert message in capfd.readouterr().err
    assert not (tmp_path / "runs").exists()
    with pytest.raises(BadInput, match=r"start.sources"):
        Starting(distill=True)


def test_a_beginning_is_no_zero_for_antithetic_search(config):
    """Negative entropy in a learned map is where it would begin by itself: nothing is changed."""
    chosen = replace(config, algorithm="ampo", algorithm_options={"units": 6}, start=Starting(("ppo",)))
    start = start_of(chosen)
    assert start is not None and start.origins[0].steps == 0
    assert start.origins[0].error == start.origins[0].before < 1e-5
    assert float(jnp.abs(jnp.asarray(start.mean["potential"]["w_in"])).max()) > 0


def test_a_report_has_the_formula_of_a_drift_beside_an_optimizer():
    """And none of a loss that was not searched."""
    spec = AlgorithmSpec("lpo", (("width", 4),))
    drift = build("lpo", {"width": 4}).init(jax.random.key(0))
    both = AlgorithmSpec("lpo+open", (("lpo_width", 4), ("open_gru_width", 0)))
    entries = {**drift, "optimizer": {"w": np.ones(3)}}
    assert formula_of(both, entries) == formula_of(spec, drift) is not None
    assert formula_of(AlgorithmSpec("dpo+open"), {"optimizer": {"w": np.ones(3)}}) is None
    assert drift_options(both) == drift_options(spec)
