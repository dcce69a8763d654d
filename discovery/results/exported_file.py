"""An exported file as an algorithm, to judge it like any other.

The file is Python code and is executed: naming it as a subject is naming a module (ADR 6). It has the mark of
`discovery export` at its beginning; other files are read as programs and never executed
(`discovery.results.programs`). Its digest is part of the name, so a worker runs exactly the file that the
user named. A run's config cannot name a file as its algorithm (`core.config.search` refuses it), so listing,
showing or resuming a run executes none.

The file declares whether its loss expects normalized advantages, and whether it depends on training progress.
All other numbers come from the task, as for a known algorithm, or are PPO's defaults. Constants of the file
(CLIP, ETA, weights) are kept.
"""

import hashlib
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from discovery.core.errors import BadInput, one_line
from discovery.core.files import EXPORTED
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
"""The function that identifies a kind of file -> the kind's name, and what else such a file defines."""


def is_exported(path: str | Path) -> bool:
    """Whether a file has the mark of `discovery export`.

    Raises:
        BadInput: the file cannot be read.
    """
    return _is_marked(_content(path))


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        BadInput: the file cannot be read.
    """
    return hashlib.sha256(_content(path)).hexdigest()


def from_file(path: str, digest: str, optimizer: str = "adam") -> Algorithm:
    """An exported file as an algorithm: the usual actor-critic with a policy loss; a mirror map's policy and
    the loss of its scores; or PPO with a learned optimizer.

    The file is executed in this process: judge only files that you would import.

    Args:
        path: the file.
        digest: its `file_digest`, which distinguishes trainings of other contents.
        optimizer: of the actor-critic, a name in `objectives.parts.OPTIMIZERS`.

    Raises:
        BadInput: the file cannot be read, has changed, raises, or is not an exported file; or another
            optimizer is asked for although it is not a policy loss.
    """
    module = _module(Path(path), digest)
    entry = next((entry for entry in ENTRIES if hasattr(module, entry)), None)
    if entry is None:
        raise BadInput(
            f"{path} is not an exported file: it defines none of {', '.join(ENTRIES)}; "
            "`discovery export RUN --out FILE` writes one"
        )
    kind, declared = ENTRIES[entry]
    if missing := [name for name in declared if not hasattr(module, name)]:
        raise BadInput(f"{path} is not an exported {kind}: it does not define {', '.join(missing)}")
    if entry != "policy_loss" and optimizer != "adam":
        raise BadInput(f"{path} is an exported {kind}, which has no option optimizer")
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
        return module.optimizer()  # every update passes the training progress and the rest

    jax.eval_shape(module.optimizer().init, {"actor": {"kernel": jnp.zeros((2, 2))}})
    return ppo_with(name, optimizer, nothing_to_search, {})


def _content(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"file {path} cannot be read: {error.strerror}") from error


def _is_marked(content: bytes) -> bool:
    return EXPORTED.encode() in content[:4096]


def _module(path: Path, digest: str) -> ModuleType:
    """The file's names. It is compiled from its text, since Python's cached bytecode may be older."""
    source = _content(path)
    if hashlib.sha256(source).hexdigest() != digest:
        raise BadInput(f"{path} has changed since it was named; name it again")
    if not _is_marked(source):
        raise BadInput(f"{path} is not an exported file: its first lines do not say so; it is not run")
    module = ModuleType(f"exported_{digest[:12]}")
    module.__file__ = str(path)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except Exception as error:
        raise BadInput(f"exported file {path} cannot be used: {one_line(error)}") from error
    return module
