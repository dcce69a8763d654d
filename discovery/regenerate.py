"""Proposals, from what is stored of them: the state they were asked from, and the run's seed."""

from typing import Any

from discovery.meta.generation import request_of_mean
from discovery.run import Run
from discovery.search import key_of, meta_optimizer


class Regenerator:
    """Asks a run's meta-optimizer again; made once per run, since its methods compile.

    Args:
        run: open, for its config; not kept.
    """

    def __init__(self, run: Run) -> None:
        self._config = run.config
        self._meta = meta_optimizer(run.config)
        self._template = self._meta.init(key_of(run.config, "init"))
        self._last: tuple[int, dict[str, Any]] | None = None

    def requests(self, run: Run, generation: int) -> dict[str, Any]:
        """Searched entries of a generation's proposals and of its mean, by request id."""
        if self._last is None or self._last[0] != generation:
            state = run.ledger.load_state(generation - 1, self._template)
            asked, _ = self._meta.ask(key_of(self._config, "ask", generation), state)
            # The mean is asked for only where it is due; after the last generation, by the search itself.
            mean = request_of_mean(generation, self._meta.mean(state))
            every = [*(request for request in asked if request.index >= 0), mean]
            self._last = generation, {request.id: request.meta_params for request in every}
        return self._last[1]
