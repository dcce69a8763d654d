"""An exported file as an algorithm: to judge what was taken away as it is, beside everything else.

The file's `policy_loss` is put into the usual actor-critic; how it wants its advantages, and whether it needs
to know how far the training is, it declares itself. All other numbers come from the task, as for a known
algorithm, PPO's where it has none. Constants of the file (CLIP, weights) stay the file's.
"""

import hashlib
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
from jaxtyping import Array

from discovery.errors import BadInput
from discovery.export.parts import KINDS, POLICY_LOSS
from objectives.base import Algorithm, MetaParams, PolicyLoss, Progress
from objectives.parts import actor_critic

DECLARED = ("policy_loss", "NORMALIZED_ADVANTAGE", "NEEDS_PROGRESS")
"""What every exported file defines."""


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        BadInput: it cannot be read.
    """
    return hashlib.sha256(_content(path)).hexdigest()


def from_file(path: str, digest: str, optimizer: str = "adam") -> Algorithm:
    """An actor-critic around the policy loss of a file that `discovery export` wrote.

    The file is run: judge none that you would not import.

    Args:
        path: the file.
        digest: its `file_digest`, so that trainings of another content are never taken for these.
        optimizer: of the actor-critic, a name in `objectives.parts.OPTIMIZERS`.

    Raises:
        BadInput: the file cannot be read, has changed, raises, or is no exported file.
    """
    module = _module(Path(path), digest)
    for kind in KINDS:
        if kind is not POLICY_LOSS and hasattr(module, kind.entry):
            raise BadInput(
                f"{path} is an exported {kind.name}; a file is judged by its policy loss alone: "
                "name the run that it comes from"
            )
    missing = [name for name in DECLARED if not hasattr(module, name)]
    if missing:
        raise BadInput(
            f"{path} is no exported file: it does not define {', '.join(missing)}; "
            "`discovery export RUN --out FILE` writes one"
        )
    temporal = bool(module.NEEDS_PROGRESS)

    def per_sample(
        meta_params: MetaParams, log_prob: Array, old_log_prob: Array, advantage: Array, progress: Progress
    ) -> Array:
        needed = {"fraction": progress.fraction} if temporal else {}
        return module.policy_loss(log_prob, old_log_prob, advantage, **needed)

    try:
        jax.eval_shape(per_sample, {}, *[jnp.zeros(2)] * 3, Progress(0, 1))
    except Exception as error:
        raise BadInput(f"policy_loss of {path} cannot be called: {_told(error)}") from error
    loss = PolicyLoss(per_sample, bool(module.NORMALIZED_ADVANTAGE))
    return actor_critic(Path(path).stem, loss, optimizer=optimizer)


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
        raise BadInput(f"exported file {path} cannot be used: {_told(error)}") from error
    return module


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
