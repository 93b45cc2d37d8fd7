"""The program in a child of the test's own process, to be killed, stopped or run beside another.

Python and torch are there already: to start them anew takes longer than most of what is started.
Where the start itself is tested, `run_lvlora_process` has a new process.
"""

import contextlib
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class Forked:
    """``Forked(["train", "data.csv"])``: like `subprocess.Popen` of the program, with text.

    Attributes:
        returncode: as Popen's, negative for a signal; None while it runs.
    """

    def __init__(
        self,
        args: Sequence[object],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        """
        Args:
            env: what is set besides the environment of the test.
            before: called in the child before the program.
        """
        self.returncode: int | None = None
        self._said = [tempfile.TemporaryFile() for _ in range(2)]
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                self._prepare(env or {}, cwd)
                if before is not None:
                    before()
                from lvlora.cli.program.app import main

                code = main([str(arg) for arg in args])
                sys.stdout.flush()
                sys.stderr.flush()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)

    def _prepare(self, env: Mapping[str, str], cwd: Path | None) -> None:
        import torch

        for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGPROF):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        warnings.resetwarnings()
        warnings.simplefilter("ignore")  # of libraries; what lvlora says, it says itself
        os.environ.update(env)
        if cwd is not None:
            os.chdir(cwd)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, file in enumerate(self._said, 1):
            os.dup2(file.fileno(), number)
        sys.stdin = open(0, closefd=False)
        sys.stdout, sys.stderr = (open(n, "w", buffering=1, closefd=False) for n in (1, 2))
        torch.set_num_threads(1)  # threads of a parent are not there any more

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """At once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        """Wait for its end; what it wrote to stdout and to stderr.

        Raises:
            TimeoutError: it did not end; it is killed, and what it wrote is in the message.
        """
        deadline = time.monotonic() + timeout
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        late = self.poll() is None
        if late:
            self.kill()
            os.waitpid(self.pid, 0)
        words = []
        for file in self._said:
            with contextlib.closing(file):
                file.seek(0)
                words.append(file.read().decode())
        if late:
            raise TimeoutError(f"it did not end: {words}")
        return words[0], words[1]
