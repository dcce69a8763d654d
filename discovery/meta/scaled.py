"""Searched entries of different magnitudes: the method sees each entry divided by its scale.

For example, a drift's weights are of size 1 and an optimizer's weights of size 0.01, so no single sigma suits
both. With ``scales = {"optimizer": 0.1}`` sigma and the learning rate are ten times smaller for the entry
"optimizer", for every method.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from discovery.core.errors import unknown
from discovery.meta.base import MetaOptimizer, Proposal, ReplyRequest, Request

Init = Callable[[PRNGKeyArray], Any]


def scaled(make: Callable[[Init], MetaOptimizer], init: Init, scales: Mapping[str, float]) -> MetaOptimizer:
    """The method that `make` makes, with entries in units of `scales`, also in its states.

    Args:
        make: builds the method from an initializer of the mean.
        init: ``key -> {entry: tree}``, in plain units.
        scales: scale of each entry; 1 if not given.

    Raises:
        BadInput: there is no such entry.
    """
    entries = jax.eval_shape(init, jax.random.key(0))
    for name in scales:
        if name not in entries:
            raise unknown("searched entry in meta.scales", name, entries)

    def plain(mean: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _multiplied(tree, scales.get(name, 1.0)) for name, tree in mean.items()}

    inner = make(
        lambda key: {name: _multiplied(t, 1.0 / scales.get(name, 1.0)) for name, t in init(key).items()}
    )

    def rescaled(proposal: Proposal) -> Proposal:
        return replace(proposal, meta_params=plain(proposal.meta_params))

    def in_plain_units(requests: Sequence[Request]) -> list[Request]:
        return [
            r if isinstance(r, ReplyRequest) else replace(r, proposal=rescaled(r.proposal)) for r in requests
        ]

    def ask(key: PRNGKeyArray, state: Any) -> tuple[list[Request], Any]:
        requests, state = inner.ask(key, state)
        return in_plain_units(requests), state

    return inner._replace(
        ask=ask,
        answer=lambda state: rescaled(inner.answer(state)),
        in_flight=lambda state: [in_plain_units(requests) for requests in inner.in_flight(state)],
    )


def _multiplied(tree: Any, factor: float) -> Any:
    return jax.tree.map(lambda x: x * factor, tree) if factor != 1.0 else tree
