"""Fitting one searched entry of a family to another algorithm's answers: distillation, with its error."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from discovery.results.distillation.lessons import small_agent
from objectives.base import Algorithm, MetaParams
from objectives.family import Lesson

HELD_OUT = 16
"""Sets of inputs that errors are measured on; none is trained on."""

NO_ERROR = 1e-6
"""A student with a smaller error is not trained."""

SMALL = 0.1
"""Standard deviation of the numbers that first replace tensors of zeros, where the gradient may vanish."""


class Imitation(NamedTuple):
    """What a student learned.

    Attributes:
        numbers: the entry's.
        error: remaining error on unseen inputs: the root of the mean over kinds of answers of
            E[(student - teacher)^2] / E[teacher^2].
        before: the same before the first step.
    """

    numbers: Any
    error: float
    before: float


def imitate(
    lesson: Lesson,
    entry: str,
    student: tuple[Algorithm, MetaParams],
    teacher: tuple[Algorithm, MetaParams],
    key: PRNGKeyArray,
    steps: int,
) -> Imitation:
    """Fit ``student[1][entry]`` to the teacher's answers, by `steps` of Adam on fresh inputs each.

    Both `meta_params` are complete: searched entries and plain numbers. If the error grows, the entry is left
    unchanged.
    """
    algorithm, meta_params = student
    key_start, key_learn, key_test = jax.random.split(key, 3)
    numbers = jax.tree.map(jnp.asarray, meta_params[entry])
    rest = {name: value for name, value in meta_params.items() if name != entry}
    difference = partial(_difference, lesson, entry, algorithm, teacher[0])
    before = _error(difference, numbers, rest, teacher[1], key_test)
    if before < NO_ERROR or steps < 1:
        return Imitation(numbers, before, before)
    schedule = optax.cosine_decay_schedule(lesson.learning_rate, steps)
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    learned = _learned(
        difference, adam, _stirred(key_start, numbers), rest, teacher[1], jax.random.split(key_learn, steps)
    )
    after = _error(difference, learned, rest, teacher[1], key_test)
    return Imitation(learned, after, before) if after < before else Imitation(numbers, before, before)


def _difference(
    lesson: Lesson,
    entry: str,
    student: Algorithm,
    teacher: Algorithm,
    numbers: Any,
    rest: MetaParams,
    told: MetaParams,
    key: PRNGKeyArray,
) -> tuple[Float[Array, " K"], Float[Array, " K"]]:
    """Mean squares of the answers' differences, and of the teacher's answers, by kind."""
    right = lesson.answers(teacher, told, key, small_agent())
    given = lesson.answers(student, {**rest, entry: numbers}, key, small_agent())
    along = tuple(range(1, right.ndim))
    return jnp.square(given - right).mean(along), jnp.square(right).mean(along)


@partial(jax.jit, static_argnums=(0, 1))
def _learned(
    difference: Any, adam: Any, numbers: Any, rest: MetaParams, told: MetaParams, keys: PRNGKeyArray
) -> Any:
    def loss(numbers: Any, key: PRNGKeyArray) -> Array:
        wrong, scale = difference(numbers, rest, told, key)
        return (wrong / (scale + 1e-20)).mean()

    def step(carry: tuple[Any, Any], key: PRNGKeyArray) -> tuple[tuple[Any, Any], None]:
        numbers, state = carry
        gradient = jax.tree.map(jnp.nan_to_num, jax.grad(loss)(numbers, key))
        updates, state = adam.update(gradient, state)
        return (optax.apply_updates(numbers, updates), state), None

    (numbers, _), _ = jax.lax.scan(step, (numbers, adam.init(numbers)), keys)
    return numbers


def _error(difference: Any, numbers: Any, rest: MetaParams, told: MetaParams, key: PRNGKeyArray) -> float:
    every = jax.jit(lambda keys: jax.lax.map(lambda k: difference(numbers, rest, told, k), keys))
    wrong, scale = every(jax.random.split(key, HELD_OUT))
    return float(jnp.sqrt((wrong.mean(0) / (scale.mean(0) + 1e-20)).mean()))


def _stirred(key: PRNGKeyArray, tree: Mapping[str, Any]) -> Any:
    """The tree with tensors of zeros replaced by small random numbers."""
    leaves, treedef = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, leaf.shape) * SMALL for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(
        treedef, [jnp.where((x == 0).all(), e, x) for x, e in zip(leaves, drawn, strict=True)]
    )
