"""The ledger: everything that happened in a run, committed as it happens (schema: docs/ledger.md).

    with Ledger.open("runs/...", write=True) as ledger:
        ledger.propose(requests)                               # before they are evaluated
        done = ledger.finished(ids)                            # what need not run again
        ledger.record(Evaluation(...), result)                 # each as it arrives
        ledger.close_generation(generation, state, metrics, fitness)

Every write happens completely or not at all, whenever the process is killed; large arrays are on disk before
the row that names them. One process writes; any number can read at the same time.
"""

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from discovery.core.errors import LedgerError
from discovery.core.jobs import JobResult
from discovery.core.versions import versions
from discovery.meta.base import GradientResult, Proposal, ReplyResult, Request, RequestId, Result
from discovery.store.arrays import discard_unfinished, write_tree
from discovery.store.database import (
    ARRAYS,
    CHECKPOINTS,
    FILE,
    acquire_lock,
    build_database,
    check_database,
    explained,
    open_reader,
    open_writer,
    write_copy,
)
from discovery.store.reader import Readings
from discovery.store.rows import (
    Evaluation,
    Report,
    checkpoint_tree,
    measured_columns,
    now,
    null_if_nan,
    origin_columns,
    proposal_row,
)
from discovery.store.start import Start, dumps

__all__ = ["Evaluation", "Ledger", "Report"]


class Ledger(Readings):
    """A run's ledger. Make one with `create` or `open`, and close it, or use it in a `with`.

    Its reading methods are in `discovery/store/reader.py`.
    """

    def __init__(self, folder: Path, db: sqlite3.Connection, lock: int | None, scratch: str | None) -> None:
        self.folder = folder
        self.writable = lock is not None
        self._db, self._lock, self._scratch = db, lock, scratch
        self._closed = self.last_generation()
        self._next_copy = 0.0
        self._copied = True

    @classmethod
    def create(cls, folder: str | Path, meta: Mapping[str, str]) -> "Ledger":
        """Begin a run in `folder`, which is created if missing, and open its ledger for writing.

        `meta` describes the run (id, config hash ...); `versions()` and the time are added.
        """
        folder = Path(folder)
        with explained(folder, "begin the run"):
            (folder / ARRAYS).mkdir(parents=True, exist_ok=True)
            lock = acquire_lock(folder)
            try:
                if (folder / FILE).exists():
                    raise LedgerError(
                        f"{folder} holds a run already; `discovery resume {folder}` continues it"
                    )
                build_database(folder, versions() | {"created": now()} | dict(meta))
                return cls(folder, open_writer(folder), lock, None)
            except BaseException:
                os.close(lock)
                raise

    @classmethod
    def open(cls, folder: str | Path, write: bool = False) -> "Ledger":
        """Open a run's ledger. Only one process at a time can do so for writing."""
        folder = Path(folder)
        with explained(folder, "open the run"):
            if not (folder / FILE).exists():
                raise LedgerError(f"{folder} holds no {FILE}: it is no run, or was stopped before it began")
            lock = acquire_lock(folder) if write else None
            db = scratch = None
            try:
                # Checked before it is opened for writing, so a damaged file is not changed.
                db, scratch = open_reader(folder)
                check_database(folder, db)
                if write:
                    db.close()
                    db = open_writer(folder)
                    discard_unfinished(folder / ARRAYS)
                return cls(folder, db, lock, scratch)
            except BaseException:
                _release(db, lock, scratch)
                raise

    def close(self) -> None:
        """Close it and let others write; safe to call twice."""
        if not self._copied:
            self._secure(now=True)
            self._copied = True
        _release(self._db, self._lock, self._scratch)
        self._lock = self._scratch = None

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def keep_start(self, start: Start) -> None:
        """Record what the search starts from, before it starts."""
        digest = self.put_state(start.mean)
        with self._transaction("keep the start"):
            for key, value in (("start", dumps(start.origins)), ("start_digest", digest)):
                self._insert("meta", {"key": key, "value": value})

    def propose(self, requests: Iterable[Request]) -> None:
        """Record what the meta-optimizer asked for, with a reference to the last closed state: it asked from
        that state or, asynchronously, from a later one.

        After an interruption the same requests may come again; requests that differ from the recorded ones
        are refused.
        """
        last = self._need_closed()
        asked = self._one("SELECT state_digest FROM generations WHERE generation = ?", last)["state_digest"]
        rows = [proposal_row(request, asked) for request in requests]
        with self._transaction("record the proposals"):
            for row in rows:
                if row["generation"] <= last:
                    raise LedgerError(f"proposal {row['id']!r} came while generation {last + 1} was open")
                known = self._db.execute("SELECT * FROM proposals WHERE id = ?", [row["id"]]).fetchone()
                if known is None:
                    self._insert("proposals", row)
                elif not _is_same(dict(known), row) or known["fitness"] is not None:
                    raise _changed(row["id"])

    def check_proposed(self, requests: Iterable[Request]) -> None:
        """Refuse requests that differ from the recorded ones."""
        for request in requests:
            known = self._one("SELECT * FROM proposals WHERE id = ?", str(request.id))
            if not _is_same(known, proposal_row(request, known["asked_digest"])):
                raise _changed(str(request.id))

    def record(self, what: Evaluation | Report, result: JobResult) -> None:
        """Commit one finished evaluation."""
        self.record_all([(what, result)])

    def record_all(self, finished: Iterable[tuple[Evaluation | Report, JobResult]]) -> None:
        """Commit finished evaluations together: all of them or, on an error, none.

        The result of a training that had failed replaces the failure, which is kept in `retries`.
        """
        kept = [(what, result, self._put_checkpoint(result)) for what, result in finished]
        with self._transaction("record an evaluation"):
            for what, result, checkpoint in kept:
                if what.id != str(result.id):
                    raise LedgerError(f"the result of {str(result.id)!r} cannot be recorded as {what.id!r}")
                key = "".join(f"{word:08x}" for word in what.key.tolist())
                row: dict[str, Any] = vars(what) | {"key": key}
                row |= measured_columns(result)
                table = "evaluations" if isinstance(what, Evaluation) else "reports"
                row["attempts"] += self._set_aside(table, what.id)
                self._insert(table, row | ({"checkpoint": checkpoint} if table == "evaluations" else {}))

    def record_response(self, result: Result) -> None:
        """Commit the result of a gradient or reply request, before it is used."""
        row = {"id": str(result.id), "kind": result.kind, "text": "", "tree_digest": None}
        if isinstance(result, GradientResult):
            row["tree_digest"] = self.put_state({"gradient": result.gradient, "carry": result.carry})
        elif isinstance(result, ReplyResult):
            row["text"] = result.text
        else:
            raise LedgerError(f"{result.id} is a score, which consists of evaluations")
        row |= {"metrics": json.dumps(dict(result.metrics)), "error": result.error, "recorded_at": now()}
        with self._transaction("record a response"):
            self._insert("responses", row)

    def _put_checkpoint(self, result: JobResult) -> str | None:
        """Store the state in which a training was stopped early; returns its digest, None without one."""
        if result.checkpoint is None:
            return None
        self._need_writable()
        with explained(self.folder, "store a checkpoint", self._closed):
            (self.folder / CHECKPOINTS).mkdir(exist_ok=True)
            return write_tree(self.folder / CHECKPOINTS, checkpoint_tree(result.checkpoint))

    def _set_aside(self, table: str, name: str) -> int:
        """Move a failed training's row to `retries`; returns its number of attempts, 0 without a row."""
        failed = f"FROM {table} WHERE id = ? AND error IS NOT NULL"
        found = self._db.execute(f"SELECT attempts {failed}", [name]).fetchone()
        if found is None:
            return 0
        columns = "id, error, detail, seconds, worker, attempts, device, recorded_at"
        self._db.execute(f"INSERT INTO retries ({columns}) SELECT {columns} {failed}", [name])
        self._db.execute(f"DELETE {failed}", [name])
        return found["attempts"]

    def record_test(
        self, command: str, subjects: Iterable[str], tasks: Iterable[str], seeds: int, first_seed: int
    ) -> None:
        """Record the use of held-out tasks. Call it before training on them."""
        names = {"subjects": json.dumps(list(subjects)), "tasks": json.dumps(list(tasks))}
        row = {"command": command, **names, "seeds": seeds, "first_seed": first_seed, "recorded_at": now()}
        with self._transaction("record a test"):
            self._insert("tests", row)

    def put_state(self, tree: Any) -> str:
        """Store a pytree in the run's arrays; returns its digest once it is safely on disk."""
        self._need_writable()
        with explained(self.folder, "store a state", self._closed):
            return write_tree(self.folder / ARRAYS, tree)

    def close_generation(
        self,
        generation: int,
        state: Any,
        metrics: Mapping[str, float],
        fitness: Mapping[RequestId, float] | None = None,
        answer: Proposal | None = None,
    ) -> None:
        """Close a generation together with the state that the next one starts from, in one transaction.

        Args:
            generation: -1 for the initial state, then 0, 1, 2 ...
            state: the meta-optimizer's, after `tell`.
            metrics: its metrics.
            fitness: request id -> aggregated score; NaN without a score. Asynchronously, also of proposals
                that belong to another generation.
            answer: the meta-optimizer's current answer.

        The checkpoints of trainings that were stopped early are no longer needed, and are removed.
        """
        if generation != (expected := -1 if self._closed is None else self._closed + 1):
            raise LedgerError(f"generation {generation} cannot be closed: {expected} comes next")
        row: dict[str, Any] = {"generation": generation, "state_digest": self.put_state(state)}
        row["answer_digest"] = None if answer is None else self.put_state(answer.meta_params)
        row["answer"] = json.dumps({} if answer is None else origin_columns(answer))
        row["metrics"] = json.dumps({name: float(value) for name, value in metrics.items()})
        with self._transaction(f"close generation {generation}"):
            self._set_fitness(fitness or {})
            self._insert("generations", row | {"closed_at": now()})
            self._db.execute("UPDATE evaluations SET checkpoint = NULL WHERE checkpoint IS NOT NULL")
        self._closed = generation
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
        self._secure()

    def keep_fitness(self, fitness: Mapping[RequestId, float]) -> None:
        """Record aggregated scores by request id; NaN without a score."""
        with self._transaction("record the fitness"):
            self._set_fitness(fitness)

    def keep_order(self, order: Sequence[int]) -> None:
        """Record, before a repeated search starts, the order in which the original learned from batches."""
        with self._transaction("keep the order"):
            self._insert("meta", {"key": "order", "value": json.dumps(list(order))})

    def _set_fitness(self, fitness: Mapping[RequestId, float]) -> None:
        for id, value in fitness.items():
            update = "UPDATE proposals SET fitness = ? WHERE id = ?"
            if self._db.execute(update, [null_if_nan(value), str(id)]).rowcount != 1:
                raise LedgerError(f"{str(id)!r} was not proposed")

    def _insert(self, table: str, row: Mapping[str, Any]) -> None:
        columns, marks = ", ".join(row), ", ".join("?" * len(row))
        # SQLite would take a numpy number for bytes.
        values = [value.item() if isinstance(value, np.generic) else value for value in row.values()]
        try:
            self._db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorname == "SQLITE_CONSTRAINT_FOREIGNKEY":
                raise LedgerError(
                    f"{row['id']!r} belongs to {row['proposal']!r}, which was not proposed"
                ) from error
            name = row.get("id", row.get("generation"))
            raise LedgerError(f"{name!r} is in the {table} of {self.folder} already ({error})") from error

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[None]:
        """Everything inside is committed at the end, or nothing."""
        self._need_writable()
        with explained(self.folder, doing, self._closed):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
                self._copied = False
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite may have rolled back by itself.
                    self._db.execute("ROLLBACK")
                raise

    def _need_writable(self) -> None:
        if self._lock is None:
            raise LedgerError(f"the ledger of {self.folder} is open for reading only")

    def _secure(self, now: bool = False) -> None:
        """Move closed generations out of the write-ahead log, and occasionally into a copy of the ledger.

        A damaged ledger can be restored from the copy. Neither step may make a run fail or take more than 1%
        of its time.
        """
        start = time.monotonic()
        with suppress(sqlite3.Error, OSError):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            if now or start >= self._next_copy:
                write_copy(self._db, self.folder)
                self._copied = True
                self._next_copy = start + 100 * (time.monotonic() - start)


def _is_same(known: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether a recorded proposal equals that of `row`; its origin is not compared, since runs of schema 2 do
    not record it.
    """
    return all(known[name] == value for name, value in row.items() if name != "operator")


def _changed(proposal: str) -> LedgerError:
    return LedgerError(
        f"proposal {proposal!r} is not the one recorded before the interruption: "
        "code, configuration, versions or device changed; go back to those the run began with"
    )


def _release(db: sqlite3.Connection | None, lock: int | None, scratch: str | None) -> None:
    """Release a ledger's resources."""
    if db is not None:
        db.close()
    if lock is not None:
        os.close(lock)
    if scratch is not None:
        shutil.rmtree(scratch, ignore_errors=True)
