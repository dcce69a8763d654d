"""Writing the file: header, numbers, recipe, functions, weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from discovery.core.errors import BadInput, unknown
from discovery.core.jobs import AlgorithmSpec
from discovery.export.literals import dictionary, plain
from discovery.export.parts import POLICY_LOSS, check_format, holder, kind_for, kinds_of
from discovery.export.provenance import Provenance, header
from discovery.export.recipe import common, recipe
from discovery.export.source import Subject, Text
from objectives import all_options


def export(
    spec: AlgorithmSpec,
    meta_params: Mapping[str, Any],
    numbers: Mapping[str, float],
    provenance: Provenance,
    target: str,
) -> str:
    """Source of one file with the part of an algorithm that a format takes, its weights inside.

    Args:
        spec: which algorithm.
        meta_params: its searched entries, numpy arrays; empty for a known algorithm.
        numbers: plain numbers that override the algorithm's defaults; those that the part reads become
            constants of the file.
        provenance: where it comes from, for the header.
        target: a name in `FORMATS`.

    Raises:
        BadInput: unknown target, algorithm, option or number; entries of the wrong names or shapes;
            or an algorithm that has nothing which the target takes.
    """
    check_format(target)
    algorithm, entries, resolved = resolve(spec, meta_params, numbers)
    kind = kind_for(spec.name, target)
    if (part := holder(spec, kind)) != spec:
        return export(part, *own_of(part, entries, resolved), provenance, target)
    recipes = {task.name: recipe(task, dict(algorithm.defaults)) for task in provenance.tasks}
    first = next(iter(recipes.values()), {})
    options = all_options(spec.name, dict(spec.options))
    text = kind.write(Subject(spec, algorithm, options, resolved, entries, first), target)
    return _assemble(spec, text, provenance, *common(recipes))


def own_of(
    part: AlgorithmSpec, meta_params: Mapping[str, Any], numbers: Mapping[str, float]
) -> tuple[dict[str, Any], dict[str, float]]:
    """Those of an algorithm's entries and numbers that one of its parts has."""
    import jax

    from objectives import build

    algorithm = build(part.name, dict(part.options))
    searched = jax.eval_shape(algorithm.init, jax.random.key(0))
    defaults = dict(algorithm.defaults)
    return (
        {name: value for name, value in meta_params.items() if name in searched},
        {name: value for name, value in numbers.items() if name in defaults},
    )


def numbers_in_files(spec: AlgorithmSpec) -> list[tuple[str, str, float]]:
    """(part, name, default) of the plain numbers that files of an algorithm's parts hold."""
    from objectives import build

    defaults = dict(build(spec.name, dict(spec.options)).defaults)
    parts = [(kind, holder(spec, kind)) for kind in kinds_of(spec.name)]
    return [
        (kind.part, name, defaults[name])
        for kind, part in parts
        for name in kind.reads(part, all_options(part.name, dict(part.options)))
    ]


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
    _check_exportable(spec, algorithm)
    defaults = dict(algorithm.defaults)
    opened = {name: value for name, value in meta_params.items() if name in defaults}
    entries = {name: value for name, value in meta_params.items() if name not in defaults}
    for name in numbers:
        if name not in defaults:
            raise unknown(f"number of algorithm {spec.name!r}", name, defaults)
    resolved = {name: float(plain(value)) for name, value in {**defaults, **numbers, **opened}.items()}
    return algorithm, _checked(spec, algorithm, entries), resolved


def _check_exportable(spec: AlgorithmSpec, algorithm: Any) -> None:
    if kinds_of(spec.name):
        return
    if algorithm.policy_loss is None:
        raise BadInput(
            f"algorithm {spec.name!r} cannot be exported: its loss is not an elementwise function "
            "policy_loss(log_prob, old_log_prob, advantage), nor is it a mirror map or a learned optimizer "
            "of ours, which is all that the formats take. Use it through `import discovery` instead"
        )
    from objectives import FAMILIES, place_of

    known = [name for name in sorted(FAMILIES) if place_of(name) in POLICY_LOSS.members]
    raise BadInput(
        f"algorithm {spec.name!r} has no source form yet; exportable are: {', '.join(known)}. "
        "Add yours to KERNELS in discovery/export/kernels.py"
    )


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


def _assemble(
    spec: AlgorithmSpec,
    text: Text,
    provenance: Provenance,
    shared: Mapping[str, object],
    own: Mapping[str, Mapping[str, object]],
) -> str:
    options = ", ".join(f"{name} {value}" for name, value in spec.options)
    head = header(
        f"{spec.name}{f' ({options})' if options else ''}: {text.title}.",
        "Written by rl-discovery, to be copied into your project: it needs nothing of it. "
        + text.description,
        text.usage,
        text.differences,
        provenance,
        shared,
        own,
    )
    recipes = dictionary("RECIPE", shared) + dictionary("TASKS", own)
    sections = "\n\n".join(part.rstrip("\n") + "\n" for part in text.code if part)
    source = f"{head}\n{_imports(text)}\n{text.constants}\n{recipes}\n\n{sections}"
    compile(source, "<export>", "exec")
    return source


def _imports(text: Text) -> str:
    used = "".join((text.constants, *text.code))
    standard = f"import base64\n{text.standard_imports}" if "base64." in used else text.standard_imports
    body = "import jax\nimport jax.numpy as jnp\n" + (
        "import numpy as np\n" if "np." in used.replace("jnp.", "") else ""
    )
    return f"{standard}\n{body}{text.imports}" if standard else body + text.imports
