"""The cost of stale updates in asynchronous search: `python -m benchmarks.staleness [--searches N]`.

Minimizes a quadratic function of 72 variables, with and without noise in the scores, by generations and
asynchronously, with equally many proposals; batches finish in a random order. Nothing is trained. Prints the
score of the answer after 60 generations of 32, with 95% intervals over searches.
"""

import argparse
import random
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.timing import estimate_text
from discovery.core.config.methods import ESConfig, MetaConfig, PBEConfig
from discovery.meta.base import ScoreResult
from discovery.meta.make import make_meta
from discovery.statistics import interval

DIMENSIONS, POPULATION, GENERATIONS = 72, 32, 60
NOISE = 2.0
"""Standard deviation; the scores of the first generation have one of about 1.7."""
ES: dict[str, Any] = {"strategy": "Open_ES", "sigma": 0.1, "learning_rate": 0.02}
WAYS: dict[str, MetaConfig] = {
    "PBE, by generations": PBEConfig(population=POPULATION, sigma=0.2),
    **{
        f"PBE, batches of 4, {flight} in flight": PBEConfig(
            population=POPULATION, asynchronous=True, batch=4, in_flight=flight, sigma=0.2
        )
        for flight in (8, 16, 32, 64)
    },
    "Open_ES, by generations": ESConfig(population=POPULATION, **ES),
    **{
        f"Open_ES, {late} updates late": ESConfig(
            population=POPULATION, asynchronous=True, in_flight=POPULATION * (1 + late), **ES
        )
        for late in (1, 3)
    },
}


def score(x: np.ndarray) -> float:
    """Minus the squared distance from 0.5 in all dimensions; -18 at the start."""
    return -float(np.square(x - 0.5).sum())


def searched(meta: Any, config: MetaConfig, noise: float, seed: int) -> float:
    """The score of a search's answer."""
    order, generator = random.Random(seed), np.random.default_rng(seed)
    state, waiting, number = meta.init(jax.random.key(seed)), [], 0
    total = GENERATIONS * POPULATION // config.batch_size
    for _ in range(total):
        while number < total:
            requests, state = meta.ask(jax.random.fold_in(jax.random.key(seed), number), state)
            if not requests:
                break
            waiting.append(requests)
            number += 1
        in_turn = config.asynchronous and not config.in_batches
        requests = waiting.pop(0 if in_turn else order.randrange(len(waiting)))
        values = {r.id: score(r.proposal.meta_params["x"]) + noise * generator.normal() for r in requests}
        results = {name: ScoreResult(name, {"bowl": np.array([value])}) for name, value in values.items()}
        state = meta.tell(state, results)
    return score(np.asarray(meta.answer(state).meta_params["x"]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.staleness", description=__doc__)
    parser.add_argument("--searches", type=int, default=16)
    options = parser.parse_args()
    table = Table(title=f"after {GENERATIONS} generations of {POPULATION}, {options.searches} searches")
    for head in ("", "exact scores", f"noise of {NOISE:g}"):
        table.add_column(head)
    for name, config in WAYS.items():
        meta = make_meta(config, lambda key: {"x": np.zeros(DIMENSIONS, np.float32)}, {"bowl": None})
        cells = []
        for noise in (0.0, NOISE):
            scores = [searched(meta, config, noise, seed) for seed in range(options.searches)]
            cells.append(estimate_text(interval(scores)))
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
