"""What a run found, as passive data: scores and curves as arrays and frames, proposals, objectives.

    run = load_run("runs/...")
    run.frame()                          # one row per training
    run.objective()                      # the discovered loss, as a function

For users, `discovery.app.loaded` adds methods for pictures and the report.

Only the ledger is read, so a run can be loaded while its search is writing. The loaded data are a snapshot;
`RunData.reload` loads them again.

Generations count updates of the search's mean: 0 is the initial mean, around which the proposals of
generation 0 were drawn; g is the mean after g updates. The ledger keeps it as closed generation g - 1.
"""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from jaxtyping import Float

from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput, LedgerError, RunError, unknown
from discovery.core.jobs import AlgorithmSpec, Outcome
from discovery.meta.base import Proposal
from discovery.results.words import words_of
from discovery.search.selection import Choice, choose, is_settled, selection_scores
from discovery.store.arrays import digest_of
from discovery.store.run import Run
from environments.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from discovery.results.frames import Curves
    from discovery.results.learned import Learned
    from discovery.results.lineage import FamilyTree, Relative
    from discovery.results.objective import Objective
    from discovery.search.regenerate import Regenerator
    from objectives.programs.graph import Program

Generation = int | Literal["initial", "last"] | None
Split = Literal["search", "selection", "report"]
Rows = list[dict[str, Any]]


def load_run(path: str | Path) -> "RunData":
    """Load a run from its folder.

    Raises:
        BadInput: if `path` is not a run.
        LedgerError: if its ledger cannot be read.
    """
    with Run.open(path) as run:
        return RunData(run)


class RunData:
    """A snapshot of a run; see the module's docstring.

    Attributes:
        name, config: of the run.
        meta: its provenance: when, from which commit and with which versions it began.
        selection: generation -> task -> ``[S]``: scores of the mean on the selection seeds.
        settled: whether the search has ended, and its answer is chosen.
    """

    def __init__(self, run: Run) -> None:
        self.name: str = run.name
        self._folder = run.folder.absolute()
        self.config: SearchConfig = run.config
        self.meta: dict[str, str] = run.ledger.meta
        # In this order: while a search writes, tables read later may hold more than earlier ones, never less.
        self._generations: Rows = run.ledger.generations()
        self._proposals: Rows = run.ledger.proposals()
        self._evaluations: Rows = run.ledger.evaluations(outcomes=False)
        self._reports: Rows = run.ledger.reports(outcomes=False)
        self.selection: dict[int, dict[str, np.ndarray]] = selection_scores(run)
        self.settled: bool = is_settled(run)
        self._choice: Choice | None = choose(run) if self.selection else None
        self._regenerator: Regenerator | None = None
        self._learned: dict[tuple[int, str], Learned] = {}

    def reload(self) -> Self:
        """The same run, loaded again."""
        with Run.open(self.folder) as run:
            return type(self)(run)

    # What it is

    @property
    def folder(self) -> Path:
        """The run's folder; relative if it is inside the working directory, which may change."""
        here = Path.cwd()
        return self._folder.relative_to(here) if self._folder.is_relative_to(here) else self._folder

    @property
    def spec(self) -> AlgorithmSpec:
        """The searched algorithm."""
        return self.config.spec

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Meta-train tasks, other selection tasks, held-out tasks."""
        return self.config.every_task

    @property
    def n_generations(self) -> int:
        """G: closed generations, without the initial state."""
        return max(0, len(self._generations) - 1)

    @property
    def choice(self) -> Choice:
        """The generation that the search answers with, and its selection scores.

        Raises:
            RunError: no mean has been scored on the selection seeds yet.
        """
        if self._choice is None:
            answer = words_of(self.config.meta).answer
            raise RunError(
                f"run {self.name} has no {answer} scored on its selection seeds yet; let it go on "
                f"(`discovery resume {self.folder}`), or name a generation"
            )
        return self._choice

    def generation_number(self, generation: Generation = None) -> int:
        """The number of `generation`: None is the chosen one, "initial" (or -1) is 0."""
        if generation is None:
            return self.choice.generation
        number = {"initial": 0, -1: 0, "last": self.n_generations}.get(generation, generation)
        if not isinstance(number, int) or not 0 <= number <= self.n_generations:
            raise BadInput(
                f"run {self.name} has no {words_of(self.config.meta).answer} of generation {generation!r}; "
                f'it has 0 (or "initial") to {self.n_generations} (or "last")'
            )
        return number

    def label(self, generation: int) -> str:
        """The name of a generation's answer in tables."""
        if generation == 0:
            return words_of(self.config.meta).initial
        chosen = self._choice is not None and generation == self._choice.generation
        return "discovered" if chosen else f"generation {generation}"

    def steps_per_update(self, task: str) -> int:
        """Environment steps of a rollout; 1 for a task of another run, whose setup is not stored."""
        known = {each.name: each for each in self.tasks}
        return known[task].setup.steps_per_update if task in known else 1

    # The ledger's rows

    def generations(self) -> Rows:
        """Closed generations in order; -1 is the initial state; `metrics` is a dict."""
        return [dict(row) for row in self._generations]

    def proposals(self) -> Rows:
        """Proposals and evaluated means, in order."""
        return [dict(row) for row in self._proposals]

    def evaluations(self) -> Rows:
        """Trainings of the search, in the order in which they ended, without their outcomes."""
        return [dict(row) for row in self._evaluations]

    def reports(self) -> Rows:
        """Trainings of `discovery evaluate`, in the order in which they ended, without their outcomes."""
        return [dict(row) for row in self._reports]

    def outcomes(self, split: Split = "report") -> dict[str, Outcome | None]:
        """The outcomes of a split's trainings, by the id in the rows; None where one crashed."""
        return {row["id"]: row["outcome"] for row in self._read(split)}

    # Arrays

    @cached_property
    def scores(self) -> Float[np.ndarray, "G P"]:
        """Aggregated score of each proposal of the closed generations; NaN for one that failed."""
        table = np.full((self.n_generations, self.config.meta.population), np.nan)
        for row in self._proposals:
            if row["split"] == "search" and row["generation"] < self.n_generations:
                table[row["generation"], row["idx"]] = row["fitness"]
        return table

    @cached_property
    def task_scores(self) -> Float[np.ndarray, "G P tasks S"]:
        """Score of each training of the closed generations, tasks as in the config; NaN where one failed, or
        was not trained to its end.
        """
        names = [task.name for task in self.config.tasks]
        table = np.full((*self.scores.shape, len(names), self.config.seeds), np.nan)
        index = {row["id"]: row["idx"] for row in self._proposals}
        for row in self._evaluations:
            whole = row["until"] == row["lifetime"]
            if row["split"] == "search" and whole and row["generation"] < self.n_generations:
                place = row["generation"], index[row["proposal"]], names.index(row["task"]), row["seed"]
                table[place] = row["score"]
        return table

    def curves(
        self,
        split: Split = "report",
        task: str | None = None,
        subject: str | None = None,
        generation: int | None = None,
        field: str = "curve",
    ) -> "Curves":
        """Learning curves, or another quantity over the training, of one task.

        Args:
            split: "search" (proposals), "selection" (means) or "report" (what `evaluate` ran).
            task: its name; by default the first task of the config.
            subject: of the reports, this one's only.
            generation: of the search, only this one's.
            field: "curve", "episodes", "length", or a metric of the trainings, such as "entropy".

        Raises:
            BadInput: none of the trainings has such a field.
        """
        from discovery.results import frames

        wanted = {"task": task or self.config.tasks[0].name, "subject": subject, "generation": generation}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        rows = self._read(split, generation)
        found = [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
        return frames.curves(found, field, self.steps_per_update)

    # Frames

    def frame(self) -> "pd.DataFrame":
        """One row per finished training of the search: what it was, its scores, errors and times."""
        from discovery.results import frames

        return frames.trainings(self._evaluations, self.steps_per_update)

    def proposals_frame(self) -> "pd.DataFrame":
        """One row per proposal (and evaluated mean), with its mean score on each task and its failures."""
        from discovery.results import frames

        return frames.proposals(self._proposals, self._evaluations)

    def generations_frame(self) -> "pd.DataFrame":
        """One row per closed generation: its population's scores, and the state's metrics after it."""
        from discovery.results import frames

        return frames.generations(self._generations, self.scores)

    def reports_frame(self) -> "pd.DataFrame":
        """One row per training of `discovery evaluate`: each access to held-out tasks and seeds."""
        from discovery.results import frames

        return frames.trainings(self._reports, self.steps_per_update)

    # Where programs come from

    @cached_property
    def family_tree(self) -> "FamilyTree":
        """Every program of the closed generations, what it was made from, and each answer of the search."""
        from discovery.results.lineage import family_tree

        closed = (row for row in self._proposals if row["generation"] < self.n_generations)
        return family_tree(closed, self._generations)

    def lineage(self, proposal: str | None = None) -> "tuple[Relative, ...]":
        """A program and its ancestors, parents before children: each with how it was made, its scores and its
        text. `pandas.DataFrame(run.lineage())` is a table of them.

        Args:
            proposal: id of a proposal, such as "g12/p3"; by default, what the search answers with. Empty if
                the answer is what the search began with, and no proposal was.

        Raises:
            BadInput: the run searches no programs, or there is no such proposal with a score.
        """
        tree = self.family_tree
        if not tree.answers:
            raise BadInput(f"run {self.name} has no family tree: {self.config.meta.title} makes no programs")
        if proposal is not None and proposal not in tree.names:
            raise unknown(f"scored proposal of run {self.name}", proposal, tree.names)
        name = tree.answer_after(self.choice.generation).program if proposal is None else tree.names[proposal]
        return tree.ancestry(name) if name else ()

    # What was found

    def answer(self, generation: Generation = None) -> Proposal:
        """The search's answer after a generation; by default after the chosen one."""
        number = self.generation_number(generation)
        with Run.open(self.folder) as run:
            return run.answer(number - 1)

    def meta_params(self, generation: Generation = None) -> dict[str, Any]:
        """The searched entries of `answer`."""
        return self.answer(generation).meta_params

    def program(self, generation: Generation = None) -> "dict[str, Program]":
        """The programs of `answer` by slot: `objectives.programs.text.write` prints them.

        Raises:
            BadInput: the run searches no programs.
        """
        from objectives.programs.code import decode, is_code

        found = {slot: code for slot, code in self.meta_params(generation).items() if is_code(code)}
        if not found:
            raise BadInput(
                f"run {self.name} searches no programs but {self.spec.name!r}; `RunData.meta_params` has "
                "what it found"
            )
        return {slot: decode(slot, code) for slot, code in found.items()}

    def proposal(self, generation: int, index: int) -> Proposal:
        """A proposal; index -1 is the answer before the generation.

        Proposals are not stored. They are regenerated from the stored state with the run's key, and compared
        with the recorded digest, so these are the numbers that were trained.

        Raises:
            BadInput: there is no such proposal.
            LedgerError: the regenerated proposal differs from the recorded one (other versions, or another
                device).
        """
        from discovery.search.regenerate import Regenerator

        rows = [row for row in self._proposals if (row["generation"], row["idx"]) == (generation, index)]
        if not rows:
            raise BadInput(
                f"run {self.name} has no proposal {index} in generation {generation}; "
                "`RunData.proposals_frame` lists those it has"
            )
        with Run.open(self.folder) as run:
            self._regenerator = self._regenerator or Regenerator(run)
            proposal = self._regenerator.proposals(run, generation)[rows[0]["id"]]
        if digest_of(proposal.meta_params) != rows[0]["params_digest"]:
            raise LedgerError(
                f"proposal {rows[0]['id']} of {self.name} comes out different from the one that was trained; "
                "use the device and the versions that `RunData.meta` names"
            )
        return proposal

    def proposal_number(self, proposal: str) -> tuple[int, int]:
        """Generation and index of a proposal by its id: "g12/p3" is (12, 3).

        Raises:
            BadInput: there is no such proposal.
        """
        found = {row["id"]: (row["generation"], row["idx"]) for row in self._proposals}
        if proposal not in found:
            raise unknown(f"proposal of run {self.name}", proposal, found)
        return found[proposal]

    def best_proposal(self) -> str:
        """Id of the proposal with the highest search score, which may be the best or only the luckiest.

        Only whole trainings count. With several tasks, each score is divided by its spread over all
        proposals.

        Raises:
            RunError: no proposal has a score yet.
        """
        table = self.task_scores.mean(axis=-1)
        if not np.isfinite(table).all(axis=-1).any():
            raise RunError(f"run {self.name} has no proposal with a score yet")
        spread = np.nanstd(table, axis=(0, 1))
        merit = (table / np.where(spread > 0, spread, 1.0)).mean(axis=-1)
        generation, index = np.unravel_index(np.nanargmax(merit), merit.shape)
        return next(
            row["id"]
            for row in self._proposals
            if row["split"] == "search" and (row["generation"], row["idx"]) == (generation, index)
        )

    def objective(self, generation: Generation = None, task: str | None = None) -> "Objective":
        """The loss of a generation's mean as a function; by default of the chosen one.

        Args:
            generation: which mean.
            task: the task whose plain numbers it reads (such as PPO's clip range); by default the first.
        """
        from discovery.results.objective import objective_in

        return objective_in(self.learned(generation, task))

    def learned(self, generation: Generation = None, task: str | None = None) -> "Learned":
        """The algorithm of a generation's mean with its numbers; see `objective`."""
        from discovery.results.learned import learned_of

        number, on = self.generation_number(generation), self.config.task(task or self.config.tasks[0].name)
        if (known := self._learned.get((number, on.name))) is not None:
            return known  # what was compiled for it is used again
        found = self.answer(number)
        spec = found.algorithm or self.spec
        learned = learned_of(spec, found.meta_params, on.numbers, self.label(number), on.n_updates)
        return self._learned.setdefault((number, on.name), learned)

    def _read(self, split: Split, generation: int | None = None) -> Rows:
        """Current rows of a split with their outcomes, except those of changed recipes."""
        if split not in ("search", "selection", "report"):
            raise unknown("split", split, ("search", "selection", "report"))
        with Run.open(self.folder) as run:
            rows = run.ledger.reports() if split == "report" else run.ledger.evaluations(generation)
        return [row for row in rows if row["split"] == split and not row.get("variant")]
