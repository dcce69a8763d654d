"""One worker process as its parent sees it: started, asked, watched, killed."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from multiprocessing import Pipe
from pathlib import Path

from discovery.executors.chunks import Chunk

SINGLE_THREAD = {
    "PJRT_NPROC": "1",  # XLA's pool: two threads can hang for ever, see cpu.py
    "JAX_PLATFORMS": "cpu",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}

_SECRET = re.compile("KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|AUTH", re.IGNORECASE)
_SETTING = re.compile("JAX_|XLA_")  # JAX_DEBUG_KEY_REUSE is no secret


class WorkerProcess:
    """A started worker.

    Attributes:
        name: for records, for example "processes/0".
        connection: our end; readable when the worker said something or died.
        ready: whether it has said that its imports are done.
        chunk: what it is working on, or None.
        since: when it was started or given its chunk, on the monotonic clock.
    """

    def __init__(self, name: str, function: str) -> None:
        self.name = name
        self.ready = False
        self.chunk: Chunk | None = None
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        self.connection, theirs = Pipe()
        by_signal = threading.current_thread() is threading.main_thread()
        arguments = [str(theirs.fileno()), str(os.getpid()), function, "signal" if by_signal else "watch"]
        self.process = subprocess.Popen(
            # -P: the folder we happen to be in must not shadow a module; PYTHONPATH says it all
            [sys.executable, "-P", "-m", "discovery.executors.worker", *arguments],
            env=worker_environment(os.environ),
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,  # a terminal's Ctrl-C goes to the parent alone
        )
        theirs.close()  # only the worker holds it now, so its death ends the connection
        self.since = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since `since`."""
        return time.monotonic() - self.since

    def give(self, chunk: Chunk, message: bytes) -> None:
        """Hand over a chunk. If the worker is gone, the connection's end will tell."""
        self.chunk, self.since = chunk, time.monotonic()
        with contextlib.suppress(OSError):
            self.connection.send_bytes(message)

    def memory(self) -> int:
        """Resident memory in bytes; 0 if the process is gone."""
        try:
            pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def last_words(self, lines: int = 8) -> list[str]:
        """The end of what it printed."""
        fd = self._output.fileno()  # pread: the worker writes at the offset that this file shares with it
        tail = os.pread(fd, 8192, max(os.fstat(fd).st_size - 8192, 0)).decode(errors="replace")
        return [line.rstrip() for line in tail.splitlines() if line.strip()][-lines:]

    def obituary(self) -> str:
        """One line on how a worker that closed its connection ended."""
        try:
            code = self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return "the worker closed its connection"
        said = "".join(f"; it last said: {line[:200]}" for line in self.last_words(1))
        if code >= 0:
            return f"the worker exited with status {code}{said}"
        hint = ", perhaps for want of memory" if -code == signal.SIGKILL else ""
        return f"the worker was killed by {signal.Signals(-code).name}{hint}{said}"

    def kill(self) -> None:
        """End it and what it started, at once; safe to call twice."""
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):  # it has no group yet, or any more
                self.process.kill()
            self.process.wait()
        self.connection.close()
        self._output.close()


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Environment of a worker: one thread, our import path, and nothing that looks like a secret."""
    kept = {name: value for name, value in environ.items() if not looks_secret(name)}
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return kept | SINGLE_THREAD | {"PYTHONPATH": path}


def looks_secret(name: str) -> bool:
    """Whether an environment variable of this name is kept from workers."""
    return bool(_SECRET.search(name)) and not _SETTING.match(name)
