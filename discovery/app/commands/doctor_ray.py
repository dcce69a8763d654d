"""``discovery doctor --ray``: whether a search can run on Ray, here or on a cluster."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from discovery.app.commands.findings import READY_SECONDS, Finding
from discovery.core.errors import DiscoveryError
from discovery.core.versions import cpu

if TYPE_CHECKING:
    from discovery.executors.ray.cluster import Ray
    from discovery.executors.ray.messages import Cluster


def ray_found(address: str) -> Iterator[Finding]:
    """Ray, its cluster, and a worker on each of its cores.

    Raises:
        BadInput: the address is malformed.
    """
    from discovery.core.config.execution import check_address
    from discovery.executors.ray.cluster import Ray

    check_address(address)
    if find_spec("ray") is None:
        yield Finding("ray", "is not installed: pip install 'rl-discovery[ray]'", "wrong")
        return
    yield Finding("ray", metadata.version("ray"))
    yield _token(address)
    began = time.monotonic()
    executor = Ray(address=address)
    try:
        with executor:
            found = executor.join()
            yield _there(found, address, time.monotonic() - began)
            yield from _workers(executor)
    except DiscoveryError as error:
        yield Finding("cluster", str(error), "wrong")
    finally:
        executor.close()


def _token(address: str) -> Finding:
    mode = os.environ.get("RAY_AUTH_MODE")
    if mode is None and address not in ("", "auto"):  # Ray sends no token to a given address
        text = "none is sent, since RAY_AUTH_MODE is unset; `export RAY_AUTH_MODE=token` sends one"
        return Finding("token", text)
    if mode == "disabled":
        text = "off, by RAY_AUTH_MODE: anyone who reaches a node's ports can run code there"
        return Finding("token", text, "hint")
    places = [name for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH") if os.environ.get(name)]
    where = places[0] if places else "~/.ray/auth_token"
    without = " if it exists" if address and mode is None else ", which Ray makes if it is missing"
    return Finding("token", f"{mode or 'token'}, from {where}{without * (not places)}")


def _there(found: "Cluster", address: str, seconds: float) -> Finding:
    whose = f"at {found.address}" if address else "on this machine, reachable from it alone"
    return Finding(
        "cluster",
        f"{whose}: {found.nodes} node{'s' * (found.nodes != 1)}, {found.cpus} cores, {sum(found.gpus)} GPUs, "
        f"ready after {seconds:.1f} s",
    )


def _workers(executor: "Ray") -> Iterator[Finding]:
    began = time.monotonic()
    facts = executor.start_workers(READY_SECONDS)
    by_node = Counter((fact.node, fact.device, fact.versions["cpu"]) for fact in facts)
    for (node, device, kind), workers in sorted(by_node.items()):
        text = f"{workers} on {node} ({device}), with the same versions as here"
        other = device == "cpu" and kind != cpu()
        text += f", but another kind of CPU ({kind}; here {cpu()}), which can round differently" * other
        yield Finding("workers", text, "hint" if other else "ok")
    if len(facts) < executor.workers:
        missing = f"{executor.workers - len(facts)} of {executor.workers} are not ready"
        text = f"{missing} after {READY_SECONDS:g} s: see `ray status` and its logs: the cluster may be busy"
        yield Finding("workers", text, "wrong")
    else:
        yield Finding("workers", f"all {len(facts)} ready after {time.monotonic() - began:.1f} s")
