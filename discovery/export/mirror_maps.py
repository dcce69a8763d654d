"""The file with a mirror map: a policy of scores, and the loss that fits the scores."""

from discovery.export.known import Symbol, constants
from discovery.export.parts import Contents, Subject
from discovery.export.specialize import StandaloneSource

_POLICY = """\
Probabilities [..., A] of the actions with these scores [..., A]: relu(phi(ETA f + lambda)), sum 1.

They may be exactly zero. The derivative, of any order, is that of the solution.
{}"""

_LOSS = """\
The loss of each sample, to be minimized: (f(s, a) - A - phi^{{-1}}(pi_old(a|s)) / ETA)^2.

phi^{{-1}} is taken with the constant that makes it 1 at 1, which moves no policy.

Args:
    scores: f(s, .) of the network being trained, [..., A].
    action: those that were taken, integers [...].
    old_log_prob: their log-probabilities under the policy that acted, `policy` of the scores then.
    advantage: standardized over the minibatch, [...].
{}
Returns:
    the loss, [...].
"""

_ACTING = """
Args:
    scores: what the network says, [..., A].
    fraction: n / N of the update that the scores were fitted in. In rollout n = 0 .. N - 1 that is
        max(n - 1, 0) / N for acting.
"""
_LEARNING = """\
    fraction: n / N, with n = 0 .. N - 1 the rollouts learned from before this one and N those of the
        whole training; a scalar.
"""

_CHECK = """
shapes = jnp.shape(action), jnp.shape(old_log_prob), jnp.shape(advantage)
if any(shape != jnp.shape(scores)[:-1] for shape in shapes):
    raise ValueError(f"scores {jnp.shape(scores)} need the others of that shape less A, got {shapes}")
"""

_USAGE = """
    from THIS_FILE import policy, score_loss

    p = policy(scores{acting})  # to act
    action = jax.random.categorical(key, jnp.log(p))
    old_log_prob = jnp.log(jnp.take_along_axis(p, action[..., None], -1)[..., 0])

    advantage = ...  # (A - A.mean()) / (A.std() + 1e-8), over the minibatch
    loss = score_loss(scores, action, old_log_prob, advantage{learning}).mean()  # minimize
"""

_DIFFERENCES = (
    "The network says one score per action, and no logits: its policy is `policy` of them, also where "
    "actions are drawn, and the head that says them begins with orthogonal weights of gain 0.01.",
    "The loss that was trained with is this one plus value_coef times PPO's clipped value loss. There is no "
    "entropy bonus, no ratio and no clipping of it.",
)

_TEMPORAL = ", and both want the share of the training that has passed, `fraction`"

_MAPS = {
    "negative_entropy": "negative entropy, whose policies are softmax",
    "l2": "Euclidean projection onto the simplex",
    "tsallis": "a Tsallis entropy",
    "learned": "a learned mirror map",
}


def write(subject: Subject, target: str) -> Contents:
    """The contents of the file with the policy and the loss of `subject`."""
    from objectives.mirror_map.algorithm import probabilities, score_error

    projected, temporal = subject.algorithm.policy.distribution, bool(subject.options["temporal"])
    source, known = (
        StandaloneSource(),
        {
            "potential": projected.potential,
            "weights": projected.weights,
            "meta_params": constants(subject.meta_params),
            "fraction": Symbol("fraction"),
        },
    )
    acting, learning = (_ACTING, _LEARNING) if temporal else ("", "")
    source.function(probabilities, known, "policy", _POLICY.format(acting))
    source.function(score_error, known, "score_loss", _LOSS.format(learning), _CHECK)
    return Contents(
        title="a policy of scores and its loss for jax",
        description=(
            f"`policy` makes probabilities of scores by {_MAPS[subject.options['map']]}; `score_loss` is the "
            "loss of the scores, per sample, to be minimized (AMPO, Alfano et al. 2023 and 2025). It wants "
            f"standardized advantages{_TEMPORAL if temporal else ''}."
        ),
        usage=_USAGE.format(
            acting=", fraction=max(n - 1, 0) / N" if temporal else "",
            learning=", fraction=n / N" if temporal else "",
        ),
        differences=_DIFFERENCES,
        source=source,
        declared={"NORMALIZED_ADVANTAGE": True, "NEEDS_PROGRESS": temporal},
    )
