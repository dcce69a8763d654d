"""What an exported file computes, found out in a process of its own.

    python -I probe.py POINTS.npz RESULTS.npz FILE [FILE ...]

This script runs outside the package (it is started by its path) and blocks the import of ours, so
it proves that the file stands alone. It imports numpy and jax, and whatever the file imports.

POINTS holds log_prob, old_log_prob, advantage and fraction, [N]. RESULTS receives, for file i and
dtype d, "i/d/value" and "i/d/gradient", [N].
"""

import importlib.abc
import importlib.util
import sys

OURS = ("discovery", "objectives", "environments", "llm_prompts")


class Blocker(importlib.abc.MetaPathFinder):
    """Refuses to import our packages, installed or not."""

    def find_spec(self, fullname, path=None, target=None):
        """Raise for our names, leave all others to the finders behind."""
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
    """Values and derivatives by log_prob of a whole batch, arrays [N]."""
    import jax
    import jax.numpy as jnp

    log_prob, *others = (jnp.asarray(points[k], dtype) for k in ("log_prob", "old_log_prob", "advantage"))
    keywords = {"fraction": jnp.asarray(points["fraction"], dtype)} if module.NEEDS_PROGRESS else {}

    @jax.jit
    def both(log_prob, others, keywords):
        def total(log_prob):
            value = module.policy_loss(log_prob, *others, **keywords)
            return value.sum(), value

        gradient, value = jax.grad(total, has_aux=True)(log_prob)
        return value, gradient

    return both(log_prob, others, keywords)


def main(points_path, results_path, *files):
    """Evaluate every file in float64 and float32."""
    sys.meta_path.insert(0, Blocker())
    import jax
    import numpy as np

    jax.config.update("jax_enable_x64", True)
    points = dict(np.load(points_path))
    results = {}
    for index, path in enumerate(files):
        module = load(path, f"exported_{index}")
        for dtype in ("float64", "float32"):
            value, gradient = evaluate(module, points, dtype)
            results[f"{index}/{dtype}/value"] = np.asarray(value)
            results[f"{index}/{dtype}/gradient"] = np.asarray(gradient)
    np.savez(results_path, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
