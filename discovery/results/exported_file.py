"""An exported file as an algorithm: to judge it as it is, beside everything else.

The file is Python, and it is run: a user who names it as a subject names a module (ADR 6). Its digest is part
of that name, so that a worker runs what the user named and nothing else. A run's config cannot name one as
its algorithm (`core.config.search` refuses it), so that none is run to list, show or resume a run.

How a loss wants its advantages, and whether it needs to know how far the training is, the file declares
itself. All other numbers come from the task, as for a known algorithm, PPO's where it has none. Constants of
the file (CLIP, ETA, weights) stay the file's.
"""

import hashlib
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from discovery.core.errors import BadInput, one_line
from objectives.base import Algorithm, MetaParams, Outputs, PolicyLoss, Progress
from objectives.distributions import Discrete
from objectives.learned_optimizers.open import ppo_with
from objectives.mirror_map.algorithm import fitted_at, fitted_scores
from objectives.parts import actor_critic, nothing_to_search

_LOSS = ("NORMALIZED_ADVANTAGE", "NEEDS_PROGRESS")
ENTRIES = {
    "policy_loss": ("policy loss", _LOSS),
    "score_loss": ("mirror map", ("policy", *_LOSS)),
    "optimizer": ("learned optimizer", ()),
}
"""The function that files of a kind define, and no others, to the kind's name and what else they define."""


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        BadInput: it cannot be read.
    """
    return hashlib.sha256(_content(path)).hexdigest()


def from_file(path: str, digest: str, optimizer: str = "adam") -> Algorithm:
    """What a file holds that `discovery export` wrote, as an algorithm: around a policy loss, the usual
    actor-critic; a mirror map's policy and loss of its scores; PPO with a learned optimizer.

    The file is run in this process: judge none that you would not import.

    Args:
        path: the file.
        digest: its `file_digest`, so that trainings of another content are never taken for these.
        optimizer: of the actor-critic, a name in `objectives.parts.OPTIMIZERS`.

    Raises:
        BadInput: the file cannot be read, has changed, raises, or is no exported file; or it is no policy
            loss and yet another optimizer is asked for.
    """
    module = _module(Path(path), digest)
    entry = next((entry for entry in ENTRIES if hasattr(module, entry)), None)
    if entry is None:
        raise BadInput(
            f"{path} is no exported file: it defines none of {', '.join(ENTRIES)}; "
            "`discovery export RUN --out FILE` writes one"
        )
    kind, declared = ENTRIES[entry]
    if missing := [name for name in declared if not hasattr(module, name)]:
        raise BadInput(f"{path} is no exported {kind}: it does not define {', '.join(missing)}")
    if entry != "policy_loss" and optimizer != "adam":
        raise BadInput(f"{path} is an exported {kind}, for which there is no option optimizer")
    try:
        if entry == "policy_loss":
            return _with_policy_loss(module, Path(path).stem, optimizer)
        if entry == "score_loss":
            return _with_mirror_map(module, Path(path).stem)
        return _with_optimizer(module, Path(path).stem)
    except Exception as error:
        raise BadInput(f"{entry} of {path} cannot be called: {one_line(error)}") from error


def _with_policy_loss(module: ModuleType, name: str, optimizer: str) -> Algorithm:
    temporal = bool(module.NEEDS_PROGRESS)

    def per_sample(
        meta_params: MetaParams, log_prob: Array, old_log_prob: Array, advantage: Array, progress: Progress
    ) -> Array:
        needed = {"fraction": progress.fraction} if temporal else {}
        return module.policy_loss(log_prob, old_log_prob, advantage, **needed)

    jax.eval_shape(per_sample, {}, *[jnp.zeros(2)] * 3, Progress(0, 1))
    loss = PolicyLoss(per_sample, bool(module.NORMALIZED_ADVANTAGE))
    return actor_critic(name, loss, optimizer=optimizer)


def _with_mirror_map(module: ModuleType, name: str) -> Algorithm:
    temporal = bool(module.NEEDS_PROGRESS)

    def needed(progress: Progress) -> dict[str, Array]:
        return {"fraction": progress.fraction} if temporal else {}

    def distribution(meta_params: MetaParams, outputs: Outputs, progress: Progress) -> Discrete:
        return Discrete(module.policy(outputs["scores"], **needed(fitted_at(progress))))

    def score_loss(
        meta_params: MetaParams,
        scores: Array,
        action: Array,
        old_log_prob: Array,
        advantage: Array,
        progress: Progress,
    ) -> Array:
        return module.score_loss(scores, action, old_log_prob, advantage, **needed(progress))

    scores, column, now = jnp.zeros((2, 3)), jnp.zeros(2), Progress(0, 1)
    jax.eval_shape(distribution, {}, {"scores": scores}, now)
    jax.eval_shape(score_loss, {}, scores, jnp.zeros(2, int), column, column, now)
    return fitted_scores(name, distribution, score_loss)


def _with_optimizer(module: ModuleType, name: str) -> Algorithm:
    def optimizer(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
        return module.optimizer()  # how far the training is, and the rest, it is told at every update

    jax.eval_shape(module.optimizer().init, {"actor": {"kernel": jnp.zeros((2, 2))}})
    return ppo_with(name, optimizer, nothing_to_search, {})


def _content(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"exported file {path} cannot be read: {error.strerror}") from error


def _module(path: Path, digest: str) -> ModuleType:
    """The file's names. It is compiled from its text: what Python caches beside it may be of an older one."""
    source = _content(path)
    if hashlib.sha256(source).hexdigest() != digest:
        raise BadInput(f"{path} has changed since it was named; name it again")
    module = ModuleType(f"exported_{digest[:12]}")
    module.__file__ = str(path)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except Exception as error:
        raise BadInput(f"exported file {path} cannot be used: {one_line(error)}") from error
    return module
