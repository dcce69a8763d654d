"""Writing the file: header, kernel, adapter, weights."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from discovery.errors import BadInput, unknown
from discovery.export.hosts import FORMATS, Needs
from discovery.export.kernels import Kernel, kernel_of
from discovery.export.literals import dictionary, plain
from discovery.export.provenance import Provenance, header
from discovery.export.recipe import common, recipe
from discovery.work import AlgorithmSpec


def export(
    spec: AlgorithmSpec,
    meta_params: Mapping[str, Any],
    numbers: Mapping[str, float],
    provenance: Provenance,
    target: str,
) -> str:
    """Source of one file with the policy loss of an algorithm, its weights inside.

    Args:
        spec: which algorithm.
        meta_params: its searched entries, numpy arrays; empty for a known algorithm.
        numbers: plain numbers that override the algorithm's defaults; the loss's own become
            constants of the file.
        provenance: where it comes from, for the header.
        target: a name in `FORMATS`.

    Raises:
        BadInput: unknown target, algorithm, option or number; entries of the wrong names or shapes;
            or an algorithm that is not an elementwise policy loss.
    """
    if target not in FORMATS:
        raise unknown("export format", target, FORMATS)
    algorithm, entries, resolved = resolve(spec, meta_params, numbers)
    kernel = _kernel(spec, entries, resolved)
    needs = Needs(algorithm.policy_loss.normalize_advantage, kernel.temporal)
    defaults = dict(algorithm.defaults)
    recipes = {task.name: recipe(task, defaults) for task in provenance.tasks}
    shared, own = common(recipes)
    adapter = FORMATS[target](needs, next(iter(recipes.values()), {}))

    options = ", ".join(f"{name} {value}" for name, value in spec.options)
    title = f"{spec.name}{f' ({options})' if options else ''}: a policy loss for {adapter.host}."
    wants = [
        "standardized advantages" if needs.normalize_advantage else "advantages as they are, not normalized",
        *(["the share of the training that has passed, `fraction`"] if needs.temporal else []),
    ]
    description = (
        f"Written by rl-discovery, to be copied into your project: it needs nothing of it. `policy_loss` is "
        f"{kernel.formula}, per sample, to be minimized. It wants {' and '.join(wants)}."
    )
    return _assemble(
        header(title, description, adapter.usage, adapter.differences, provenance, shared, own),
        _imports(kernel, adapter.standard_imports, adapter.imports),
        f"NORMALIZED_ADVANTAGE = {needs.normalize_advantage}\nNEEDS_PROGRESS = {needs.temporal}\n"
        + kernel.constants,
        dictionary("RECIPE", shared) + dictionary("TASKS", own),
        [kernel.functions(needs.normalize_advantage), adapter.code, kernel.weights],
    )


def resolve(
    spec: AlgorithmSpec, meta_params: Mapping[str, Any], numbers: Mapping[str, float]
) -> tuple[Any, dict[str, Any], dict[str, float]]:
    """The algorithm, its searched entries as float32 arrays, and its plain numbers, all checked.

    Raises:
        BadInput: see `export`.
    """
    from objectives import build  # jax starts here

    try:
        algorithm = build(spec.name, dict(spec.options))
    except (ValueError, TypeError) as error:
        raise BadInput(str(error)) from error
    if algorithm.policy_loss is None:
        raise BadInput(
            f"algorithm {spec.name!r} cannot be exported: its loss is not an elementwise function "
            "policy_loss(log_prob, old_log_prob, advantage), which is what the formats "
            f"{', '.join(FORMATS)} consist of. Use it through `import discovery` instead"
        )
    defaults = dict(algorithm.defaults)
    opened = {name: value for name, value in meta_params.items() if name in defaults}
    entries = {name: value for name, value in meta_params.items() if name not in defaults}
    for name in numbers:
        if name not in defaults:
            raise unknown(f"number of algorithm {spec.name!r}", name, defaults)
    resolved = {name: float(plain(value)) for name, value in {**defaults, **numbers, **opened}.items()}
    return algorithm, _checked(spec, algorithm, entries), resolved


def _checked(spec: AlgorithmSpec, algorithm: Any, entries: Mapping[str, Any]) -> dict[str, Any]:
    import jax

    wanted = jax.eval_shape(algorithm.init, jax.random.key(0))
    given = jax.tree.map(lambda x: np.asarray(x, np.float32), dict(entries))

    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        return {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(tree)}

    if shapes(wanted) != shapes(given):
        raise BadInput(
            f"the searched entries do not fit algorithm {spec.name!r} with options {dict(spec.options)}: "
            f"it has {shapes(wanted) or 'none'}, got {shapes(given) or 'none'}"
        )
    for path, leaf in jax.tree.leaves_with_path(given):
        if not np.isfinite(leaf).all():
            raise BadInput(f"entry {jax.tree_util.keystr(path)} of algorithm {spec.name!r} is not finite")
    return given


def _kernel(spec: AlgorithmSpec, entries: Mapping[str, Any], numbers: Mapping[str, float]) -> Kernel:
    from objectives import FACTORIES, factory

    kernel = kernel_of(spec.name)
    if kernel is None:
        known = [name for name in sorted(FACTORIES) if kernel_of(name)]
        raise BadInput(
            f"algorithm {spec.name!r} has no source form yet; exportable are: {', '.join(known)}. "
            "Add yours to KERNELS in discovery/export/kernels.py"
        )
    options = inspect.signature(factory(spec.name)).bind(**dict(spec.options))
    options.apply_defaults()
    return kernel(options.arguments, numbers, entries)


def _imports(kernel: Kernel, standard: str, third_party: str) -> str:
    if "base64." in kernel.weights:
        standard = f"import base64\n{standard}"
    body = "import jax\nimport jax.numpy as jnp\n" + ("import numpy as np\n" if kernel.weights else "")
    return f"{standard}\n{body}{third_party}" if standard else body + third_party


def _assemble(head: str, imports: str, constants: str, recipes: str, parts: list[str]) -> str:
    sections = "\n\n".join(part.rstrip("\n") + "\n" for part in parts if part)
    source = f"{head}\n{imports}\n{constants}\n{recipes}\n\n{sections}"
    compile(source, "<export>", "exec")
    return source
