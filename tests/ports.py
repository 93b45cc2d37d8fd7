"""Ports for tests of several processes."""

import contextlib
import random
import socket


def free_port() -> int:
    """One that is free now, and that the system gives to nobody who asks for any."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
