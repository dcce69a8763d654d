# pyright: reportArgumentType=false, reportIndexIssue=false
# An id may be anything that has a text; here it is the text itself.
"""The ledger: bit for bit, all or nothing, one writer, and one clear message when the disk says no.

Run as a script, it is the process that the tests kill, lock out or take rights from.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.core.errors import LedgerError
from discovery.core.jobs import JobResult, Outcome
from discovery.meta.base import Proposal, ScoreRequest
from discovery.store import arrays, database
from discovery.store.arrays import digest_of, numbers_of, pack, read_tree, unpack, write_tree
from discovery.store.differences import OBSERVATIONAL, same_numbers
from discovery.store.ledger import Evaluation, Ledger, Report
from tests.ids import score_request

ROOT = Path(__file__).parents[2]
KEY = np.array([1, 2**32 - 1], np.uint32)
ODD = np.array([0x7FC12345, 0xFFC00001, 0x7FA00001, 0x7F800000, 0x80000000, 1], np.uint32).view(np.float32)


def outcome(score: float) -> Outcome:
    """An outcome whose curves hold NaN payloads, infinities and a negative zero."""
    curve = np.append(ODD, np.float32(score))
    names = ("episodes", "length", "kl", "clip_fraction", "entropy", "grad_norm")
    rolled = {name: np.roll(curve, shift) for shift, name in enumerate(names)}
    curves = {"episodes": rolled.pop("episodes"), "length": rolled.pop("length"), "metrics": rolled}
    numbers = {"score": np.float32(score), "final": np.float32(score / 3), "auc": np.float64(score / 7)}
    return Outcome(**numbers, **curves, curve=curve, nonfinite_step=np.int32(-1))


def result(name: str, score: float = 1.0) -> JobResult:
    return JobResult(name, outcome(score), seconds=0.5, worker="w0", extra={"device": "cpu"})


def evaluation(name: str, proposal: str = "g0/p0", generation: int = 0, seed: int = 0) -> Evaluation:
    return Evaluation(name, proposal, generation, "search", "CartPole-v1", seed, 10, 10, 0, KEY)


def request(generation: int, index: int, value: float = 0.0) -> ScoreRequest:
    drift = {"drift": {"w": np.full(3, value + index, np.float32)}}
    return replace(score_request(generation, index, drift), split="search")


def its_outcome(run: Ledger, name: str) -> Outcome:
    found = run.finished([name])[name].outcome
    assert found is not None
    return found


def last(run: Ledger) -> int:
    generation = run.last_generation()
    assert generation is not None
    return generation


def search(folder: Path, generations: int = 2, offset: float = 0.0) -> None:
    """A toy search: begins or resumes a run, and finishes it."""
    template = {"mean": np.zeros(3, np.float32), "generation": 0}
    exists = (folder / database.FILE).exists()
    with Ledger.open(folder, write=True) if exists else Ledger.create(folder, {"run": "toy"}) as run:
        if run.last_generation() is None:
            run.close_generation(-1, template, {})
        for generation in range(last(run) + 1, generations):
            state = run.load_state(generation - 1, template)
            requests = [request(generation, i, float(state["mean"].sum())) for i in (0, -1)]
            run.propose(requests)
            names = {f"{r.id}/s{seed}": (r, seed) for r in requests for seed in (0, 1)}
            done = run.finished(names)
            for name, (asked, seed) in names.items():
                if name not in done:
                    score = float(asked.proposal.meta_params["drift"]["w"].sum()) + seed + offset
                    run.record(evaluation(name, str(asked.id), generation, seed), result(name, score))
            scores = {name: its_outcome(run, name).score for name in names}
            fitness = {r.id: float(np.mean([scores[f"{r.id}/s{seed}"] for seed in (0, 1)])) for r in requests}
            mean = state["mean"] + np.float32(sum(fitness.values()) / 3)
            state = {"mean": mean, "generation": state["generation"] + 1}
            run.close_generation(
                generation, state, {"sigma": 0.1 * generation}, fitness, Proposal({"drift": {"w": mean}})
            )


def differences(one: Path, other: Path) -> list[str]:
    with Ledger.open(one) as ours, Ledger.open(other) as theirs:
        return same_numbers(ours, theirs)


@pytest.fixture
def run(tmp_path: Path):
    """A run whose generation 0 is open, with two proposals."""
    with Ledger.create(tmp_path / "run", {"run": "one"}) as opened:
        opened.close_generation(-1, {"mean": np.zeros(2)}, {})
        opened.propose([request(0, 0), request(0, 1)])
        yield opened


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    search(tmp_path / "finished")
    return tmp_path / "finished"


def helper(*args: str | Path, **kwargs) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "ignore", __file__, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment, **kwargs)


def states() -> dict:
    import optax  # not above: the processes that this file starts do without

    params = {"w": jnp.asarray(ODD), "b": jnp.zeros((2, 0), jnp.bfloat16)}
    optimizer = optax.chain(optax.adam(1e-3), optax.add_noise(0.1, 0.5, key=3))
    split = jax.random.split(jax.random.key(2, impl="rbg"), (2, 2))
    double = np.append(np.float64(0.1), ODD.view(np.float64))
    return {
        "optax": optimizer.init(params),
        "jax": [jnp.arange(3, dtype=jnp.int8), jnp.asarray(True), jnp.asarray(ODD)],
        "weak": (jnp.asarray(0.1), jnp.broadcast_to(jnp.asarray(7), (2, 3))),
        "numpy": [double, np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.zeros((), bool)],
        "scalar": [np.float32(0.1), np.int64(-3), np.bool_(True)],
        "keys": [jax.random.key(1), split, jax.random.PRNGKey(3)],
        "python": [2**80, True, -0.0, float("nan"), float("-inf"), 0.1, "text", None],
    }


def test_states_round_trip_bit_for_bit_and_type_for_type(tmp_path: Path) -> None:
    tree = states()
    digest = write_tree(tmp_path, tree)
    assert [path.name for path in tmp_path.iterdir()] == [f"{digest}.npz"]
    read = read_tree(tmp_path, digest, template=tree)
    assert jax.tree.structure(read) == jax.tree.structure(tree)
    for before, after in zip(jax.tree.leaves(tree), jax.tree.leaves(read), strict=True):
        assert type(before) is type(after)
        assert getattr(before, "dtype", None) == getattr(after, "dtype", None)
        assert getattr(before, "weak_type", None) == getattr(after, "weak_type", None)
    assert digest_of(read) == digest
    assert np.asarray(read["jax"][2]).tobytes() == ODD.tobytes()
    assert read["python"][:2] == [2**80, True] and read["python"][-1] is None
    assert str(read["python"][2]) == "-0.0"
    drawn = [jax.random.normal(keys[1][1, 0]) for keys in (tree["keys"], read["keys"])]
    assert drawn[0] == drawn[1]


def test_one_bit_makes_another_digest() -> None:
    tree = {"w": np.zeros(3, np.float32)}
    others = {"w": np.array([0, 0, -0.0], np.float32)}, {"v": tree["w"]}, {"w": np.zeros((1, 3), np.float32)}
    assert digest_of(tree) == digest_of({"w": np.zeros(3, np.float32)})
    assert len({digest_of(each) for each in (tree, *others)}) == 4


@pytest.mark.parametrize("leaf", [object(), np.array([None]), np.array(["a"])])
def test_what_cannot_be_stored_is_named(tmp_path: Path, leaf) -> None:
    with pytest.raises(LedgerError, match="a/0"):
        write_tree(tmp_path, {"a": [leaf]})


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"w": np.zeros(3, np.float32)}, "'n'"),
        ({"w": np.zeros(3, np.float32), "n": 0, "m": 0}, "'m'"),
        ({"w": np.zeros(4, np.float32), "n": 0}, r"'w'.*\(4,\)"),
        ({"w": np.zeros(3), "n": 0}, "float64"),
        ({"w": None, "n": 0}, "NoneType"),
        ({"w": jax.random.split(jax.random.key(0), 3), "n": 0}, "key"),
    ],
)
def test_a_template_that_does_not_fit_is_refused(tmp_path: Path, template, message: str) -> None:
    digest = write_tree(tmp_path, {"w": np.zeros(3, np.float32), "n": 1})
    with pytest.raises(LedgerError, match=message):
        read_tree(tmp_path, digest, template)


def test_templates_may_be_shapes_and_nested_dicts_need_none(tmp_path: Path) -> None:
    tree = {"key": jax.random.key(0), "n": jnp.asarray(3)}
    digest = write_tree(tmp_path, tree)
    read = read_tree(tmp_path, digest, {"key": jax.eval_shape(lambda: jax.random.key(0)), "n": 0})
    assert digest_of(read) == digest
    tree = {"drift": {"a": {"w": ODD}, "b": np.ones(2)}, "gamma": 0.9}
    assert digest_of(read_tree(tmp_path, write_tree(tmp_path, tree))) == digest_of(tree)
    assert read_tree(tmp_path, write_tree(tmp_path, {})) == {}
    with pytest.raises(LedgerError, match="needs a template"):
        read_tree(tmp_path, write_tree(tmp_path, [1, 2]))


def test_float64_of_jax_is_not_rounded_silently(tmp_path: Path) -> None:
    with jax.enable_x64(True):
        digest = write_tree(tmp_path, {"w": jnp.arange(3.0)})
        assert read_tree(tmp_path, digest)["w"].dtype == np.float64
    with pytest.raises(LedgerError, match="JAX_ENABLE_X64"):
        read_tree(tmp_path, digest)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove", "pickle"])
def test_damaged_arrays_are_noticed(tmp_path: Path, damage: str) -> None:
    digest = write_tree(tmp_path, {"w": np.arange(100.0)})
    path = tmp_path / f"{digest}.npz"
    data = bytearray(path.read_bytes())
    if damage == "pickle":
        np.savez(path, spec=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif damage == "remove":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes({"flip": data, "truncate": data[:300], "empty": b""}[damage])
    with pytest.raises(LedgerError, match="missing" if damage == "remove" else "damaged"):
        read_tree(tmp_path, digest, {"w": np.zeros(100)})


def test_outcomes_round_trip_bit_for_bit() -> None:
    before, after = outcome(0.1), unpack(pack(outcome(0.1)))
    ours, theirs = numbers_of(before), numbers_of(after)
    assert ours.keys() == theirs.keys() and before.metrics.keys() == after.metrics.keys()
    for name, value in ours.items():
        one, other = np.asarray(value), theirs[name]
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    for name, changes in (("curve", {"curve": None}), ("final", {"metrics": {"final": np.zeros(2)}})):
        with pytest.raises(LedgerError, match=name):
            pack(before._replace(**changes))


def test_results_come_back_as_they_went_in(run: Ledger) -> None:
    given = {
        "a": result("a", 0.1),
        "b": JobResult("b", outcome(float("nan")), "diverged", "at step 3", attempts=2),
        "c": JobResult("c", None, "crashed", "killed by signal 9", 1.5, 0.25, "w1", 3),
    }
    for seed, (name, its) in enumerate(given.items()):
        run.record(evaluation(name, seed=np.int64(seed)), its)
    found = run.finished(["a", "b", "c", "d"])
    assert found.keys() == given.keys() and found["c"].outcome is None
    for name, its in given.items():
        assert replace(found[name], outcome=None) == replace(its, outcome=None)
        assert its.outcome is None or pack(its_outcome(run, name)) == pack(its.outcome)
    rows = run.evaluations(generation=0)
    assert [row["seed"] for row in rows] == [0, 1, 2]
    assert rows[0]["score"] == float(np.float32(0.1)) and rows[0]["key"] == "00000001ffffffff"
    assert np.isnan(rows[1]["score"]) and np.isnan(rows[2]["auc"]) and rows[2]["outcome"] is None
    assert "outcome" not in run.evaluations(outcomes=False)[0] and run.evaluations(generation=1) == []


def test_no_row_is_there_twice(run: Ledger) -> None:
    run.record(evaluation("a"), result("a"))
    for row, of, word in (
        (evaluation("a", seed=1), "a", "'a'"),
        (evaluation("same under another name"), "same under another name", "'same under another name'"),
        (evaluation("x", "g7/p0"), "x", "'g7/p0'"),
        (evaluation("x"), "b", r"'b'.*'x'"),
    ):
        with pytest.raises(LedgerError, match=word):
            run.record(row, result(of))
    pairs = [(evaluation(name, seed=seed), result(name)) for seed, name in enumerate(["b", "c", "b"], 1)]
    with pytest.raises(LedgerError, match="'b'"):
        run.record_all(pairs)
    assert list(run.finished(["a", "b", "c"])) == ["a"]


def test_reports_are_rows_of_their_own(run: Ledger) -> None:
    report = Report("ppo/s0", "ppo", "", "CartPole-v1", 0, 10, KEY, "discovery evaluate ppo")
    run.record(report, result(report.id, 3.0))
    assert list(run.finished([report.id], "reports")) == [report.id] and run.finished([report.id]) == {}
    (row,) = run.reports()
    assert (row["subject"], row["split"], row["score"]) == ("ppo", "report", 3.0)
    with pytest.raises(LedgerError, match=report.id):
        run.record(report, result(report.id))


def test_proposals_may_be_repeated_but_not_changed(run: Ledger) -> None:
    run.propose([request(0, 0), request(0, 1), request(0, -1)])
    assert [row["id"] for row in run.proposals()] == ["g0/p0", "g0/p1", "g0/answer"]
    assert run.proposals()[0]["asked_digest"] == run.generations()[-1]["state_digest"]
    with pytest.raises(LedgerError, match="'g0/p1'"):
        run.propose([request(0, 2), request(0, 1, value=1e-7)])
    assert len(run.proposals()) == 3
    run.propose([request(1, 0)])  # an asynchronous search asks before a generation is closed
    run.close_generation(0, {"mean": np.ones(2)}, {}, {"g1/p0": 1.0})
    with pytest.raises(LedgerError, match="'g0/p2'"):
        run.propose([request(0, 2)])


def test_generations_close_in_order_and_whole(run: Ledger) -> None:
    state, metrics = {"mean": np.ones(2)}, {"s": float(np.float32(0.1))}
    with pytest.raises(LedgerError, match="generation 1"):
        run.close_generation(1, {}, {})
    with pytest.raises(LedgerError, match="'g0/p9'"):
        run.close_generation(0, state, {}, {"g0/p0": 1.0, "g0/p9": 1.0})
    assert run.last_generation() == -1 and np.isnan(run.proposals()[0]["fitness"])
    mean = {"drift": {"w": ODD}}
    run.close_generation(0, state, metrics, {"g0/p0": 1.5, "g0/p1": np.nan}, Proposal(mean))
    assert [row["fitness"] for row in run.proposals(0)] == [1.5, pytest.approx(np.nan, nan_ok=True)]
    assert run.generations()[1]["metrics"] == metrics
    assert digest_of(run.load_answer().meta_params) == digest_of(mean)
    assert run.load_state(0, state)["mean"].tolist() == [1, 1]
    assert run.load_state(-1, state)["mean"].tolist() == [0, 0]
    with pytest.raises(LedgerError, match="generation 5"):
        run.load_state(5, {})
    with pytest.raises(LedgerError, match="generation -1"):
        run.load_answer(-1)


def test_meta_describes_the_run_and_not_the_machine(run: Ledger) -> None:
    assert run.meta["run"] == "one" and run.meta["jax"] == jax.__version__ and "created" in run.meta
    assert socket.gethostname() not in run.meta.values()


def test_a_run_is_begun_once(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="discovery resume"):
        Ledger.create(finished, {})
    with pytest.raises(LedgerError, match=r"ledger\.sqlite"):
        Ledger.open(tmp_path / "nothing")
    with Ledger.open(finished) as reader, pytest.raises(LedgerError, match="reading"):
        reader.record(evaluation("a"), result("a"))


def test_schema_is_documented(run: Ledger) -> None:
    text = (ROOT / "docs" / "ledger.md").read_text()
    tables = [row["name"] for row in run._rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    columns = [row["name"] for table in tables for row in run._rows(f"PRAGMA table_info({table})")]
    assert not [name for name in {*tables, *columns, *OBSERVATIONAL} if f"`{name}`" not in text]
    assert f"schema version {database.SCHEMA_VERSION}" in text


def tampered(finished: Path, statement: str, *values) -> list[str]:
    """What `same_numbers` finds after `statement` was run on a copy."""
    other = finished.parent / "other"
    shutil.copytree(finished, other)
    with contextlib.closing(sqlite3.connect(other / database.FILE)) as db:
        db.execute(statement, values)
        db.commit()
    return differences(finished, other)


def test_same_numbers_finds_one_flipped_bit_and_leaves_out_what_is_observed(finished: Path) -> None:
    with Ledger.open(finished) as run:
        (row,) = run._rows("SELECT outcome FROM evaluations WHERE id = 'g1/p0/s1'")
        changed = its_outcome(run, "g1/p0/s1")
    changed.metrics["kl"].view(np.uint32)[0] ^= 1  # the last bit of a NaN's payload
    assert pack(changed) != row["outcome"]
    observed = ", ".join(f"{name} = 9" for name in OBSERVATIONAL - {"closed_at", "source", "command"})
    statement = f"UPDATE evaluations SET {observed}, outcome = coalesce(?, outcome) WHERE id = 'g1/p0/s1'"
    (found,) = tampered(finished, statement, pack(changed))
    assert "g1/p0/s1" in found and "kl" in found
    shutil.rmtree(finished.parent / "other")
    assert tampered(finished, statement, None) == []


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE proposals SET fitness = fitness + 1e-14 WHERE id = 'g0/p0'", "g0/p0: fitness"),
        ("DELETE FROM evaluations WHERE id = 'g0/answer/s0'", "g0/answer/s0"),
        ("UPDATE generations SET state_digest = 'x' WHERE generation = 1", "generations 1: state_digest"),
        ("UPDATE evaluations SET error = 'timeout' WHERE id = 'g0/p0/s0'", "'timeout'"),
    ],
)
def test_same_numbers_finds(finished: Path, statement: str, where: str) -> None:
    (found,) = tampered(finished, statement)
    assert where in found


def test_killed_at_any_line_and_resumed_is_the_same_run(tmp_path: Path) -> None:
    """The helper kills a search at line after line of ours, each time in a fresh folder, and resumes it."""
    search(tmp_path / "reference")
    process = helper("kill", tmp_path)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    kills = [folder for folder in tmp_path.iterdir() if folder.name.startswith("killed")]
    assert len(kills) > 15
    generations = set()
    for folder in kills:
        assert differences(tmp_path / "reference", folder) == [], folder
        assert not list((folder / "arrays").glob(f"{arrays._PREFIX}*"))
        generations.add((folder / "was_at").read_text())
    # Kills hit before the ledger was there, before the initial state, and in each generation.
    assert generations >= {"no ledger", "None", "-1", "0"}


def kill_at_every_line(folder: Path) -> None:
    """Child processes run the toy search, each killed a few lines of ours later than the one before."""
    for count in range(1, 10_000_000, 211):
        target = folder / f"killed{count}"
        child = os.fork()
        if child == 0:
            die_after(count)
            search(target)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            return shutil.rmtree(target)
        at = "no ledger"
        if (target / database.FILE).exists():
            with Ledger.open(target) as run:
                at = str(run.last_generation())
                assert len(run.generations()) == (0 if at == "None" else int(at) + 2)
                # A closed generation is whole: its state is there, its proposals have their fitness.
                for row in run.generations():
                    run.load_state(row["generation"], {"mean": np.zeros(3, np.float32), "generation": 0})
                    assert all(np.isfinite(p["fitness"]) for p in run.proposals(row["generation"]))
                assert all(np.isnan(p["fitness"]) for p in run.proposals() if p["generation"] > int(at))
        search(target)
        (target / "was_at").write_text(at)


def die_after(count: int) -> None:
    """Kill this process with SIGKILL at the `count`th line that it runs of ours."""
    remaining = iter(range(count))

    def line(_frame, event, _arg):
        if event == "line" and next(remaining, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return line

    def call(frame, _event, _arg):
        return line if frame.f_code.co_filename.startswith(str(ROOT / "discovery")) else None

    sys.settrace(call)


def test_one_writer_until_it_dies(finished: Path) -> None:
    process = helper("hold", finished)
    assert process.stdout is not None and process.stdout.readline() == "holding\n"
    for begin in (lambda: Ledger.open(finished, write=True), lambda: Ledger.create(finished, {})):
        with pytest.raises(LedgerError, match=f"process {process.pid} on {socket.gethostname()}"):
            begin()
    process.kill()
    process.wait()
    process.stdout.close()
    with Ledger.open(finished, write=True) as run, pytest.raises(LedgerError, match=f"process {os.getpid()}"):
        Ledger.open(run.folder, write=True)
    Ledger.open(finished, write=True).close()


def test_a_reader_sees_what_is_committed(run: Ledger) -> None:
    with Ledger.open(run.folder) as reader:
        with run._transaction("test"):
            run._db.execute("DELETE FROM proposals")
            assert len(reader.proposals()) == 2
            run._db.execute("ROLLBACK")
            run._db.execute("BEGIN")
        run.record(evaluation("a"), result("a"))
        run.close_generation(0, {}, {})
        assert [row["id"] for row in reader.evaluations()] == ["a"] and reader.last_generation() == 0


def test_a_full_disk_while_rows_are_written(run: Ledger) -> None:
    run.close_generation(0, {"mean": np.ones(2)}, {}, {"g0/p0": 1.0})
    run.propose([request(1, 0)])
    pages = run._db.execute("PRAGMA page_count").fetchone()[0]
    run._db.execute(f"PRAGMA max_page_count = {pages + 1}")
    recorded = 0

    def record(seed: int) -> None:
        run.record(evaluation(f"e{seed}", "g1/p0", 1, seed), result(f"e{seed}"))

    with pytest.raises(LedgerError, match=r"disk is full.*generation 0 is safe"):
        for recorded in range(1000):
            record(recorded)
    run._db.execute("PRAGMA max_page_count = 1000000")
    assert len(run.evaluations()) == recorded and run.last_generation() == 0
    record(recorded)


@pytest.mark.parametrize("function", ["fsync", "replace", "open"])
def test_a_full_disk_while_arrays_are_written(run: Ledger, monkeypatch, function) -> None:
    def refuse(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(arrays.os, function, refuse)
        with pytest.raises(LedgerError, match="disk is full"):
            run.close_generation(0, {"mean": np.ones(2)}, {}, {"g0/p0": 1.0})
    assert run.last_generation() == -1 and not list((run.folder / "arrays").glob(f"{arrays._PREFIX}*"))
    run.close_generation(0, {"mean": np.ones(2)}, {}, {"g0/p0": 1.0})


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up(small_disk: Path, tmp_path: Path) -> None:
    """However it fills, what was closed is there, and after making room the run ends as on a large disk."""
    folder = small_disk / "run"
    filler = small_disk / "filler"
    search(folder, 2)
    for generations, left in enumerate((0, 5_000, 40_000), 3):
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))
        os.truncate(filler, max(0, filler.stat().st_size - left))
        with pytest.raises(LedgerError, match="disk is full"):
            search(folder, 100)
        filler.unlink()
        with Ledger.open(folder) as run:
            assert last(run) >= generations - 2
        search(folder, generations)
    with Ledger.open(folder) as run:
        closed = last(run)
    search(tmp_path / "large", closed + 1)
    # The one that filled up may have recorded evaluations of the generation after.
    found = differences(tmp_path / "large", folder)
    assert not [line for line in found if f"g{closed + 1}/" not in line]


def test_a_read_only_folder() -> None:
    """It can be read, log of a killed writer included, and refuses writers with one message."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-test-"))  # pytest's own folders are closed to other users
    try:
        folder.chmod(0o755)
        process = helper("readonly", folder)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        found = json.loads(output)
        recorded = {state: recorded for state, (_, recorded) in found.items()}
        assert recorded == {"closed": 8, "killed": 9, "no shm": 9}
        assert all("no permission" in message for message, _ in found.values())
    finally:
        shutil.rmtree(folder)


def read_without_rights(folder: Path) -> None:
    """Print what an unprivileged process makes of runs in folders that cannot be written."""
    found = {}
    for state in ("closed", "killed", "no shm"):
        run = folder / state
        search(run)
        if state != "closed":
            record_and_die(run)
        if state == "no shm":
            (run / f"{database.FILE}-shm").unlink()
        for path in (*run.rglob("*"), run):
            path.chmod(0o555 if path.is_dir() else 0o444)
        user = os.geteuid()
        if user == 0:  # Rights do not bind the superuser.
            os.seteuid(65534)
        said = "it was opened"
        try:
            Ledger.open(run, write=True).close()
        except LedgerError as error:
            said = str(error)
        with Ledger.open(run) as reader:
            found[state] = said, len(reader.evaluations())
        os.seteuid(user)
        for path in (run, run / "arrays"):
            path.chmod(0o755)
    print(json.dumps(found))


def record_and_die(folder: Path) -> None:
    """Record one more evaluation in a process that is killed before it closes the ledger."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    run = Ledger.open(folder, write=True)
    run.propose([request(2, 0)])
    run.record(evaluation("late", "g2/p0", 2), result("late"))
    os.kill(os.getpid(), signal.SIGKILL)


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    pages = len(data) // 4096
    if how == "pages":
        data[4096 * 2 : 4096 * (pages - 1)] = os.urandom(4096 * (pages - 3))
    elif how == "header":
        data[:64] = bytes(64)
    path.write_bytes({"truncated": data[: len(data) // 2 + 100], "empty": b""}.get(how, data))


@pytest.mark.parametrize(
    ("how", "write"), [("pages", True), ("header", False), ("truncated", False), ("empty", True)]
)
def test_a_damaged_ledger_is_left_alone_and_restored_from_its_copy(
    finished: Path, how: str, write: bool
) -> None:
    file = finished / database.FILE
    damage(file, how)
    digest = hashlib.sha256(file.read_bytes()).digest()
    with pytest.raises(LedgerError) as caught:
        Ledger.open(finished, write=write)
    message = str(caught.value)
    assert "damaged" in message and "generations 0 to 1" in message
    assert "\n" not in message and hashlib.sha256(file.read_bytes()).digest() == digest
    restore = message.split("`")[1].split(" && discovery resume")[0]
    assert str(finished) in restore
    subprocess.run(restore, shell=True, check=True)
    search(finished, 3)
    search(finished.parent / "reference", 3)
    assert differences(finished, finished.parent / "reference") == []


def test_damage_does_not_reach_the_copy(finished: Path) -> None:
    with Ledger.open(finished, write=True) as run:
        damage(finished / database.FILE, "pages")
        run._secure(now=True)
    with pytest.raises(LedgerError, match="generations 0 to 1"):
        Ledger.open(finished)
    (finished / database.COPY).write_bytes(b"also damaged")
    with pytest.raises(LedgerError, match="begin a new run"):
        Ledger.open(finished)


@pytest.mark.parametrize(
    ("version", "message"),
    [(database.SCHEMA_VERSION + 1, "newer"), (-1, "older"), (0, "tables")],
)
def test_other_schemas_are_refused(finished: Path, version: int, message: str) -> None:
    with contextlib.closing(sqlite3.connect(finished / database.FILE)) as db:
        db.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(LedgerError, match=message):
        Ledger.open(finished, write=True)
    Path(finished / "lock").unlink()
    with pytest.raises(LedgerError, match=message):
        Ledger.open(finished)


def main(mode: str, folder: str) -> None:
    if mode == "kill":
        kill_at_every_line(Path(folder))
    elif mode == "hold":
        with Ledger.open(folder, write=True):
            print("holding", flush=True)
            signal.pause()
    elif mode == "readonly":
        read_without_rights(Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
