"""Large arrays of a run: pytrees as content-addressed files, and outcomes as bytes. Bit for bit, no pickle.

    arrays/<sha256>.npz      member "spec": JSON, one entry per leaf; member "leaf_<i>": its bits

The name is the SHA-256 of the spec and of all bits, so two states are equal exactly when their digests are,
and damage is detected when a file is read.
"""

import hashlib
import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from discovery.core.errors import LedgerError
from discovery.core.jobs import Outcome

_PREFIX = ".unfinished-"


def digest_of(tree: Any) -> str:
    """SHA-256 (hex) of a pytree: of its paths, kinds, dtypes, shapes and bits."""
    return _encode(tree)[0]


def write_tree(folder: Path, tree: Any) -> str:
    """Store a pytree in `folder` and return its digest. When this returns, the tree is on disk.

    Leaves may be numpy and jax arrays, typed jax keys, Python and numpy numbers, strings and None.
    """
    digest, spec, arrays = _encode(tree)
    path = folder / f"{digest}.npz"
    if not path.exists():
        temporary = folder / f"{_PREFIX}{os.getpid()}-{digest[:16]}"
        try:
            with open(temporary, "wb") as file:
                members = {f"leaf_{index}": array for index, array in arrays.items()}
                np.savez(file, spec=np.frombuffer(spec, np.uint8), **members)  # pyright: ignore[reportArgumentType]
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    # Also for an existing file: the process that renamed it may have been killed before this line.
    sync_folder(folder)
    return digest


def read_tree(folder: Path, digest: str, template: Any = None) -> Any:
    """The pytree that `write_tree` stored, bit for bit.

    Args:
        folder: where it was stored.
        digest: what `write_tree` returned.
        template: a tree of the same structure, shapes and dtypes, whose leaves are not read; or a function
            that makes one, called only if the tree is more than nested dicts. Without one, a tree of nested
            dicts can be read.
    """
    spec, arrays = _load(folder / f"{digest}.npz", digest)
    leaves = [_decode(entry, arrays.get(index)) for index, entry in enumerate(spec)]
    if template is None or (callable(template) and _is_nested(spec)):
        return _nested(spec, leaves)
    template = template() if callable(template) else template
    expected, treedef = jax.tree_util.tree_flatten_with_path(template, is_leaf=_is_none)
    _check_structure(spec, expected)
    return jax.tree_util.tree_unflatten(treedef, leaves)


def discard_unfinished(folder: Path) -> None:
    """Remove the partial files of a killed writer. Call it only while holding the run's lock."""
    for path in folder.glob(f"{_PREFIX}*"):
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the folder's names durable: a rename is safe only after this."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pack(outcome: Outcome) -> bytes:
    """An outcome as bytes: header length (uint32), JSON header [[name, dtype, shape], ...], raw arrays.

    Everything is little-endian, and the arrays follow one another in the header's order. Metrics are listed
    by name, after the fields.
    """
    fields = {name: np.asarray(value) for name, value in numbers_of(outcome).items()}
    if strange := [name for name, array in fields.items() if array.dtype.kind not in "biuf"]:
        raise LedgerError(f"an outcome's {', '.join(strange)} must be numbers")
    fields = {name: array.astype(array.dtype.newbyteorder("<")) for name, array in fields.items()}
    header = json.dumps([[name, a.dtype.str, list(a.shape)] for name, a in fields.items()]).encode()
    return b"".join([struct.pack("<I", len(header)), header, *(a.tobytes() for a in fields.values())])


def unpack(data: bytes) -> Outcome:
    """The outcome that `pack` encoded, as numpy arrays with the same bits."""
    (length,) = struct.unpack_from("<I", data)
    offset, fields = 4 + length, {}
    for name, dtype, shape in json.loads(data[4:offset]):
        count = int(np.prod(shape))
        fields[name] = np.frombuffer(data, dtype, count, offset).reshape(shape).copy()
        offset += count * np.dtype(dtype).itemsize
    metrics = {name: fields.pop(name) for name in list(fields) if name not in Outcome._fields}
    return Outcome(**fields, metrics=metrics)


def numbers_of(outcome: Outcome) -> dict[str, Any]:
    """Fields and metrics of an outcome, by name.

    Raises:
        LedgerError: a metric has the name of a field.
    """
    if taken := sorted(outcome.metrics.keys() & set(Outcome._fields)):
        raise LedgerError(f"a metric may not be called {', '.join(taken)}: outcomes have a field so named")
    fields = outcome._asdict()
    return fields | dict(fields.pop("metrics"))


def _is_none(leaf: Any) -> bool:
    return leaf is None


def _encode(tree: Any) -> tuple[str, bytes, dict[int, np.ndarray]]:
    """Digest, spec and the arrays by leaf index."""
    entries, arrays = [], {}
    # None counts as a leaf, so a state with None instead of an array is a different state.
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_none)[0]:
        entry, array = _describe(leaf, path)
        if array is not None:
            arrays[len(entries)] = array
        entries.append(entry)
    spec = json.dumps(entries, sort_keys=True).encode()
    return _digest(spec, arrays), spec, arrays


def _digest(spec: bytes, arrays: dict[int, np.ndarray]) -> str:
    content = hashlib.sha256(spec)
    for index in sorted(arrays):
        content.update(arrays[index].tobytes())
    return content.hexdigest()


def _describe(leaf: Any, path: tuple) -> tuple[dict[str, Any], np.ndarray | None]:
    """One leaf as (JSON entry, array or None)."""
    entry: dict[str, Any] = {"path": [_step(key) for key in path]}
    if leaf is None or type(leaf) in (bool, int, str):
        return entry | {"kind": "plain", "value": leaf}, None
    if type(leaf) is float:
        return entry | {"kind": "float", "value": struct.pack(">d", leaf).hex()}, None
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        entry |= {"kind": "key", "impl": str(jax.random.key_impl(leaf))}
        array = np.asarray(jax.random.key_data(leaf))
    elif isinstance(leaf, jax.Array):
        entry |= {"kind": "jax", "weak": bool(leaf.weak_type)}
        array = np.asarray(leaf)
    elif type(leaf) is np.ndarray or isinstance(leaf, np.generic):
        entry |= {"kind": "numpy" if type(leaf) is np.ndarray else "scalar"}
        array = np.asarray(leaf)
    else:
        array = np.asarray(None)
    if array.dtype.kind not in "biufc" and not _is_extended(array.dtype):
        raise LedgerError(
            f"a {type(leaf).__name__} at {_path_text(entry)!r} cannot be stored; states consist of arrays of "
            "numbers, jax keys, Python numbers, strings and None"
        )
    array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    entry |= {"dtype": array.dtype.name, "shape": list(array.shape)}
    return entry, array.view(f"<u{array.itemsize}") if _is_extended(array.dtype) else array


def _is_extended(dtype: np.dtype) -> bool:
    """Whether it is bfloat16 or another dtype of jax, which numpy's files do not keep."""
    return dtype.kind == "V" and dtype.names is None and not dtype.name.startswith("void")


def _decode(entry: dict[str, Any], array: np.ndarray | None) -> Any:
    """The leaf of an entry."""
    if entry["kind"] == "plain":
        return entry["value"]
    if array is None:
        return struct.unpack(">d", bytes.fromhex(entry["value"]))[0]
    if entry["kind"] == "key":
        return jax.random.wrap_key_data(jnp.asarray(array), impl=entry["impl"])
    dtype = jnp.dtype(entry["dtype"])
    array = array.view(dtype) if array.dtype != dtype else array
    if entry["kind"] != "jax":
        return array[()] if entry["kind"] == "scalar" else array
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise LedgerError(
            f"{_path_text(entry)!r} is {dtype.name}: start with JAX_ENABLE_X64=1, as the run did"
        )
    # The only public way to make a weakly typed array of given bits is to write them into one.
    weak = jnp.broadcast_to(jnp.asarray(array.dtype.type(0).item()), array.shape) if entry["weak"] else None
    return jnp.asarray(array) if weak is None or weak.dtype != dtype else weak.at[...].set(array)


def _load(path: Path, digest: str) -> tuple[list[dict[str, Any]], dict[int, np.ndarray]]:
    """Spec and arrays of a file, checked against its digest."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            spec = file["spec"].tobytes()
            entries = json.loads(spec)
            arrays = {i: file[f"leaf_{i}"] for i, entry in enumerate(entries) if "dtype" in entry}
    except FileNotFoundError:
        raise LedgerError(f"{path} is missing; restore it from a copy of the run") from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise LedgerError(f"{path} is damaged ({error}); restore it from a copy of the run") from error
    if _digest(spec, arrays) != digest:
        raise LedgerError(f"{path} is damaged (its content does not match its name); restore it from a copy")
    return entries, arrays


def _step(key: Any) -> list[Any]:
    """One step of a leaf's path, as [kind, name]."""
    if isinstance(key, jax.tree_util.DictKey):
        return ["key", key.key if isinstance(key.key, (str, int)) else repr(key.key)]
    if isinstance(key, jax.tree_util.SequenceKey):
        return ["index", key.idx]
    if isinstance(key, jax.tree_util.GetAttrKey):
        return ["attribute", key.name]
    return ["child", str(key)]


def _path_text(entry: dict[str, Any]) -> str:
    return "/".join(str(name) for _, name in entry["path"])


def _is_nested(spec: list[dict[str, Any]]) -> bool:
    """Whether a tree consists of nested dicts, which can be rebuilt from paths alone."""
    return all(kind == "key" for entry in spec for kind, _ in entry["path"])


def _nested(spec: list[dict[str, Any]], leaves: list[Any]) -> Any:
    """A tree of nested dicts, without a template."""
    if not _is_nested(spec):
        raise LedgerError("this tree is more than nested dicts: reading it needs a template")
    if len(spec) == 1 and not spec[0]["path"]:
        return leaves[0]
    tree: dict[str, Any] = {}
    for entry, leaf in zip(spec, leaves, strict=True):
        *parents, last = (name for _, name in entry["path"])
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = leaf
    return tree


def _check_structure(spec: list[dict[str, Any]], expected: list[tuple[tuple, Any]]) -> None:
    """Raise unless the stored leaves have the template's paths, shapes and dtypes."""
    stored = {json.dumps(entry["path"]): _stored_form(entry) for entry in spec}
    wanted = {json.dumps([_step(key) for key in path]): _form(leaf) for path, leaf in expected}
    problems = [f"{_names(path)!r} was not stored" for path in wanted if path not in stored]
    problems += [f"{_names(path)!r} is not expected" for path in stored if path not in wanted]
    for path in wanted.keys() & stored.keys():
        (kind, shape, dtype), (its_kind, its_shape, its_dtype) = wanted[path], stored[path]
        # A Python number fits an array scalar: a first state may hold 0.0 where later ones hold an array.
        if (kind, shape) != (its_kind, its_shape) or (dtype and its_dtype and dtype != its_dtype):
            problems.append(
                f"{_names(path)!r} was stored as {its_kind} {its_dtype or ''}{its_shape}, "
                f"expected {kind} {dtype or ''}{shape}"
            )
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise LedgerError(
            f"the stored state does not fit: {', '.join(sorted(problems)[:3])}{more}; "
            "use the configuration and the version that the run was started with"
        )


def _names(path: str) -> str:
    return _path_text({"path": json.loads(path)})


def _stored_form(entry: dict[str, Any]) -> tuple[str, tuple[int, ...], str | None]:
    """(kind, shape, dtype or None) of a stored leaf."""
    shape = tuple(entry.get("shape", ()))
    if entry["kind"] == "key":
        return "key", shape[:-1], entry["impl"]
    if entry["kind"] == "plain" and (entry["value"] is None or isinstance(entry["value"], str)):
        return type(entry["value"]).__name__, (), None
    return "number", shape, entry.get("dtype")


def _form(leaf: Any) -> tuple[str, tuple[int, ...], str | None]:
    """(kind, shape, dtype or None) of a template's leaf; `jax.ShapeDtypeStruct` is one, too."""
    dtype = getattr(leaf, "dtype", None)
    if leaf is None or isinstance(leaf, str):
        return type(leaf).__name__, (), None
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        impl = str(jax.random.key_impl(leaf)) if isinstance(leaf, jax.Array) else None
        return "key", tuple(leaf.shape), impl
    return "number", tuple(np.shape(leaf)), None if dtype is None else np.dtype(dtype).name
