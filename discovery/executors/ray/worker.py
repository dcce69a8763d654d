"""A worker on a Ray cluster: an actor of one process, which answers requests as `worker.py` does.

Its environment was set by Ray before it started (see `raybridge.py`), all but secrets, which the machine
that it is on may have: those are dropped before anything else is imported.
"""

import os
import threading

from discovery.core.versions import versions
from discovery.executors.call import resolve, this_device
from discovery.executors.environment import looks_secret
from discovery.executors.ray.messages import Facts
from discovery.executors.worker import answer, volunteer_for_out_of_memory


class RayWorker:
    """The actor: three groups of methods of one thread each, so that a long call hides none of the others.

    Args:
        function: what runs a chunk, as "module:function".
    """

    def __init__(self, function: str) -> None:
        for name in filter(looks_secret, list(os.environ)):
            del os.environ[name]
        volunteer_for_out_of_memory()
        self._function = resolve(function)

    def facts(self) -> Facts:
        """What it is, once its imports are done."""
        import ray

        node = ray.util.get_node_ip_address()  # type: ignore[attr-defined]
        return Facts(node, os.getpid(), this_device(), versions())

    def work(self, message: bytes) -> bytes:
        """A pickled reply to a pickled request."""
        return answer(self._function, message)

    def watchdog(self) -> None:
        """Never returns: whoever waits for it learns that the worker has ended."""
        threading.Event().wait()
