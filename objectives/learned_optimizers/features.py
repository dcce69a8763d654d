"""Inputs of a learned optimizer for each parameter of an agent: OPEN's 19 features (Goldie et al. 2024), or 8
plain numbers.

Everything comes from the agent's description (`ParamInfo`) and its activations, so no architecture is
assumed. Arrays are ``[features, n]``, n the agent's parameters.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from objectives.base import ParamInfo, Progress
from objectives.per_parameter import flat

DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
"""Decays of the momenta, from short to long memory."""

GROUPS: dict[str, tuple[int, ...]] = {
    "parameter": (0,),
    "momentum": tuple(range(1, 13)),
    "gradient": (13, 14),
    "training": (15,),
    "layer": (16,),
    "batch": (17,),
    "dormancy": (18,),
}
"""Groups of features. Momenta are six signs, then six logarithms; the gradient is a sign and a
logarithm."""

RAW = "raw"
"""Value of `features` for `raw_features` instead of OPEN's."""


def chosen(features: str) -> tuple[int, ...]:
    """Indices of the features in "all", or in names of `GROUPS` with commas between them.

    Raises:
        ValueError: for an unknown name.
    """
    names = list(GROUPS) if features == "all" else [name.strip() for name in features.split(",")]
    strange = [name for name in names if name not in GROUPS]
    if strange:
        raise ValueError(
            f"features must be all, {RAW}, or some of {', '.join(GROUPS)} with commas between, "
            f"got {features!r}"
        )
    return tuple(sorted({index for name in names for index in GROUPS[name]}))


def next_momenta(momenta: Float[Array, "6 n"], gradient: Float[Array, " n"]) -> Float[Array, "6 n"]:
    """m <- b m + (1 - b) g for b in `DECAYS`, not corrected for their start at zero."""
    decay = jnp.asarray(DECAYS, momenta.dtype)[:, None]
    return decay * momenta + (1 - decay) * gradient[None]


def proportions(progress: Progress) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Shares in [0, 1] of the life and of the passes that lie behind: n / (U - 1) and e / (E - 1).

    0 where there is only one rollout, or one pass.
    """

    def share(index: Array | int, n: Array | int) -> Array:
        return jnp.minimum(index / jnp.maximum(jnp.asarray(n, jnp.float32) - 1, 1), 1.0)

    return share(progress.update, progress.n_updates), share(progress.epoch, progress.n_epochs)


def dormancy(
    activations: Mapping[str, Mapping[str, Array]], info: ParamInfo, shape: tuple[int, ...]
) -> Float[Array, "..."]:
    """How active the neuron is that a parameter feeds, relative to its layer; of `shape`, mean 1 over a
    layer.

    d_j = H (a_j + 1e-11) / sum_k (a_k + 1e-11), with a_j the mean of abs(activation) over the minibatch. 1
    for free heads, which no activation describes.

    Raises:
        ValueError: the activations lack the parameter's layer.
    """
    if info.path is None:
        return jnp.ones(shape)
    torso, name = info.path
    try:
        active = jnp.abs(activations[torso][name]).mean(0) + 1e-11
    except KeyError:
        where = f"layer {name!r} of torso {torso!r}"
        raise ValueError(f"param_info names {where}, whose activations are missing") from None
    along = [1] * len(shape)
    along[info.neuron_axis] = -1
    return jnp.broadcast_to((active / active.mean()).reshape(along), shape)


def parameter_features(
    leaves: list[Array],
    infos: list[ParamInfo],
    gradient: Float[Array, " n"],
    momenta: Float[Array, "6 n"],
    progress: Progress,
    activations: Any,
) -> Float[Array, "19 n"]:
    """The features of all elements of all tensors, in the order of `GROUPS`; their type is that of `momenta`.

    A magnitude is ln(abs(x) + 1e-13). The first 15 are `normalized`. Only what differs between tensors is
    computed for each of them: a program for an agent of many layers would else take long to compile.

    Args:
        leaves: the tensors, of any shapes, with n elements together.
        infos: what each is.
        gradient: already clipped.
        momenta: those that this gradient has entered.
        progress: of the training.
        activations: ``{torso: {layer: [B, H]}}``.
    """
    dtype, n = momenta.dtype, momenta.shape[1]
    moving = jnp.concatenate([momenta, gradient[None]])
    sign, magnitude = jnp.sign(moving), jnp.log(jnp.abs(moving) + 1e-13)
    parts = [flat(leaves, dtype)[None], sign[:6], magnitude[:6], sign[6:], magnitude[6:]]
    shares, active = [], []
    for leaf, info in zip(leaves, infos, strict=True):
        shares.append(jnp.full(leaf.size, info.layer / max(info.n_layers - 1, 1), dtype))
        active.append(dormancy(activations, info, leaf.shape).astype(dtype).ravel())
    training, batch = (jnp.broadcast_to(share.astype(dtype), n) for share in proportions(progress))
    context = jnp.stack([training, jnp.concatenate(shares), batch, jnp.concatenate(active)])
    return jnp.concatenate([normalized(leaves, jnp.concatenate(parts)), context])


def raw_features(
    leaves: list[Array], gradient: Float[Array, " n"], momenta: Float[Array, "6 n"]
) -> Float[Array, "8 n"]:
    """The parameter, its momenta and its gradient, `normalized`: all that the "No Features" optimizer of
    Goldie et al. 2025 (arXiv 2507.17668) sees. Arguments as for `parameter_features`.

    Gradients far below 0.003, the root of 1e-5, stay small: their size is seen, unlike in signs.
    """
    return normalized(leaves, jnp.concatenate([flat(leaves, momenta.dtype)[None], momenta, gradient[None]]))


def normalized(leaves: list[Array], x: Float[Array, "F n"]) -> Float[Array, "F n"]:
    """Each row divided, tensor by tensor, by the root of 1e-5 + its mean square over the tensor."""
    scales, start = [], 0
    for leaf in leaves:
        here = x[:, start : start + leaf.size]
        scales.append(jnp.broadcast_to(jax.lax.rsqrt(1e-5 + mean_square(here))[:, None], here.shape))
        start += leaf.size
    return x * jnp.concatenate(scales, axis=1)


def mean_square(x: Float[Array, "F n"]) -> Float[Array, " F"]:
    """Of each row. As a product with ones: a compiler keeps the order of a plain sum, one number at a
    time.
    """
    return (jnp.square(x) @ jnp.ones(x.shape[1], x.dtype)) / x.shape[1]
