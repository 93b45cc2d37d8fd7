"""A dask cluster of two workers, one of which dies while it works."""

import contextlib
import os
import signal
import threading
import time

import pytest


@contextlib.contextmanager
def losing_a_worker():
    """Give the scheduler's address; one worker is killed once it has work."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as two,
        distributed.Client(two) as client,
    ):
        victim = min(client.run(os.getpid).values())

        def kill():
            while not any(client.processing().values()):
                time.sleep(0.01)
            os.kill(victim, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        yield two.scheduler_address
        killer.join()
        assert victim not in client.run(os.getpid).values()
