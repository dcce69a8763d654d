"""What an exported file computes, evaluated in a separate process.

    python -I probe.py POINTS.npz RESULTS.npz FILE [FILE ...]

This script runs outside the package (it is started by its path) and blocks the import of ours, so
it proves that the file stands alone. It imports numpy and jax, and whatever the file imports.

POINTS holds the inputs of `trials.py` for files of one kind. RESULTS receives, for file i and dtype d,
"i/d/value" and, for a function, "i/d/gradient".
"""

import collections
import importlib.abc
import importlib.util
import inspect
import json
import sys

import numpy as np

OURS = ("discovery", "objectives", "environments", "llm_prompts")
SLOTS = ("loss", "trace", "advantage", "schedule")
"""Names of functions that are programs."""

Info = collections.namedtuple("Info", "role layer n_layers path neuron_axis")


class Blocker(importlib.abc.MetaPathFinder):
    """Refuses to import our packages, installed or not."""

    def find_spec(self, fullname, path=None, target=None):
        """Raise for our names; leave all others to the other finders."""
        if fullname.partition(".")[0] in OURS:
            raise ImportError(f"an exported file must stand alone, but it imports {fullname!r}")


def load(path, name):
    """The module at `path`, imported as `name`."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def evaluate(module, points, dtype):
    """Name of each result -> array, for the function that the file defines."""
    if hasattr(module, "optimizer"):
        return {"value": updates(module.optimizer(), points, dtype)}
    if hasattr(module, "score_loss"):

        def shaped(policy_fraction, loss_fraction, scores, *others):
            first, second = ({}, {})
            if module.NEEDS_PROGRESS:
                first, second = {"fraction": policy_fraction}, {"fraction": loss_fraction}
            return module.policy(scores, **first), module.score_loss(scores, *others, **second)

        return dict(zip(("value", "gradient"), policies_and_losses(shaped, points, dtype), strict=True))
    if hasattr(module, "policy_loss"):
        (value,), gradients = results(module, module.policy_loss, points, dtype, ("log_prob",))
        return {"value": value, "gradient": gradients["log_prob"]}
    function = next(getattr(module, slot) for slot in SLOTS if hasattr(module, slot))
    values, gradients = results(module, function, points, dtype, tuple(points))
    zero = np.zeros(len(next(iter(points.values()))), dtype)
    columns = [np.broadcast_to(x, zero.shape) if np.ndim(x) == 0 else x for x in values]
    slopes = [gradients.get(name, zero) for name in points]
    return {"value": np.stack(columns, -1), "gradient": np.stack(slopes, -1)}


def results(module, function, points, dtype, by):
    """The results of a function of a whole batch, and derivatives of their sum over it, by name.

    Args:
        module: where it is; one that imports torch has functions of tensors.
        function: of some of the points by name, whose results are arrays [N], or numbers.
        points: arrays [N] by name.
        dtype: of all arrays.
        by: names of points; those on which no result depends may have no derivative.
    """
    given = {name: points[name] for name in inspect.signature(function).parameters}
    return (of_torch if hasattr(module, "torch") else of_jax)(function, given, dtype, set(by))


def of_jax(function, given, dtype, by):
    """`results` of a function of jax arrays."""
    import jax
    import jax.numpy as jnp

    arrays = {name: jnp.asarray(x, dtype) for name, x in given.items()}
    n = max((len(x) for x in given.values()), default=1)

    @jax.jit
    def both(arrays):
        def total(moving):
            found = function(**{**arrays, **moving})
            found = found if isinstance(found, tuple) else (found,)
            sums = [jnp.sum(x) if jnp.ndim(x) else n * jnp.asarray(x, dtype) for x in found]
            return sum(sums), found

        return jax.grad(total, has_aux=True)({name: x for name, x in arrays.items() if name in by})

    gradients, values = both(arrays)
    return [np.asarray(x, None if np.ndim(x) else dtype) for x in values], gradients


def of_torch(function, given, dtype, by):
    """`results` of a function of tensors."""
    import torch  # pyright: ignore[reportMissingImports]

    kind = getattr(torch, dtype)
    tensors = {name: torch.tensor(x, dtype=kind, requires_grad=name in by) for name, x in given.items()}
    n = max((len(x) for x in given.values()), default=1)
    found = function(**tensors)
    found = found if isinstance(found, tuple) else (found,)
    found = [x if isinstance(x, torch.Tensor) else torch.tensor(x, dtype=kind) for x in found]
    total = torch.stack([x.sum() if x.ndim else n * x for x in found]).sum()
    gradients = {}
    if total.requires_grad:
        moving = [name for name, x in tensors.items() if x.requires_grad]
        slopes = torch.autograd.grad(total, [tensors[name] for name in moving], allow_unused=True)
        gradients = {name: x.numpy() for name, x in zip(moving, slopes, strict=True) if x is not None}
    return [np.asarray(x.detach().numpy(), None if x.ndim else dtype) for x in found], gradients


def policies_and_losses(shaped, points, dtype):
    """Probabilities and losses, [K N, A + 1], and derivatives of both by scores, [K N, 2 A].

    Args:
        shaped: ``(fraction of the policy, of the loss, scores [N, A], action [N], old_log_prob [N],
            advantage [N]) -> (probabilities [N, A], losses [N])``.
        points: these at K points of a training, [K, ...]; and cotangents [K, N, A] of the probabilities.
        dtype: of all arrays.
    """
    import jax
    import jax.numpy as jnp

    names = ("policy_fraction", "loss_fraction", "scores", "action", "old_log_prob", "advantage")
    arrays = [jnp.asarray(points[k], None if k == "action" else dtype) for k in (*names, "cotangent")]

    @quickly
    def one(cotangent, policy_fraction, loss_fraction, scores, *others):
        (p, loss), pull = jax.vjp(lambda x: shaped(policy_fraction, loss_fraction, x, *others), scores)
        by_policy, by_loss = pull((cotangent, 0 * loss))[0], pull((0 * cotangent, 1 + 0 * loss))[0]
        return jnp.concatenate([p, loss[:, None]], -1), jnp.concatenate([by_policy, by_loss], -1)

    rows = [one(cotangent, *inputs) for *inputs, cotangent in zip(*arrays, strict=True)]
    return [jnp.concatenate(parts) for parts in zip(*rows, strict=True)]


def updates(transformation, points, dtype, info=Info, progress=tuple):
    """The updates of an optimizer in some steps, with all arguments: [T, n], for n numbers of a tree.

    Args:
        transformation: of optax.
        points: "parameters", "gradients" [T, n], "activations" [T, m], "keys", "progress" [T, 4], and
            "layout", which describes their trees.
        dtype: of all arrays.
        info: maker of a ParamInfo.
        progress: maker of a Progress.
    """
    import jax
    import jax.numpy as jnp

    layout = json.loads(str(points["layout"]))
    param_info = tree(layout["tensors"], lambda t: described(t["info"], info))

    def arrays(kind, row):
        return tree(layout[kind], lambda t: row[t["start"] : t["stop"]].reshape(t["shape"]))

    @quickly
    def step(params, state, gradients, activations, key, at):
        context = {"key": jax.random.wrap_key_data(key), "progress": progress(at), "param_info": param_info}
        context["activations"] = arrays("activations", activations)
        moved, state = transformation.update(arrays("tensors", gradients), state, params, **context)
        return moved, jax.tree.map(jnp.add, params, moved), state

    params = arrays("tensors", jnp.asarray(points["parameters"], dtype))
    state, rows = quickly(transformation.init)(params), []
    for inputs in zip(*(points[k] for k in ("gradients", "activations", "keys", "progress")), strict=True):
        gradients, activations = (jnp.asarray(x, dtype) for x in inputs[:2])
        at = [jnp.asarray(number) for number in inputs[3]]
        moved, params, state = step(params, state, gradients, activations, jnp.asarray(inputs[2]), at)
        rows.append(jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(moved)]))
    return jnp.stack(rows)


def quickly(function):
    """Compiled for few calls, so with a short compile time."""
    import jax

    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(function, compiler_options=options)


def described(values, info):
    """A parameter's description from JSON, with tuples instead of lists."""
    role, layer, n_layers, path, neuron_axis = values
    return info(role, layer, n_layers, None if path is None else tuple(path), neuron_axis)


def tree(members, make):
    """Nested dictionaries with `make` of each member, at its "path"."""
    whole = {}
    for member in members:
        *outer, last = member["path"]
        branch = whole
        for name in outer:
            branch = branch.setdefault(name, {})
        branch[last] = make(member)
    return whole


def main(points_path, results_path, *files):
    """Evaluate every file in float64 and float32."""
    sys.meta_path.insert(0, Blocker())
    import jax

    jax.config.update("jax_enable_x64", True)
    points = dict(np.load(points_path))
    results = {}
    try:
        for index, file in enumerate(files):
            module = load(file, f"exported_{index}")
            for dtype in ("float64", "float32"):
                for name, array in evaluate(module, points, dtype).items():
                    results[f"{index}/{dtype}/{name}"] = np.asarray(array)
    except Exception as error:  # one line; jax would append a notice
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
    np.savez(results_path, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
