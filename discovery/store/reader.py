"""Reading a ledger: one half of `discovery/store/ledger.py`."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from discovery.core.errors import LedgerError
from discovery.core.jobs import MACHINE_FAILURES, Checkpoint, JobKey, JobResult
from discovery.meta.base import GradientResult, Proposal, ReplyResult, RequestId
from discovery.store.arrays import digest_of, read_tree
from discovery.store.database import ARRAYS, CHECKPOINTS, explained, safe_generations
from discovery.store.rows import nan_if_null, proposal_of, readable_row, result_of_row


class Readings:
    """Queries on a run's ledger.

    Attributes:
        folder: of the run.
    """

    folder: Path
    _db: sqlite3.Connection
    _closed: int | None = None
    """The last closed generation, for messages."""

    def load_start(self, template: Any = None) -> Any:
        """The meta-parameters that the search starts from; None for the family's initial values.

        `template` is as for `load_answer`.
        """
        digest = self.meta.get("start_digest")
        if digest is None:
            return None
        with explained(self.folder, "read the start", self._closed):
            return read_tree(self.folder / ARRAYS, digest, template)

    def load_order(self) -> list[int] | None:
        """The order in which a repeated search learns from batches; None for other searches."""
        order = self.meta.get("order")
        return None if order is None else json.loads(order)

    def last_generation(self) -> int | None:
        """The last closed generation; -1 if only the initial state exists, None before that."""
        return self._one("SELECT max(generation) AS last FROM generations")["last"]

    def load_state(self, generation: int, template: Any) -> Any:
        """The state after a generation, bit for bit; `template` is a state of the same structure."""
        return self._load(generation, "state_digest", template)

    def load_answer(self, generation: int | None = None, template: Any = None) -> Proposal:
        """The meta-optimizer's answer after a generation (default: the last).

        `template` is a tree like its meta-parameters, or a function that makes one; see `read_tree`.
        """
        generation = self._need_closed() if generation is None else generation
        meta_params = self._load(generation, "answer_digest", template)
        row = self._one("SELECT answer FROM generations WHERE generation = ?", generation)
        return proposal_of(meta_params, json.loads(row["answer"]))

    @property
    def meta(self) -> dict[str, str]:
        """The description of the run: its id, and when and with which versions it began."""
        return {row["key"]: row["value"] for row in self._rows("SELECT * FROM meta")}

    def generations(self) -> list[dict[str, Any]]:
        """Closed generations in order; `metrics` is a dict."""
        rows = self._rows("SELECT * FROM generations ORDER BY generation")
        return [row | {"metrics": json.loads(row["metrics"])} for row in rows]

    def proposals(self, generation: int | None = None) -> list[dict[str, Any]]:
        """Proposals in order; `fitness` is NaN until the generation that counts them is closed."""
        where = "" if generation is None else f"WHERE generation = {int(generation)}"
        rows = self._rows(f"SELECT * FROM proposals {where} ORDER BY generation, rowid")
        return [row | {"fitness": nan_if_null(row["fitness"])} for row in rows]

    def unscored_answers(self) -> list[int]:
        """Generations of the answers that were proposed and have no fitness, in order."""
        where = "WHERE split = 'selection' AND fitness IS NULL ORDER BY generation"
        return [row["generation"] for row in self._rows(f"SELECT generation FROM proposals {where}")]

    def has_answered(self, generation: int, meta_params: Any) -> bool:
        """Whether an answer before `generation` was the same, so that its selection scores are known."""
        where = "split = 'selection' AND generation < ? AND params_digest = ?"
        query = f"SELECT 1 FROM proposals WHERE {where} LIMIT 1"
        return bool(self._rows(query, generation, digest_of(meta_params)))

    def evaluations(self, generation: int | None = None, outcomes: bool = True) -> list[dict[str, Any]]:
        """Finished evaluations by arrival; `outcome` is an `Outcome` or None, missing scores are NaN."""
        where = "" if generation is None else f"WHERE generation = {int(generation)}"
        return [
            readable_row(row, outcomes)
            for row in self._rows(f"SELECT * FROM evaluations {where} ORDER BY rowid")
        ]

    def devices(self) -> set[str]:
        """The devices of the trainings, by jax's names: "cpu", or kinds of accelerators."""
        return {row["device"] for row in self._rows("SELECT DISTINCT device FROM evaluations")} - {""}

    def order(self, since: Iterable[str]) -> Iterator[str]:
        """Ids of finished evaluations, as text, in order of arrival, from the first of `since` on; empty if
        none of these is finished.
        """
        first = "SELECT min(rowid) FROM evaluations WHERE id IN (SELECT value FROM json_each(?))"
        query = f"SELECT id FROM evaluations WHERE rowid >= ({first}) ORDER BY rowid"
        with explained(self.folder, "read the ledger", self._closed):
            for row in self._db.execute(query, [json.dumps(list(since))]):
                yield row["id"]

    def reports(self, outcomes: bool = True) -> list[dict[str, Any]]:
        """The results of `discovery evaluate`, in the form of `evaluations`."""
        return [readable_row(row, outcomes) for row in self._rows("SELECT * FROM reports ORDER BY rowid")]

    def rows(self, table: str) -> list[dict[str, Any]]:
        """A table's rows as stored, in order of arrival."""
        return self._rows(f"SELECT * FROM {table} ORDER BY rowid")

    def tests(self) -> list[dict[str, Any]]:
        """Every use of held-out tasks, in order; `subjects` and `tasks` are lists."""
        rows = self._rows("SELECT * FROM tests ORDER BY id")
        return [row | {name: json.loads(row[name]) for name in ("subjects", "tasks")} for row in rows]

    def finished(
        self,
        ids: Iterable[JobKey],
        table: Literal["evaluations", "reports"] = "evaluations",
        retry: Literal["none", "machine", "all"] = "none",
    ) -> dict[JobKey, JobResult]:
        """Recorded results among `ids`, by id; outcomes have their original bits.

        Results of trainings that were stopped early have checkpoints while their generation is open.

        Args:
            ids: of trainings.
            table: where they are recorded.
            retry: which failures are left out, so that they are repeated: none, `MACHINE_FAILURES`, or all.
        """
        keys = {str(id): id for id in ids}
        query = f"SELECT * FROM {table} WHERE id IN (SELECT value FROM json_each(?))"
        rows = self._rows(query, json.dumps(list(keys)))
        if retry != "none":
            rows = [
                r
                for r in rows
                if not r["error"] or (retry == "machine" and r["error"] not in MACHINE_FAILURES)
            ]
        found = {(id := keys[row["id"]]): (row, result_of_row(row, id)) for row in rows}
        return {id: replace(result, checkpoint=self._checkpoint(row)) for id, (row, result) in found.items()}

    def _checkpoint(self, row: Mapping[str, Any]) -> Checkpoint | None:
        """The state in which an evaluation was stopped; None if none is kept, or its file is gone."""
        if row.get("checkpoint") is None or not (self.folder / CHECKPOINTS).is_dir():
            return None
        with suppress(LedgerError):
            leaves = read_tree(self.folder / CHECKPOINTS, row["checkpoint"])
            return Checkpoint(row["until"], tuple(leaves[name] for name in sorted(leaves)))
        return None

    def responses(self, ids: Iterable[RequestId]) -> dict[RequestId, GradientResult | ReplyResult]:
        """Recorded results of gradient and reply requests among `ids`, by id."""
        keys = {str(id): id for id in ids}
        query = "SELECT * FROM responses WHERE id IN (SELECT value FROM json_each(?))"
        return {
            keys[row["id"]]: self._response(row, keys[row["id"]])
            for row in self._rows(query, json.dumps(list(keys)))
        }

    def _response(self, row: Mapping[str, Any], id: RequestId) -> GradientResult | ReplyResult:
        metrics, error = json.loads(row["metrics"]), row["error"]
        if row["kind"] == "reply":
            return ReplyResult(id, row["text"], metrics, error)
        with explained(self.folder, "read a gradient", self._closed):
            tree = read_tree(self.folder / ARRAYS, row["tree_digest"])
        return GradientResult(id, tree.get("gradient"), tree.get("carry"), metrics, error)

    def retries(self) -> list[dict[str, Any]]:
        """The failures of trainings that were repeated later, in the order of repetition."""
        return self.rows("retries")

    def _load(self, generation: int, column: str, template: Any) -> Any:
        rows = self._rows(f"SELECT {column} AS digest FROM generations WHERE generation = ?", generation)
        if not rows or rows[0]["digest"] is None:
            what = column.removesuffix("_digest")
            raise LedgerError(
                f"{self.folder} has no {what} of generation {generation}; {safe_generations(self._closed)}"
            )
        with explained(self.folder, "read a state", self._closed):
            return read_tree(self.folder / ARRAYS, rows[0]["digest"], template)

    def _rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with explained(self.folder, "read the ledger", self._closed):
            return [dict(row) for row in self._db.execute(query, values)]

    def _one(self, query: str, *values: Any) -> dict[str, Any]:
        return self._rows(query, *values)[0]

    def _need_closed(self) -> int:
        if (last := self.last_generation()) is None:
            raise LedgerError(f"{self.folder} has no initial state yet; close generation -1 first")
        return last
