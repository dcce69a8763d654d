"""A process of ours as its parent sees it: started, asked, watched, killed; a worker is one."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from pathlib import Path

from discovery.executors.call import Reply
from discovery.executors.environment import worker_environment
from discovery.executors.pool import Gone
from discovery.executors.worker import READY


class Child:
    """A started process of ours, with a connection to it, that ends when we do.

    Attributes:
        connection: our end; readable when it said something or ended.
    """

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self.connection, theirs = Pipe()
        by_signal = threading.current_thread() is threading.main_thread()
        how = [str(theirs.fileno()), str(os.getpid()), "signal" if by_signal else "watch"]
        self.process = subprocess.Popen(
            # -P: the folder we happen to be in must not shadow a module; PYTHONPATH says it all
            [sys.executable, "-P", "-m", module, *how, *arguments],
            env=dict(environment),
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,  # a terminal's Ctrl-C goes to the parent alone
        )
        theirs.close()  # only the child holds it now, so its death ends the connection

    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def last_lines(self, lines: int = 8) -> list[str]:
        """The end of what it printed."""
        fd = self._output.fileno()  # pread: the worker writes at the offset that this file shares with it
        tail = os.pread(fd, 8192, max(os.fstat(fd).st_size - 8192, 0)).decode(errors="replace")
        return [line.rstrip() for line in tail.splitlines() if line.strip()][-lines:]

    def exit_report(self) -> str:
        """One line on how a worker that closed its connection ended."""
        try:
            code = self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return "the worker closed its connection"
        said = "".join(f"; it last said: {line[:200]}" for line in self.last_lines(1))
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


class WorkerProcess(Child):
    """A started worker: a `pool.Worker`."""

    def __init__(self, name: str, function: str) -> None:
        super().__init__("discovery.executors.worker", [function], worker_environment(os.environ))
        self.name, self.kind, self.ready, self.chunk = name, "cpu", False, None
        self.since = time.monotonic()

    def send(self, message: bytes) -> None:
        """Hand over a pickled request. If the worker is gone, the connection's end will tell."""
        with contextlib.suppress(OSError):
            self.connection.send_bytes(message)

    def receive(self) -> Reply | None:
        """What it said, None for that it is ready.

        Raises:
            Gone: the connection has ended.
        """
        try:
            message = self.connection.recv()
        except (EOFError, OSError) as error:
            raise Gone(self.exit_report()) from error
        return None if message == READY else message

    def memory(self) -> int:
        """Resident memory in bytes; 0 if the process is gone."""
        try:
            pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
