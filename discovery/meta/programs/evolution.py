"""Search over programs by evolution: ageing populations on islands, whose best are scored again and again.

    meta = make_programs(ProgramsConfig(population=32), init, references, generations=100)

Each proposal is a new program, made by mutation or crossover of winners of tournaments, or one of the best
programs again, on the seeds of the new generation. The oldest program of an island leaves it, however good it
is; the best of those that were scored again are kept aside, and one of them is the answer. At the end, the
constants of the best are tuned (`tuning`), and parts that do not help are removed (`simplification`).

A program that computes the same as an earlier one is not trained (`records.Seen`). What is refused, and why,
is counted.

Sources: regularized evolution, Real et al. 2019, arXiv 1802.01548, algorithm 1; duplicates by behavior,
Co-Reyes et al. 2021, arXiv 2101.03958, section 3.2.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int64, PRNGKeyArray

from discovery.core.config.programs import ProgramsConfig
from discovery.core.errors import BadInput
from discovery.meta.base import MetaOptimizer, Proposal, RequestId, ScoreRequest
from discovery.meta.generation import asked_for, batches_of, check_references, places_of
from discovery.meta.in_flight import InFlight, as_numpy, none_in_flight
from discovery.meta.programs.asked import ROLES, Asked, Batch, empty_asked
from discovery.meta.programs.genome import Breeding, Genome, Vetted, sizes_in
from discovery.meta.programs.records import (
    EMPTY,
    Records,
    Seen,
    empty_records,
    fill_hall,
    merit_of,
    nothing_seen,
)
from discovery.meta.programs.simplification import Contest, no_contest, simpler
from discovery.meta.programs.tuning import Tuning, n_constants, nothing_tuned, with_factors
from objectives.programs.graph import ProgramError

KEPT = 16
"""Best programs that are kept whatever their age."""
REMEMBERED = 4096
"""Behaviors that are remembered."""
TRIES = 50
"""Attempts at a program that is neither refused nor a duplicate, before any program is taken."""
REFUSALS = ("size", "type", "cost", "path", "probe", "condition", "duplicate")
"""Kinds of refusals that are counted."""


class ProgramState(NamedTuple):
    """The state of a search: a pytree of numpy arrays and plain integers.

    Attributes:
        told: number of batches that were told.
        children: number of new programs that were asked for; they are dealt to the islands in turn.
        records: programs that may be parents, and at the end the best ones.
        seen: behaviors that were trained.
        flight: batches that were asked for and not told, each with its `Asked`.
        tuning: of constants.
        contest: of simpler programs.
        refused: int64 ``[kinds]``, programs that were refused, by `REFUSALS`.
        failed: proposals of the last batch with a failed training.
        fallen: float64 ``[2]``: how much lower programs scored when they were scored again, in standard
            deviations between programs, as a sum; and the number of such scores.
    """

    told: int
    children: int
    records: Records
    seen: Seen
    flight: InFlight
    tuning: Tuning
    contest: Contest
    refused: Int64[np.ndarray, " kinds"]
    failed: int
    fallen: Float[np.ndarray, " 2"]


def make_programs(
    config: ProgramsConfig,
    init: Callable[[PRNGKeyArray], Any],
    references: Mapping[str, float | None],
    generations: int,
    reductions: int = 0,
) -> MetaOptimizer:
    """A `MetaOptimizer` that searches over programs.

    Args:
        config: its numbers.
        init: ``key -> meta_params``; entries that are code arrays are programs, the others a network.
        references: reference return of each meta-training task, by the task's name.
        generations: of the whole search; the last ones tune and simplify.
        reductions: most reductions over the minibatch in a program.

    Raises:
        BadInput: no entry is a program, or the phases take more generations than there are.
    """
    return _Evolution(config, init, references, generations, reductions).meta_optimizer()


class _Evolution:
    """The functions of the search; it has no state of its own."""

    def __init__(
        self,
        config: ProgramsConfig,
        init: Callable[[PRNGKeyArray], Any],
        references: Mapping[str, float | None],
        generations: int,
        reductions: int,
    ) -> None:
        self.config = config = config.resolved()
        self.references, self.init = dict(references), init
        check_references(config, self.references)
        template = as_numpy(init(jax.random.key(0)))
        sizes = sizes_in(template, reductions)
        if not sizes:
            raise BadInput(
                "method 'programs' searches over programs, and no searched entry is one; use the family "
                "'programs' (--algorithm programs), or another method for this one (--meta.method es)"
            )
        self.breeding = Breeding(template, sizes, config.most_cost, config.sigma)
        self.tuning_at, self.simplify_at = config.phases(generations)
        if config.variation == "random":  # nothing but the best of N
            self.tuning_at = self.simplify_at = generations
        cost = sum(one.cost for one in self.breeding.genome(template).programs.values())
        if cost > config.most_cost:
            raise BadInput(
                f"the search begins with programs that cost {cost:.0f} additions, more than "
                f"meta.most_cost = {config.most_cost:.0f}; raise it, or choose another start"
            )
        tuned = config.batch_size - round(config.rescored * config.batch_size) - config.survivors
        self.samples = max(2, tuned // config.survivors)
        self.members = config.members // config.islands * config.islands

    def meta_optimizer(self) -> MetaOptimizer:
        return MetaOptimizer(self.start, self.ask, self.tell, self.answer, self.metrics, self.in_flight)

    # The contract

    def start(self, key: PRNGKeyArray) -> ProgramState:
        genes = as_numpy(self.init(key))
        tasks, constants = len(self.references), sum(size.constants for size in self.breeding.sizes.values())
        records = empty_records(self.members + KEPT, genes, tasks)
        flight = none_in_flight(
            self.config.batches_in_flight - 1, empty_asked(self.config.batch_size, genes, constants)
        )
        return ProgramState(
            told=0,
            children=0,
            records=records,
            seen=nothing_seen(REMEMBERED),
            flight=flight,
            tuning=self._nothing_tuned(),
            contest=no_contest(genes, tasks),
            refused=np.zeros(len(REFUSALS), np.int64),
            failed=0,
            fallen=np.zeros(2),
        )

    def _nothing_tuned(self) -> Tuning:
        constants = sum(size.constants for size in self.breeding.sizes.values())
        return nothing_tuned(self.config.survivors, constants, self.samples, len(self.references))

    def ask(self, key: PRNGKeyArray, state: ProgramState) -> tuple[list[ScoreRequest], ProgramState]:
        if len(state.flight.batches()) >= self.config.batches_in_flight:
            return [], state
        number = asked_for(state)
        state = jax.tree.map(_copied, state)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        batch = Batch(number * self.config.batch_size, self.breeding)
        generation = places_of(self.config, number)[0][0]
        if generation >= self.simplify_at:
            state = self._ask_for_simpler(state, batch, rng)
        else:
            state.contest.born[:] = -1
            self._ask_again(state, batch)
            if generation >= self.tuning_at:
                state = self._ask_for_tuned(state, batch, rng)
            else:
                state.tuning.born[:] = -1
        children = self._ask_for_children(state, batch, rng)
        asked = batch.asked(self.config.batch_size)
        flight = state.flight.with_batch(number, key, asked)
        state = state._replace(flight=flight, children=children)
        return self._requests(number, asked), state

    def tell(self, state: ProgramState, results: Mapping[Any, Any]) -> ProgramState:
        for number, scores in batches_of(self.config, state, results):
            asked: Asked = state.flight.of(number)
            state = jax.tree.map(_copied, state)
            table = np.stack([scores[task] for task in self.references], axis=1)
            self._take(state, number, asked, table)
            fill_hall(state.records, self._merit(state), KEPT)
            every = self.config.migration_every * self.config.population
            done = (int(state.told) + 1) * self.config.batch_size
            if every and done % every == 0:
                self._migrate(state, done)
            state = state._replace(
                told=int(state.told) + 1,
                flight=state.flight.without(number, self.config.batches_in_flight - 1),
                failed=int((~np.isfinite(table)).any(axis=(1, 2)).sum()),
            )
        return state

    def answer(self, state: ProgramState) -> Proposal:
        if state.contest.begun:
            row = state.contest.answer
            genes, born = state.contest.genes_of(row), int(state.contest.born[row])
            operator = "simplest of equals" if row else "best"
        elif (born := int(state.records.born[self.members])) != EMPTY:
            genes, operator = state.records.genes_of(self.members), "best"
        else:
            genes, operator = self.breeding.template, "start"
        parents = () if born < 0 else (self._name(born),)
        return Proposal(genes, None, parents, operator, self.breeding.genome(genes).source)

    def in_flight(self, state: ProgramState) -> list[list[ScoreRequest]]:
        return [self._requests(number, state.flight.of(number)) for number in state.flight.batches()]

    def metrics(self, state: ProgramState) -> dict[str, float]:
        records, best = state.records, self.members
        alive, known = records.sound[:best], records.born[best] != EMPTY
        return {
            "programs_alive": float(alive.sum()),
            "complexity": float(records.complexity[:best][alive].mean()) if alive.any() else 0.0,
            "complexity_of_best": float(records.complexity[best]) if known else 0.0,
            "scorings_of_best": float(records.scorings[best]) if known else 0.0,
            "fall_when_scored_again": float(state.fallen[0] / max(state.fallen[1], 1)),
            "failed_proposals": float(state.failed),
            **{f"refused_{kind}": float(n) for kind, n in zip(REFUSALS, state.refused, strict=True)},
        }

    # Asking

    def _ask_again(self, state: ProgramState, batch: Batch) -> None:
        """The best programs that were not scored often enough."""
        waiting = set(_targets(state, "again"))
        records, merit = state.records, self._merit(state)
        share, end = self.config.rescored, batch.first + self.config.batch_size
        most = int(share * end) - int(share * batch.first)
        for row in np.argsort(-merit, kind="stable"):
            born = int(records.born[row])
            if len(batch) >= most or not np.isfinite(merit[row]):
                return
            if records.scorings[row] < self.config.scorings and born not in waiting:
                waiting.add(born)
                batch.add("again", self._record(state, row), "scored again", (born,), target=born)

    def _ask_for_children(self, state: ProgramState, batch: Batch, rng: np.random.Generator) -> int:
        """New programs, in what is left of the batch; first of all the founders.

        Returns how many new programs were asked for so far.
        """
        merit, children = self._merit(state), int(state.children)
        for operator, founder in self.founders:
            if len(batch) < self.config.batch_size and not (state.seen.behavior == founder.behavior).any():
                state.seen.add(founder.behavior)
                batch.add("child", founder, operator, (), target=children % self.config.islands)
                children += 1
        while len(batch) < self.config.batch_size:
            island = children % self.config.islands
            vetted, operator, parents = self._child(state, batch.first, merit, island, rng)
            batch.add("child", vetted, operator, parents, target=island)
            children += 1
        return children

    @functools.cached_property
    def founders(self) -> list[tuple[str, Vetted]]:
        """The first programs, each with its operator. Their behaviors differ, so the number of a founder's
        proposal is its place.
        """
        start = self.breeding.genome(self.breeding.template)
        if self.config.variation == "random" or self.config.begin == "nothing":
            return []
        known = [("known", one) for one in self.breeding.known(start)] if self.config.begin == "known" else []
        found = [("start", self.breeding.vetted(start)), *known]
        return list({int(one.behavior): (name, one) for name, one in reversed(found)}.values())[::-1]

    @functools.cached_property
    def donors(self) -> list[Genome]:
        """Programs of which parts are grafted: only known ones, if the search may begin with them."""
        return [one.genome for _, one in self.founders] if self.config.begin == "known" else []

    def _child(
        self,
        state: ProgramState,
        first: int,
        merit: Float[np.ndarray, " M"],
        island: int,
        rng: np.random.Generator,
    ) -> tuple[Vetted, str, tuple[int, ...]]:
        """A program that is neither refused nor a duplicate, its operator and its parents."""
        base = self.breeding.genome(self.breeding.template)
        begins = self.config.begin == "nothing" and first < self.members
        from_nothing = begins or self.config.variation == "random"
        for attempt in range(2 * TRIES):
            parent = self._winner(state, merit, island, rng)
            mate = self._winner(state, merit, island, rng) if self.config.variation == "evolution" else None
            parents: tuple[int, ...] = ()
            if from_nothing or attempt >= TRIES or (parent is None and not self.founders):
                genome, operator = self.breeding.fresh(rng, base), "fresh"
            else:
                mates = [] if mate is None else [self._genome(state, mate)]
                if parent is None:
                    founder = int(rng.integers(len(self.founders)))
                    chosen, parents = self.founders[founder][1].genome, (founder,)
                else:
                    chosen, parents = self._genome(state, parent), (int(state.records.born[parent]),)
                genome, operator = self.breeding.varied(chosen, rng, self.donors, mates)
                if operator == "crossover" and mate is not None:
                    parents += (int(state.records.born[mate]),)
            try:
                vetted = self.breeding.vetted(genome)
            except ProgramError as error:
                state.refused[REFUSALS.index(error.kind)] += 1
                continue
            if not state.seen.is_duplicate(vetted.behavior):
                state.seen.add(vetted.behavior)
                return vetted, operator, parents
            state.refused[REFUSALS.index("duplicate")] += 1
            self._prefer_simpler(state, vetted)
        return self.breeding.vetted(base), "start", ()

    def _prefer_simpler(self, state: ProgramState, vetted: Vetted) -> None:
        """A simpler program that computes the same takes over the scores."""
        records = state.records
        for row in np.flatnonzero((records.behavior == vetted.behavior) & (records.born != EMPTY)):
            tuned = (state.tuning.born == records.born[row]).any()
            if vetted.genome.complexity < records.complexity[row] and not tuned:
                genes = self.breeding.meta_params(vetted.genome)
                jax.tree.map(lambda leaf, value, row=row: leaf.__setitem__(row, value), records.genes, genes)
                records.complexity[row] = vetted.genome.complexity

    def _winner(
        self, state: ProgramState, merit: Float[np.ndarray, " M"], island: int, rng: np.random.Generator
    ) -> int | None:
        """The winner of a tournament on an island: a row, or None while there is no program."""
        rows = np.flatnonzero(state.records.sound & (state.records.island == island))
        if not len(rows):
            return None
        assert self.config.tournament is not None, "the config must be resolved"
        rivals = rng.choice(rows, self.config.tournament)
        return int(rivals[np.argmax(merit[rivals])])

    def _ask_for_tuned(self, state: ProgramState, batch: Batch, rng: np.random.Generator) -> ProgramState:
        """Tuned programs, and samples of constants around them."""
        tuning, records = state.tuning, state.records
        if (tuning.born < 0).all():
            blank = self._nothing_tuned()
            state = state._replace(tuning=(tuning := blank))
            hall = range(self.members, len(records.born))
            best = [r for r in hall if records.born[r] != EMPTY and n_constants(self._genome(state, r))]
            for survivor, row in enumerate(best[: self.config.survivors]):
                tuning.born[survivor] = records.born[row]
        survivors = np.flatnonzero(tuning.born >= 0)
        rows = {s: np.flatnonzero(records.born == tuning.born[s]) for s in survivors}
        for survivor, found in rows.items():
            born = int(tuning.born[survivor])
            if len(found) == 0:  # it left the hall
                tuning.born[survivor] = -2
                continue
            genome = self._genome(state, int(found[0]))
            mean = tuning.mean[survivor]
            if tuning.announced[survivor] < tuning.updates[survivor] and len(batch) < self.config.batch_size:
                tuning.announced[survivor] = tuning.updates[survivor]
                self._add_vetted(state, batch, with_factors(genome, mean), "tuned constants", born)
        waiting = _targets(state, "constants")
        open_ones = [s for s in np.flatnonzero(tuning.born >= 0)]
        for turn in range(self.samples * len(open_ones)):
            survivor = int(open_ones[turn % len(open_ones)])
            in_flight = waiting.count(survivor) + int(tuning.counted[survivor])
            if len(batch) >= self.config.batch_size or in_flight >= self.samples:
                continue
            genome = self._genome(state, int(np.flatnonzero(records.born == tuning.born[survivor])[0]))
            noise = rng.normal(size=tuning.mean.shape[1])
            logs = tuning.mean[survivor] + tuning.sigma(survivor) * noise
            try:
                vetted = self.breeding.vetted(with_factors(genome, logs))
            except ProgramError:
                continue
            waiting.append(survivor)
            batch.add(
                "constants", vetted, "constants", (int(tuning.born[survivor]),), target=survivor, noise=noise
            )
        return state

    def _add_vetted(
        self, state: ProgramState, batch: Batch, genome: Genome, operator: str, born: int
    ) -> None:
        """A child of the program `born`, unless it is refused or a duplicate."""
        try:
            vetted = self.breeding.vetted(genome)
        except ProgramError:
            return
        if not state.seen.is_duplicate(vetted.behavior):
            state.seen.add(vetted.behavior)
            batch.add("child", vetted, operator, (born,), target=born % self.config.islands)

    def _ask_for_simpler(self, state: ProgramState, batch: Batch, rng: np.random.Generator) -> ProgramState:
        """The reference, candidates again, and new candidates."""
        contest = state.contest
        if not contest.begun:
            contest = self._new_contest(state, batch)
            state = state._replace(contest=contest)
        reference = int(contest.born[0])
        batch.add("candidate", self._candidate(contest, 0), "reference", (reference,), target=0)
        left = self.config.batch_size - len(batch)
        again = [row for row in contest.order() if contest.scorings[row] < self.config.scorings]
        again = [row for row in again if row not in set(_targets(state, "candidate"))]
        base = self._candidate(contest, contest.answer).genome
        tries = simpler(base, rng, self.breeding.sizes)
        fresh = min(left, max(left // 2, left - len(again)))
        for _ in range(4 * TRIES):
            if fresh == 0 or (row := contest.free_row()) is None:
                break
            try:
                vetted = self.breeding.vetted(next(tries))
            except ProgramError:
                continue
            if vetted.genome.complexity >= base.complexity:
                continue
            equal = np.flatnonzero((contest.behavior == vetted.behavior) & (contest.born >= 0))
            if len(equal):
                genes, complexity = self.breeding.meta_params(vetted.genome), vetted.genome.complexity
                contest.simplify(int(equal[0]), genes, complexity)
                base = self._candidate(contest, contest.answer).genome
                tries = simpler(base, rng, self.breeding.sizes)
                continue
            number = batch.first + len(batch)
            genes = self.breeding.meta_params(vetted.genome)
            contest.put(row, genes, number, vetted.behavior, vetted.genome.complexity)
            batch.add("candidate", vetted, "removal", (int(contest.born[contest.answer]),), target=row)
            fresh -= 1
        for row in again[: self.config.batch_size - len(batch)]:
            born = int(contest.born[row])
            batch.add("candidate", self._candidate(contest, row), "scored again", (born,), target=row)
        return state

    def _new_contest(self, state: ProgramState, batch: Batch) -> Contest:
        """A contest whose reference is the answer so far."""
        records = state.records
        contest = no_contest(self.breeding.template, len(self.references))
        row = self.members
        if records.born[row] == EMPTY:
            vetted, born = self.breeding.vetted(self.breeding.genome(self.breeding.template)), batch.first
        else:
            vetted, born = self._record(state, row), int(records.born[row])
        genes = self.breeding.meta_params(vetted.genome)
        contest.put(0, genes, born, vetted.behavior, vetted.genome.complexity)
        if records.sound.any():
            spread = records.means[records.sound].std(axis=0)
            contest.scale[:] = np.where(spread > 0, spread, 1.0)
        return contest

    # Telling

    def _take(
        self, state: ProgramState, number: int, asked: Asked, table: Float[np.ndarray, "B T S"]
    ) -> None:
        """Take the scores of a batch."""
        reference = next(
            (
                table[lane]
                for lane in range(len(table))
                if asked.is_a("candidate", lane) and asked.target[lane] == 0
            ),
            None,
        )
        spread = self._spread(state)
        for lane, scores in enumerate(table):
            target = int(asked.target[lane])
            if asked.is_a("child", lane):
                self._enter(state, number * self.config.batch_size + lane, asked, lane, scores)
            elif asked.is_a("again", lane):
                self._note_fall(state, target, scores, spread)
                state.records.add_scores(target, scores)
            elif asked.is_a("constants", lane) and state.tuning.born[target] >= 0:
                means = scores.mean(axis=1)
                assert self.config.task_normalization is not None, "the config must be resolved"
                state.tuning.add(
                    target, asked.noise[lane], means, self.config.task_normalization, self.references
                )
            elif asked.is_a("candidate", lane) and target > 0 and reference is not None:
                still_there = state.contest.behavior[target] == asked.behavior[lane]
                if still_there:
                    state.contest.add(target, scores, reference)

    def _enter(
        self, state: ProgramState, born: int, asked: Asked, lane: int, scores: Float[np.ndarray, "T S"]
    ) -> None:
        """Let a new program into its island, in place of the oldest one; unless a training failed."""
        if not np.isfinite(scores).all():
            return
        row = self._oldest(state.records, int(asked.target[lane]))
        state.records.put(
            row,
            asked.genes_of(lane),
            born=born,
            entered=born,
            island=asked.target[lane],
            behavior=asked.behavior[lane],
            complexity=asked.complexity[lane],
            scorings=1,
            seeds=scores.shape[1],
            sums=scores.sum(axis=1),
            squares=(scores**2).sum(axis=1),
        )

    def _oldest(self, records: Records, island: int) -> int:
        """The row that the next program of an island gets: an empty one, or that of the oldest program."""
        size = self.members // self.config.islands
        rows = np.arange(island * size, (island + 1) * size)
        ages = np.where(records.born[rows] == EMPTY, -1, records.entered[rows])
        return int(rows[np.argmin(ages)])

    def _migrate(self, state: ProgramState, now: int) -> None:
        """The best program of each island that was scored again joins the next island too."""
        records, merit = state.records, self._merit(state)
        best = []
        for island in range(self.config.islands):
            rows = np.flatnonzero((records.island == island) & (records.scorings > 1) & records.sound)
            best.append(int(rows[np.argmax(merit[rows])]) if len(rows) else None)
        before = jax.tree.map(np.copy, records)
        for island, row in enumerate(best):
            target = (island + 1) % self.config.islands
            there = (before.island == target) & (before.born == before.born[row]) if row is not None else None
            if row is not None and target != island and not np.any(there):
                records.copy_row(row, self._oldest(records, target), before, island=target, entered=now)

    def _note_fall(
        self,
        state: ProgramState,
        born: int,
        scores: Float[np.ndarray, "T S"],
        spread: Float[np.ndarray, " T"],
    ) -> None:
        """Note how much lower a program scores than at first, when it is scored again for the first time."""
        rows = np.flatnonzero(state.records.born == born)
        if len(rows) and state.records.scorings[rows[0]] == 1 and np.isfinite(scores).all():
            fall = (state.records.means[rows[0]] - scores.mean(axis=1)) / spread
            state.fallen[:] += (fall.mean(), 1.0)

    # Reading the state

    def _merit(self, state: ProgramState) -> Float[np.ndarray, " M"]:
        assert self.config.task_normalization is not None, "the config must be resolved"
        return merit_of(state.records, self.config.task_normalization, self.references)

    def _spread(self, state: ProgramState) -> Float[np.ndarray, " T"]:
        """Standard deviation between programs on each task; 1 where there is none."""
        sound = state.records.sound
        spread = state.records.means[sound].std(axis=0) if sound.any() else np.zeros(len(self.references))
        return np.where(spread > 0, spread, 1.0)

    def _genome(self, state: ProgramState, row: int) -> Genome:
        return self.breeding.genome(state.records.genes_of(row))

    def _record(self, state: ProgramState, row: int) -> Vetted:
        return Vetted(self._genome(state, row), state.records.behavior[row])

    def _candidate(self, contest: Contest, row: int) -> Vetted:
        return Vetted(self.breeding.genome(contest.genes_of(row)), contest.behavior[row])

    def _name(self, born: int) -> str:
        """The id of the proposal with this number."""
        return str(RequestId(*divmod(born, self.config.population)))

    def _requests(self, number: int, asked: Asked) -> list[ScoreRequest]:
        """The requests of a batch."""
        places = places_of(self.config, number)
        return [
            ScoreRequest(RequestId(*place), asked.proposal(lane, self.breeding, self._name))
            for lane, place in enumerate(places)
        ]


def _targets(state: ProgramState, role: str) -> list[int]:
    """Targets of the proposals in flight that have a role."""
    found: list[int] = []
    for number in state.flight.batches():
        asked: Asked = state.flight.of(number)
        found += [int(t) for t, r in zip(asked.target, asked.role, strict=True) if ROLES[r] == role]
    return found


def _copied(leaf: Any) -> Any:
    return np.copy(leaf) if isinstance(leaf, np.ndarray) else leaf
