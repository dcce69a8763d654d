"""Writing the file: header, numbers, recipe, functions, weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from discovery.core.errors import BadInput, unknown
from discovery.core.jobs import AlgorithmSpec
from discovery.export.literals import dictionary, literal, plain
from discovery.export.parts import Contents, Kind, Subject, check_format, holder, kind_for, kinds_of
from discovery.export.provenance import Provenance, header
from discovery.export.recipe import common, recipe
from objectives import all_options

MARK = "Written by rl-discovery, to be copied into your project: it needs nothing of it."
"""Mark at the beginning of exported files, and of no others."""


def export(
    spec: AlgorithmSpec,
    meta_params: Mapping[str, Any],
    numbers: Mapping[str, float],
    provenance: Provenance,
    target: str,
    part: str = "",
) -> str:
    """Source of one file with the part of an algorithm that a format exports, including its weights.

    Args:
        spec: which algorithm.
        meta_params: its searched entries, numpy arrays; empty for a known algorithm.
        numbers: plain numbers that override the algorithm's defaults; numbers that the part reads become
            constants of the file.
        provenance: where it comes from, for the header.
        target: a name in `FORMATS`.
        part: which part, if the format takes several of the algorithm's; see `parts.parts_for`.

    Raises:
        BadInput: unknown target, algorithm, option, number or part; entries of the wrong names or shapes; an
            algorithm without a part for the target, or with several of which none is named; or one that uses
            something that no file can import.
    """
    check_format(target)
    kind = kind_for(spec, _built(spec)[0], target, part)
    algorithm, entries, resolved = resolve(spec, meta_params, numbers)
    if (own := holder(spec, kind)) != spec:
        return export(own, *own_of(own, entries, resolved), provenance, target, kind.part)
    recipes = {task.name: recipe(task, dict(algorithm.defaults)) for task in provenance.tasks}
    first = next(iter(recipes.values()), {})
    contents = kind.write(_subject(spec, algorithm, {**resolved, **entries}, first, kind), target)
    return _assembled(spec, contents, provenance, *common(recipes))


def _subject(
    spec: AlgorithmSpec, algorithm: Any, meta_params: Any, recipe: Mapping[str, Any], kind: Kind
) -> Subject:
    options = all_options(spec.name, dict(spec.options))
    return Subject(spec, algorithm, options, meta_params, recipe, kind.part)


def own_of(
    part: AlgorithmSpec, meta_params: Mapping[str, Any], numbers: Mapping[str, float]
) -> tuple[dict[str, Any], dict[str, float]]:
    """The entries and numbers of an algorithm that belong to one of its parts."""
    algorithm, searched = _built(part)
    defaults = dict(algorithm.defaults)
    return (
        {name: value for name, value in meta_params.items() if name in searched},
        {name: value for name, value in numbers.items() if name in defaults},
    )


def _built(spec: AlgorithmSpec) -> tuple[Any, Any]:
    """The algorithm, and the shapes of its searched entries. This starts jax."""
    import jax

    from objectives import build

    try:
        algorithm = build(spec.name, dict(spec.options))
    except (ValueError, TypeError) as error:
        raise BadInput(str(error)) from error
    return algorithm, jax.eval_shape(algorithm.init, jax.random.key(0))


def numbers_in_files(spec: AlgorithmSpec) -> list[tuple[str, str, float]]:
    """(part, name, default) of the plain numbers in files of an algorithm's parts."""
    import jax

    found, whole = [], _built(spec)[0]
    for kind in kinds_of(spec, whole):
        algorithm, shapes = _built(part := holder(spec, kind))
        entries = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        of_whole = dict(whole.defaults)
        defaults = {name: float(of_whole.get(name, value)) for name, value in algorithm.defaults}
        contents = kind.write(_subject(part, algorithm, {**defaults, **entries}, {}, kind), kind.formats[0])
        held = {name: default for name, default in defaults.items() if name.upper() in contents.source.used}
        found += [(kind.part, name, default) for name, default in held.items()]
    return found


def resolve(
    spec: AlgorithmSpec, meta_params: Mapping[str, Any], numbers: Mapping[str, float]
) -> tuple[Any, dict[str, Any], dict[str, float]]:
    """The algorithm, its searched entries as arrays, and its plain numbers, all checked.

    Raises:
        BadInput: see `export`.
    """
    algorithm, wanted = _built(spec)
    defaults = dict(algorithm.defaults)
    opened = {name: value for name, value in meta_params.items() if name in defaults}
    entries = {name: value for name, value in meta_params.items() if name not in defaults}
    for name in numbers:
        if name not in defaults:
            raise unknown(f"number of algorithm {spec.name!r}", name, defaults)
    resolved = {name: float(plain(value)) for name, value in {**defaults, **numbers, **opened}.items()}
    return algorithm, _checked(spec, wanted, entries), resolved


def _checked(spec: AlgorithmSpec, wanted: Any, entries: Mapping[str, Any]) -> dict[str, Any]:
    import jax

    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        return {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in jax.tree.leaves_with_path(tree)}

    if shapes(wanted) != shapes(dict(entries)):
        raise BadInput(
            f"the searched entries do not fit algorithm {spec.name!r} with options {dict(spec.options)}: "
            f"it has {shapes(wanted) or 'none'}, got {shapes(dict(entries)) or 'none'}"
        )
    given = jax.tree.map(lambda leaf, like: np.asarray(leaf, like.dtype), dict(entries), wanted)
    for path, leaf in jax.tree.leaves_with_path(given):
        if not np.isfinite(leaf).all():
            raise BadInput(f"entry {jax.tree_util.keystr(path)} of algorithm {spec.name!r} is not finite")
    return given


def _assembled(
    spec: AlgorithmSpec,
    contents: Contents,
    provenance: Provenance,
    shared: Mapping[str, object],
    own: Mapping[str, Mapping[str, object]],
) -> str:
    from discovery.export.source import imports

    options = ", ".join(f"{name} {value}" for name, value in spec.options)
    head = header(
        f"{spec.name}{f' ({options})' if options else ''}: {contents.title}.",
        f"{MARK} {contents.description}",
        contents.usage,
        contents.differences,
        provenance,
        shared,
        own,
    )
    declared = {name: literal(value) for name, value in contents.declared.items()}
    numbers = "".join(f"{name} = {text}\n" for name, text in {**declared, **contents.source.numbers}.items())
    recipes = dictionary("RECIPE", shared) + dictionary("TASKS", own)
    start = "\n".join(part for part in (numbers, recipes) if part)
    sections = (start, contents.source.definitions, contents.adapter, contents.source.weights)
    body = "\n\n".join(part.rstrip("\n") + "\n" for part in sections if part)
    imported = imports(body).lstrip()  # none for a program that is a number
    source = "\n".join(section for section in (head, imported, body) if section)
    compile(source, "<export>", "exec")
    return source
