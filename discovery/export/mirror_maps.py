"""The file with a mirror map: a policy of scores, and the loss that fits the scores."""

from collections.abc import Collection, Mapping
from math import log
from string import Template
from typing import Any

from discovery.core.jobs import AlgorithmSpec
from discovery.export.source import Subject, Text, constants, definitions, tree

SMALLEST = 1e-6
"""Stands for an old probability of zero: see `objectives.mirror_map.algorithm.SMALLEST`."""

RISE = log(2.0)
"""Of normalized maps: see `objectives.mirror_map.learned_potential.RISE`."""

_POLICY = Template('''\
def policy(scores$parameter):
    """Probabilities [..., A] of the actions with these scores [..., A]: relu(phi(ETA f + lambda)), sum 1.

    They may be exactly zero. The derivative, of any order, is that of the solution; by the scores alone.
$acting    """
    z = ETA * jnp.asarray(scores, jnp.result_type(scores, jnp.float32))
    uniform_and_one = jnp.asarray([1.0 / z.shape[-1], 1.0], z.dtype)
$network    return project($table, z, inverse($mapping, uniform_and_one))


def score_loss(scores, action, old_log_prob, advantage$parameter):
    """The loss of each sample, to be minimized: (f(s, a) - A - phi^{-1}(pi_old(a|s)) / ETA)^2.

    phi^{-1} is taken with the constant that makes it 1 at 1, which moves no policy.

    Args:
        scores: f(s, .) of the network being trained, [..., A].
        action: those that were taken, integers [...].
        old_log_prob: their log-probabilities under the policy that acted, `policy` of the scores then.
        advantage: standardized over the minibatch, [...].
$learning
    Returns:
        the loss, [...].
    """
    shapes = jnp.shape(action), jnp.shape(old_log_prob), jnp.shape(advantage)
    if any(shape != jnp.shape(scores)[:-1] for shape in shapes):
        raise ValueError(f"scores {jnp.shape(scores)} need the others of that shape less A, got {shapes}")
    scores = jnp.asarray(scores, jnp.result_type(scores, jnp.float32))
$score_network    old = jnp.maximum(jnp.exp(old_log_prob), SMALLEST)
    constant = 1.0 - inverse($mapping, jnp.ones((), old.dtype))
    target = advantage + (inverse($mapping, old) + constant) / ETA
    taken = jnp.asarray(action)[..., None] == jnp.arange(scores.shape[-1])
    return jnp.square(jnp.where(taken, scores, 0.0).sum(-1) - target)
''')

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


def write(subject: Subject, target: str) -> Text:
    """What the file says that holds the policy and the loss of `subject`."""
    options, numbers = subject.options, subject.numbers
    learned, temporal = options["map"] == "learned", options["temporal"]
    network = f"    network = network_at({'fraction, ' if temporal else ''}z.dtype)\n" if learned else ""
    functions = _POLICY.substitute(
        parameter=", *, fraction" if temporal else "",
        acting=_ACTING if temporal else "",
        learning=_LEARNING if temporal else "",
        network=network,
        score_network=network.replace("z.dtype", "scores.dtype"),
        table="tabulate(network)",
        mapping="network",
    )
    simplex = definitions("simplex")
    if not learned:  # phi and its inverse are formulas, of nothing but their argument
        functions = functions.replace("tabulate(network), ", "").replace("network, ", "")
        simplex = simplex.replace("table, ", "")
    return Text(
        title="a policy of scores and its loss for jax",
        description=(
            f"`policy` makes probabilities of scores by {_MAPS[options['map']]}; `score_loss` is the loss of "
            "the scores, per sample, to be minimized (AMPO, Alfano et al. 2023 and 2025). It wants "
            f"standardized advantages{_TEMPORAL if temporal else ''}."
        ),
        usage=_USAGE.format(
            acting=", fraction=max(n - 1, 0) / N" if temporal else "",
            learning=", fraction=n / N" if temporal else "",
        ),
        differences=_DIFFERENCES,
        constants=f"NORMALIZED_ADVANTAGE = True\nNEEDS_PROGRESS = {temporal}\n"
        + _constants(options, numbers),
        code=(_potential(options), simplex, functions, _weights(options, subject.entries)),
        standard_imports="from typing import Any, NamedTuple\n" if learned else "",
    )


_TEMPORAL = ", and both want the share of the training that has passed, `fraction`"

_MAPS = {
    "negative_entropy": "negative entropy, whose policies are softmax",
    "l2": "Euclidean projection onto the simplex",
    "tsallis": "a Tsallis entropy",
    "learned": "a learned mirror map",
}


def _constants(options: Mapping[str, Any], numbers: Mapping[str, float]) -> str:
    own: dict[str, Any] = {"eta": numbers["eta"], "smallest": SMALLEST, "steps": 30}
    if options["map"] == "tsallis":
        own["tsallis_q"] = numbers["tsallis_q"]
    if options["map"] == "learned":
        own["anchor"] = float(options["anchored"])
        own["rise"] = RISE if options["normalized"] else 0.0
    nodes = "NODES = np.linspace(0.01, 1.0, 128) ** 4\n" if options["map"] == "learned" else ""
    return constants(**own) + nodes


def _potential(options: Mapping[str, Any]) -> str:
    if options["map"] != "learned":
        return definitions(options["map"])
    return "\n\n".join(
        [
            definitions("learned_map", "Network Table"),
            definitions("temporal_map" if options["temporal"] else "learned_map", "network_at"),
            definitions("learned_map", "with_rise root inverse tabulate phi"),
        ]
    )


def _weights(options: Mapping[str, Any], entries: Mapping[str, Any]) -> str:
    if options["map"] != "learned":
        return ""
    if not options["temporal"]:
        return tree("NUMBERS", entries["potential"])
    return "\n".join(tree(key.upper(), entries["potential"][key], (key,)) for key in ("start", "change"))


MIRROR_MAPS = ("objectives.mirror_map.algorithm:ampo",)
"""Factories of policies and losses by mirror maps."""


def reads(spec: AlgorithmSpec, options: Mapping[str, Any]) -> Collection[str]:
    """Names of the plain numbers that the file holds."""
    return ("eta", "tsallis_q") if options["map"] == "tsallis" else ("eta",)
