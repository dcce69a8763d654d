"""Batches in flight: proposals that were asked for together, and whose scores were not told yet.

A synchronous search has one batch in flight, the generation. An asynchronous one has several, so that workers
have work while the last trainings of a batch run. States are stored after `tell`, when at most all batches
but one are in flight. So a state has one slot fewer than there are batches, and none in a synchronous search.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int32, PRNGKeyArray, Shaped, UInt32

EMPTY = -1
"""The number in an empty slot."""


class InFlight(NamedTuple):
    """Batches in flight, one per slot; a pytree of arrays with a leading axis of slots.

    Attributes:
        numbers: int32 ``[slots]``, counted from 0 in the order of asking; `EMPTY` for an empty slot.
        keys: uint32 ``[slots, 2]``, data of the key from which each batch was made.
        kept: pytree of ``[slots, ...]``: the data that `tell` and a resumed search need of each batch.
    """

    numbers: Int32[np.ndarray, " slots"]
    keys: UInt32[np.ndarray, "slots 2"]
    kept: Any

    def batches(self) -> list[int]:
        """Numbers of the batches, in order."""
        return sorted(int(number) for number in self.numbers if number != EMPTY)

    def slot(self, number: int) -> int:
        """The slot of a batch."""
        return int(np.flatnonzero(self.numbers == number)[0])

    def of(self, number: int) -> Any:
        """The data kept of a batch."""
        return jax.tree.map(lambda leaf: leaf[self.slot(number)], self.kept)

    def key(self, number: int) -> PRNGKeyArray:
        """The key from which a batch was made."""
        return jax.random.wrap_key_data(jax.numpy.asarray(self.keys[self.slot(number)]))

    def with_batch(self, number: int, key: PRNGKeyArray, kept: Any) -> "InFlight":
        """A copy with one more batch, in the first empty slot or in a new one."""
        empty = np.flatnonzero(self.numbers == EMPTY)
        slot = int(empty[0]) if len(empty) else len(self.numbers)
        batch = InFlight(np.array(number, np.int32), np.asarray(jax.random.key_data(key)), kept)
        return jax.tree.map(lambda leaves, leaf: _placed(leaves, slot, np.asarray(leaf)), self, batch)

    def without(self, number: int, slots: int) -> "InFlight":
        """A copy without a batch, and with `slots` slots."""
        rest = np.flatnonzero((self.numbers != number) & (self.numbers != EMPTY))
        flight = jax.tree.map(lambda leaves: _padded(leaves[rest], slots), self)
        flight.numbers[len(rest) :] = EMPTY
        return flight


def none_in_flight(slots: int, kept: Any) -> InFlight:
    """Empty slots; `kept` is an example of the data kept of a batch."""
    one = InFlight(np.array(0, np.int32), np.zeros(2, np.uint32), kept)
    flight = jax.tree.map(lambda leaf: np.zeros((slots, *np.shape(leaf)), np.asarray(leaf).dtype), one)
    return flight._replace(numbers=np.full(slots, EMPTY, np.int32))


def as_numpy(tree: Any) -> Any:
    """The same pytree with numpy arrays as leaves."""
    return jax.tree.map(np.asarray, jax.device_get(tree))


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
