"""Ctrl-C is a request that whoever asks for it hears."""

from __future__ import annotations

import os
import signal

from lvlora.train.process import StopRequest


def test_two_stops_around_one_another():
    with StopRequest() as outer:
        with StopRequest() as inner:
            os.kill(os.getpid(), signal.SIGINT)
            assert inner.requested
        assert outer.requested
        with StopRequest() as other:
            pass
        assert not other.requested
