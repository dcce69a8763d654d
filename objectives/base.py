# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""The contract: what a learning algorithm is. Read this file first.

An `Algorithm` consists of four parts and a memory, each made of pure functions. In PPO, all parts are fixed;
in a searched algorithm, one or several parts read entries of `meta_params` that the search proposes.

`meta_params` is one dict with *all numbers* that an algorithm reads:

* entries that are searched, for example ``meta_params["drift"]``, a network's weights, made by
  `Algorithm.init`;
* plain numbers such as ``meta_params["gamma"]`` or ``meta_params["learning_rate"]``: the defaults of
  `Algorithm.defaults`, overridden by a task's recipe, overridden by the search if it searches them.

All of them reach the compiled program as traced arrays, so changing a number never recompiles.

Shape letters, everywhere: P population, S seeds, E environments, T time, B minibatch, A actions,
D observation features.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

MetaParams = Mapping[str, Any]
"""Everything numeric an algorithm reads; see the module docstring."""

Outputs = Mapping[str, Array]
"""The network's heads by name, each ``[..., size]``, or ``[...]`` for a head of size 0; an action-conditional
one ``[..., A, size]``."""

NO_OUTPUTS: Outputs = {}
"""Outputs without a network."""


class Progress(NamedTuple):
    """The progress of a training. All fields are traced scalars.

    Attributes:
        update: n, the number of rollouts learned from before this one, ``0 <= n < N``.
        n_updates: N, the number of rollouts in the training.
        epoch: the current pass over the rollout, ``0 <= epoch < n_epochs``; 0 while acting.
        n_epochs: passes over each rollout.
    """

    update: Int[Array, ""] | int
    n_updates: Int[Array, ""] | int
    epoch: Int[Array, ""] | int = 0
    n_epochs: Int[Array, ""] | int = 1

    @property
    def fraction(self) -> Float[Array, ""]:
        """n / N, in [0, 1]: the share of the training that has passed."""
        return jax.numpy.minimum(jax.numpy.asarray(self.update, "float32") / self.n_updates, 1.0)


@runtime_checkable
class Distribution(Protocol):
    """What a policy returns: a distribution over actions, batched over leading axes."""

    def sample(self, key: PRNGKeyArray) -> Array: ...
    def log_prob(self, action: Array) -> Array: ...
    def entropy(self) -> Array: ...
    def mode(self) -> Array: ...


class Head(NamedTuple):
    """One output of the agent's network.

    Attributes:
        size: number of outputs; 0 means one output whose axis is squeezed away (a scalar head).
        torso: the body it is on if torsos are separate, "actor" or "critic" by convention; also the role of
            its parameters in `ParamInfo`.
        scale: gain of the orthogonal initializer of its kernel.
        free: a parameter vector that does not depend on the observation (a Gaussian's log standard
            deviation), initialized to `initial`.
        initial: initial value of a free head.
        actions: A > 0 makes the head action-conditional: ``[..., A, size]``, one vector for each of A
            discrete actions. Such heads of a torso share a model of the action's effect.
        units: of that model, and of each such head's hidden layer.
        deviation: if above 0, its kernel is initialized normally with this standard deviation, truncated at
            two of them, and not orthogonally; `scale` is then ignored.
    """

    size: int
    torso: str = "actor"
    scale: float = 1.0
    free: bool = False
    initial: float = 0.0
    actions: int = 0
    units: int = 128
    deviation: float = 0.0


class Policy(NamedTuple):
    """How the agent acts, and which heads its network must have.

    Attributes:
        heads: ``(n_actions, continuous) -> {name: Head}``; `n_actions` is the number of discrete
            actions, or the dimension of a continuous one. No head is required, not even a value.
        distribution: ``(meta_params, outputs, progress) -> Distribution``, for acting and learning.
    """

    heads: Callable[[int, bool], dict[str, Head]]
    distribution: Callable[[MetaParams, Outputs, Progress], Distribution]


class Trajectory(NamedTuple):
    """One rollout, time first.

    `outputs` are the network's at the state acted in; `outputs_next` at the state reached, which is the
    episode's final observation (not the reset one) if an episode was truncated. `terminated` and `truncated`
    may both be true; only `terminated` stops the bootstrap. At terminated steps `outputs_next` may hold any
    finite number, unless the algorithm `reads_terminal_outputs`.

    `target_outputs` and `target_outputs_next` are those of the target network at the same states, if the
    algorithm's memory has one (`Memory.target_params`); else they are empty.
    """

    observation: Float[Array, "T E D"]
    action: Array  # int32 [T, E], or float32 [T, E, A]
    log_prob: Float[Array, "T E"]
    reward: Float[Array, "T E"]
    terminated: Bool[Array, "T E"]
    truncated: Bool[Array, "T E"]
    outputs: Outputs
    outputs_next: Outputs
    target_outputs: Outputs = NO_OUTPUTS
    target_outputs_next: Outputs = NO_OUTPUTS


class Batch(NamedTuple):
    """A minibatch of transitions for the loss; `targets` is what `Algorithm.targets` returned.

    `outputs` are the behavior policy's, as in `Trajectory`; the loss receives the current ones separately.
    """

    observation: Float[Array, "B D"]
    action: Array
    log_prob: Float[Array, " B"]
    reward: Float[Array, " B"]
    terminated: Bool[Array, " B"]
    truncated: Bool[Array, " B"]
    outputs: Outputs
    targets: Any


Targets = Callable[[MetaParams, Any, Trajectory, Progress], Any]
"""``(meta_params, memory, trajectory, progress) -> pytree of [T, E, ...]``."""


class Loss(NamedTuple):
    """The loss, as one number per sample; the loop takes the mean.

    Attributes:
        per_sample: ``(meta_params, batch, outputs, progress, key) -> [B]``.
        couples_batch: whether a sample's loss depends on the other samples of its minibatch (as
            with advantage normalization); hosts that split minibatches further must know this.
    """

    per_sample: Callable[[MetaParams, Batch, Outputs, Progress, PRNGKeyArray], Float[Array, " B"]]
    couples_batch: bool = False


Optimizer = Callable[[MetaParams], optax.GradientTransformationExtraArgs]
"""``meta_params -> transformation`` over one tree of all agent parameters. It includes clipping and the
learning rate. Its update receives ``key``, ``progress``, ``activations`` (a tree
``{torso: {layer: [B, H]}}``), ``param_info`` (a tree like the parameters', of `ParamInfo`) and, if the
algorithm has one, ``memory``."""


class ParamInfo(NamedTuple):
    """Description of one parameter tensor: plain data, derived from the network.

    Attributes:
        role: the torso it belongs to ("actor", "critic", or "shared" for the body that heads share).
        layer: index of its layer within the role, from the input; a free head counts as one more.
        n_layers: number of layers in the role.
        path: ``(torso, layer name)`` of the activations its layer produces, or None for free heads.
        neuron_axis: which axis of the tensor runs over output neurons.
    """

    role: str
    layer: int
    n_layers: int
    path: tuple[str, str] | None
    neuron_axis: int


class Memory(NamedTuple):
    """The state of an algorithm during a training; reset with the agent.

    Attributes:
        init: ``(meta_params, params, key) -> memory``.
        update: ``(meta_params, memory, trajectory, params, metrics, progress) -> memory``, once per rollout,
            after the parameters changed; `metrics` are that update's `Metrics`, in which ``metrics.named``
            has the loop's metrics ("kl", "loss", ...).
        target_params: ``memory -> params`` of a target network; None without one. The loop runs
            the agent's network with them over each rollout, for `Trajectory.target_outputs`.
    """

    init: Callable[[MetaParams, Any, PRNGKeyArray], Any]
    update: Callable[[MetaParams, Any, Trajectory, Any, Any, Progress], Any]
    target_params: Callable[[Any], Any] | None = None


def _no_memory(*_: Any) -> tuple[()]:
    return ()


NO_MEMORY = Memory(init=_no_memory, update=_no_memory)


class PolicyLoss(NamedTuple):
    """The elementwise part of an actor-critic loss, which drift families, programs and exports define.

    Attributes:
        per_sample: ``(meta_params, log_prob, old_log_prob, advantage, progress) -> same shape``,
            minimized. Pure and elementwise: no mean, no normalization, no state.
        normalize_advantage: whether it expects advantages standardized over the minibatch.
    """

    per_sample: Callable[[MetaParams, Array, Array, Array, Progress], Array]
    normalize_advantage: bool = True


class Algorithm(NamedTuple):
    """A learning algorithm.

    Attributes:
        name: for messages and records; the inner loop does not read it.
        policy, targets, loss, optimizer, memory: the parts.
        init: ``key -> dict`` of the searched entries of `meta_params`; empty when nothing is searched.
        defaults: names and values of the plain numbers its parts read.
        policy_loss: the elementwise loss in `loss`, if it has one: for pictures and exports.
        loop: its training loop, a name in `discovery.inner.loops.LOOPS`.
        reads_terminal_outputs: whether `targets` or `loss` reads `Trajectory.outputs_next` where an episode
            terminated. Evaluating those states costs a second pass of the network over each rollout.
        limits: names of its specific numbers, each with its smallest and largest sensible value;
            `objectives.build` sets them from the family's record.
    """

    name: str
    policy: Policy
    targets: Targets
    loss: Loss
    optimizer: Optimizer
    memory: Memory
    init: Callable[[PRNGKeyArray], dict[str, Any]]
    defaults: tuple[tuple[str, float], ...]
    policy_loss: PolicyLoss | None = None
    loop: str = "on_policy"
    reads_terminal_outputs: bool = False
    limits: tuple[tuple[str, tuple[float, float]], ...] = ()
