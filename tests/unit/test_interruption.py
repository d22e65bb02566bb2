"""Signals as requests to stop."""

import os
import signal
import threading
import time

import pytest

from torchrl_gpu.runs import interruption
from torchrl_gpu.runs.interruption import StopRequests


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # Python looks for signals between two instructions


def test_signals_of_one_gesture_are_one_request():
    with StopRequests() as requests:
        assert requests.received is None
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        send(signal.SIGINT)
        assert requests.received == "SIGTERM"


def test_a_later_signal_stops_at_once(monkeypatch):
    monkeypatch.setattr(interruption, "ONE_GESTURE", 0.0)
    with StopRequests(), pytest.raises(KeyboardInterrupt):  # noqa: PT012
        send(signal.SIGINT)
        send(signal.SIGINT)


def test_a_hang_up_that_is_ignored_stays_ignored():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequests() as requests:
            send(signal.SIGHUP)
            assert requests.received is None
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_handlers_are_given_back():
    before = [signal.getsignal(number) for number in interruption.SIGNALS]
    with StopRequests():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in interruption.SIGNALS] == before


def test_in_a_thread_signals_are_left_to_others():
    failures = []

    def work():
        try:
            with StopRequests() as requests:
                assert requests.received is None
        except ValueError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []
