"""OPEN once more, in numpy and double precision, tensor by tensor, from the sheet."""

from typing import Any, NamedTuple

import numpy as np

from tests.objectives.by_hand import sigmoid

DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
MOMENTUM, GRADIENT = 3, 13
"""Features: the sign of the momentum of decay 0.9, and that of the gradient."""


class Tensor(NamedTuple):
    """One tensor of an agent at one step: its share of layers, and activations ``[B, H]`` that it feeds."""

    parameter: np.ndarray
    gradient: np.ndarray
    layer: float
    actor: bool
    active: np.ndarray | None


def layer_norm(x: np.ndarray, weights: Any) -> np.ndarray:
    variance = ((x - x.mean(-1, keepdims=True)) ** 2).mean(-1, keepdims=True)
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(variance + 1e-6) * weights["scale"] + weights["shift"]


def gru(weights: Any, h: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The next hidden state; rows are parameters."""
    w_r, w_z, w_y = np.split(weights["input"], 3)
    b_r, b_z, b_y = np.split(weights["input_bias"], 3)
    u_r, u_z, u_y = np.split(weights["inner"], 3)
    r = sigmoid(x @ w_r.T + b_r + h @ u_r.T)
    z = sigmoid(x @ w_z.T + b_z + h @ u_z.T)
    y = np.tanh(x @ w_y.T + b_y + r * (h @ u_y.T + weights["inner_bias"]))
    return (1 - z) * y + z * h


def network(weights: Any, h: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows are parameters: ``[n, G]``, ``[n, 19]`` to ``[n, G]``, ``[n, 3]``; without features 8 and 2."""
    if "gru" in weights:
        x = h = gru(weights["gru"], h, x)
    for name in ("first", "second"):
        x = x @ weights[name]["kernel"].T + weights[name]["bias"]
        x = np.maximum(layer_norm(x, weights[name]), 0)
    return h, x @ weights["out"]["kernel"].T + weights["out"]["bias"]


def dormancy(tensor: Tensor) -> np.ndarray:
    """Of every element of the tensor, whose last axis runs over neurons."""
    if tensor.active is None:
        return np.ones(tensor.parameter.shape)
    a = np.abs(tensor.active).mean(0)
    d = len(a) * (a + 1e-11) / (a + 1e-11).sum()
    return np.zeros(tensor.parameter.shape) + d


def features(tensor: Tensor, momenta: list[np.ndarray], training: float, batch: float) -> np.ndarray:
    """``[n, 19]``."""
    logs = [np.log(np.abs(m) + 1e-13) for m in momenta]
    g = tensor.gradient
    columns = [tensor.parameter, *map(np.sign, momenta), *logs, np.sign(g), np.log(np.abs(g) + 1e-13)]
    columns = [x / np.sqrt(1e-5 + (x**2).mean()) for x in columns]
    same = [np.full(g.shape, x) for x in (training, tensor.layer, batch)]
    return np.stack([x.ravel() for x in (*columns, *same, dormancy(tensor))], axis=-1)


def raw_features(tensor: Tensor, momenta: list[np.ndarray]) -> np.ndarray:
    """``[n, 8]``: of the rule without features."""
    columns = [tensor.parameter, *momenta, tensor.gradient]
    return np.stack([(x / np.sqrt(1e-5 + (x**2).mean())).ravel() for x in columns], axis=-1)


def descending(rate: float, feature: int = GRADIENT) -> dict[str, Any]:
    """Weights of a feed-forward rule that steps by `rate` times its scale against the sign of a feature.

    The two units of each layer are (1, 0) where the feature is positive, (0, 1) where it is negative.
    """
    opposite = np.array([[1.0, -1.0], [-1.0, 1.0]], np.float32)
    first, out = np.zeros((2, 19), np.float32), np.zeros((3, 2), np.float32)
    first[:, feature], out[0] = opposite[0], (rate, -rate)
    plain = {name: np.zeros(2, np.float32) for name in ("bias", "shift")} | {"scale": np.ones(2, np.float32)}
    return {
        "first": {"kernel": first, **plain},
        "second": {"kernel": opposite, **plain},
        "out": {"kernel": out, "bias": np.zeros(3, np.float32)},
    }


class Open:
    """The rule with its memory; a call takes one step. What it has `seen` are features by index, or "raw"."""

    def __init__(self, weights: Any, scale: float, seen: Any = slice(None)) -> None:
        self.weights, self.scale, self.seen = weights, scale, seen
        self.momenta: list[list[np.ndarray]] = []
        self.hidden: list[Any] = []

    def __call__(self, tensors: list[Tensor], k: int, counts: tuple[int, int, int], noise: list[np.ndarray]):
        """Updates of all tensors at step `k`; counts are minibatches, epochs and rollouts (M, E, U)."""
        minibatches, epochs, rollouts = counts
        training = k // (minibatches * epochs) / (rollouts - 1)
        batch = (k // minibatches) % epochs / (epochs - 1)
        if not self.momenta:
            self.momenta = [[np.zeros(t.parameter.shape) for _ in DECAYS] for t in tensors]
            width = len(self.weights["gru"]["inner_bias"]) if "gru" in self.weights else 0
            self.hidden = [np.zeros((t.parameter.size, width)) for t in tensors]
        steps, c = [], self.scale
        for i, tensor in enumerate(tensors):
            self.momenta[i] = [
                b * m + (1 - b) * tensor.gradient for b, m in zip(DECAYS, self.momenta[i], strict=True)
            ]
            if self.seen == "raw":
                x = raw_features(tensor, self.momenta[i])
            else:
                x = features(tensor, self.momenta[i], training, batch)[:, self.seen]
            self.hidden[i], o = network(self.weights, self.hidden[i], x)
            step = c * o[:, 0] * np.exp(c * o[:, 1])
            if tensor.actor and self.seen != "raw":
                step = step + c * o[:, 2] * noise[i].ravel()
            steps.append(step.reshape(tensor.parameter.shape))
        mean = sum(s.sum() for s in steps) / sum(s.size for s in steps)
        return [mean - s for s in steps]
