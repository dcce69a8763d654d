"""Child processes as their parent sees them: start one, talk to it, read its output, kill it."""

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
    """A started process with a connection to it; it ends when its parent ends.

    Attributes:
        connection: the parent's end; readable when the child has sent a message or ended.
    """

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self.connection, theirs = Pipe()
        by_signal = threading.current_thread() is threading.main_thread()
        how = [str(theirs.fileno()), str(os.getpid()), "signal" if by_signal else "watch"]
        self.process = subprocess.Popen(
            # -P: files in the working directory must not shadow modules; PYTHONPATH has the whole path
            [sys.executable, "-P", "-m", module, *how, *arguments],
            env=dict(environment),
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,  # a terminal's Ctrl-C goes only to the parent
        )
        theirs.close()  # only the child holds it now, so the connection ends with the child

    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def last_lines(self, lines: int = 8) -> list[str]:
        """The last lines that it printed."""
        fd = self._output.fileno()  # pread, because the child writes at this file's offset
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
        hint = ", perhaps because memory ran out" if -code == signal.SIGKILL else ""
        return f"the worker was killed by {signal.Signals(-code).name}{hint}{said}"

    def kill(self) -> None:
        """End it and its child processes at once; safe to call twice."""
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (
                ProcessLookupError,
                PermissionError,
            ):  # its process group does not exist yet, or no longer
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
        with contextlib.suppress(OSError):
            self.connection.send_bytes(message)

    def receive(self) -> Reply | None:
        try:
            message = self.connection.recv()
        except (EOFError, OSError) as error:
            raise Gone(self.exit_report()) from error
        return None if message == READY else message

    def memory(self) -> int:
        try:
            pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
