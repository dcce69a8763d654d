"""Batches in flight: proposals that were asked for together, and whose scores are not told yet.

A search that waits for whole generations has one batch, the generation. One that does not wait has several,
so that there is work while the last of a batch is trained. A state is at rest after `tell`: with room for at
least one batch more, so all slots but one are stored, and none by a search that waits.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int32, PRNGKeyArray, Shaped, UInt32

EMPTY = -1
"""Number of a batch that is none."""


class InFlight(NamedTuple):
    """Batches in flight, a slot each; a pytree of arrays with a leading axis of slots.

    Attributes:
        numbers: int32 ``[slots]``, counted from 0 in the order of asking; `EMPTY` for an empty slot.
        keys: uint32 ``[slots, 2]``, data of the key that each was made with.
        kept: pytree of ``[slots, ...]``: what `tell` and an interrupted search need of each.
    """

    numbers: Int32[np.ndarray, " slots"]
    keys: UInt32[np.ndarray, "slots 2"]
    kept: Any

    def batches(self) -> list[int]:
        """Numbers of the batches, in order."""
        return sorted(int(number) for number in self.numbers if number != EMPTY)

    def slot(self, number: int) -> int:
        """Where a batch is."""
        return int(np.flatnonzero(self.numbers == number)[0])

    def of(self, number: int) -> Any:
        """What was kept of a batch."""
        return jax.tree.map(lambda leaf: leaf[self.slot(number)], self.kept)

    def key(self, number: int) -> PRNGKeyArray:
        """The key that a batch was made with."""
        return jax.random.wrap_key_data(jax.numpy.asarray(self.keys[self.slot(number)]))

    def with_batch(self, number: int, key: PRNGKeyArray, kept: Any) -> "InFlight":
        """The same and one batch more, in the first empty slot or a further one."""
        empty = np.flatnonzero(self.numbers == EMPTY)
        slot = int(empty[0]) if len(empty) else len(self.numbers)
        batch = InFlight(np.array(number, np.int32), np.asarray(jax.random.key_data(key)), kept)
        return jax.tree.map(lambda leaves, leaf: _placed(leaves, slot, np.asarray(leaf)), self, batch)

    def without(self, number: int, slots: int) -> "InFlight":
        """The same without a batch, with `slots` slots."""
        rest = np.flatnonzero((self.numbers != number) & (self.numbers != EMPTY))
        flight = jax.tree.map(lambda leaves: _padded(leaves[rest], slots), self)
        flight.numbers[len(rest) :] = EMPTY
        return flight


def none_in_flight(slots: int, kept: Any) -> InFlight:
    """Empty slots; `kept` is like what is kept of a batch."""
    one = InFlight(np.array(0, np.int32), np.zeros(2, np.uint32), kept)
    flight = jax.tree.map(lambda leaf: np.zeros((slots, *np.shape(leaf)), np.asarray(leaf).dtype), one)
    return flight._replace(numbers=np.full(slots, EMPTY, np.int32))


def _placed(
    leaves: Shaped[np.ndarray, "slots ..."], slot: int, leaf: Shaped[np.ndarray, "..."]
) -> Shaped[np.ndarray, "_ ..."]:
    if slot == len(leaves):
        return np.concatenate([leaves, leaf[None]])
    leaves = leaves.copy()
    leaves[slot] = leaf
    return leaves


def _padded(leaves: Shaped[np.ndarray, "few ..."], slots: int) -> Shaped[np.ndarray, "slots ..."]:
    return np.concatenate([leaves, np.zeros((slots - len(leaves), *leaves.shape[1:]), leaves.dtype)])
