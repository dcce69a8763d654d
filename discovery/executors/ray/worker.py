"""A worker on a Ray cluster: an actor in its own process; it answers requests as `executors/worker.py` does.

Ray sets its environment before it starts (see `bridge.py`). The worker's machine may add secrets to it; the
actor removes those before it imports the training function.
"""

import os
import threading

from discovery.core.versions import versions
from discovery.executors.call import resolve, this_device
from discovery.executors.environment import looks_secret
from discovery.executors.ray.messages import Facts
from discovery.executors.worker import answer, volunteer_for_out_of_memory


class RayWorker:
    """The actor. Its three methods run in separate threads, so that a long call does not block the others.

    Args:
        function: what runs a chunk, as "module:function".
    """

    def __init__(self, function: str) -> None:
        for name in filter(looks_secret, list(os.environ)):
            del os.environ[name]
        volunteer_for_out_of_memory()
        self._function = resolve(function)

    def facts(self) -> Facts:
        """Facts about this worker, once its imports are done."""
        import ray

        node = ray.util.get_node_ip_address()  # type: ignore[attr-defined]
        return Facts(node, os.getpid(), this_device(), versions())

    def work(self, message: bytes) -> bytes:
        """A pickled reply to a pickled request."""
        return answer(self._function, message)

    def watchdog(self) -> None:
        """Never returns: the caller that waits for it learns when the worker has ended."""
        threading.Event().wait()
