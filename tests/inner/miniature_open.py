"""A small OPEN: each parameter's step is a learned function of its gradient and its circumstances."""

import jax
import jax.numpy as jnp
import optax

FEATURES = ("parameter", "sign", "log_size", "life", "layer", "epoch", "dormancy")


def dormancy(activations, info, shape):
    """Mean absolute activation of the neuron that a parameter feeds, relative to its layer, of `shape`."""
    if info.path is None:
        return jnp.ones(shape)
    torso, layer = info.path
    size = jnp.abs(activations[torso][layer]).mean(0) + 1e-11
    along = [1] * len(shape)
    along[info.neuron_axis] = -1
    return jnp.broadcast_to((size / size.mean()).reshape(along), shape)


def open_features(parameter, momentum, info, activations, progress):
    constants = (
        progress.update / jnp.maximum(progress.n_updates - 1, 1),
        info.layer / (info.n_layers - 1),
        progress.epoch / max(progress.n_epochs - 1, 1),
    )
    sign, log_size = jnp.sign(momentum), jnp.log(jnp.abs(momentum) + 1e-13)
    normalized = [x / jnp.sqrt(1e-5 + jnp.square(x).mean()) for x in (parameter, sign, log_size)]
    plain = [jnp.full(parameter.shape, x, jnp.float32) for x in constants]
    return jnp.stack([*normalized, *plain, dormancy(activations, info, parameter.shape)], -1)


def open_optimizer(meta_params):
    """u = c o_0 exp(c o_1) + c o_2 noise [actor only], minus ONE mean over all parameters; p <- p - u."""
    weights = meta_params["open"]

    def init(params):
        return jax.tree.map(jnp.zeros_like, params)

    def update(gradients, momenta, params=None, *, key, progress, activations, param_info, **_):
        momenta = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, momenta, gradients)
        leaves, treedef = jax.tree.flatten(params)
        infos, steps = treedef.flatten_up_to(param_info), []
        keys = jax.random.split(key, len(leaves))
        for leaf, momentum, info, key_leaf in zip(leaves, jax.tree.leaves(momenta), infos, keys, strict=True):
            x = open_features(leaf, momentum, info, activations, progress)
            o = jnp.moveaxis(x @ weights["w"] + weights["b"], -1, 0)
            noise = jax.random.normal(key_leaf, leaf.shape) * (info.role == "actor")
            steps.append(1e-3 * (o[0] * jnp.exp(1e-3 * o[1]) + o[2] * noise))
        mean = sum(step.sum() for step in steps) / sum(step.size for step in steps)
        return jax.tree.unflatten(treedef, [mean - step for step in steps]), momenta

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]
