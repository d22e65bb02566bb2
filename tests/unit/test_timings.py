"""Seconds of the parts of a loop."""

import pytest
import torch

from torchrl_gpu.watch.timings import PENDING, Timings


def test_each_lap_gets_the_time_since_the_last(monkeypatch):
    timings = Timings("cpu")
    timings.clock = iter([10.0, 11.0, 13.0, 13.5, 20.0, 20.25]).__next__
    timings.restart()
    for part in ("act", "step", "act"):
        timings.lap(part)
    timings.restart()  # nobody's time
    timings.lap("step")
    assert timings.read() == {"act": 1.5, "step": 2.25}


class Event:
    """A mark of a GPU that is ``Event.passed`` marks along, each 10 ms after the other."""

    made, passed = 0, 0

    def __init__(self, enable_timing):
        assert enable_timing
        type(self).made += 1
        self.number = None

    records = 0

    def record(self):
        type(self).records += 1
        self.number = type(self).records

    def query(self):
        return self.number <= type(self).passed

    def synchronize(self):
        type(self).passed = max(self.number, type(self).passed)

    def elapsed_time(self, end):
        assert self.query()
        assert end.query()
        return 10.0 * (end.number - self.number)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(Event, "made", 0)
    monkeypatch.setattr(Event, "passed", 0)
    monkeypatch.setattr(Event, "records", 0)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    return Event


def test_a_gpu_is_not_waited_for_until_it_is_read(gpu):
    timings = Timings("cuda")
    timings.restart()
    for _ in range(2 * PENDING):
        timings.lap("update")
    timings.lap("act")
    assert gpu.passed == 0
    seconds = timings.read()
    assert seconds == {"update": pytest.approx(0.01 * 2 * PENDING), "act": pytest.approx(0.01)}


def test_marks_that_a_gpu_has_passed_are_used_again(gpu):
    timings = Timings("cuda")
    timings.restart()
    for _ in range(10 * PENDING):
        timings.lap("update")
        gpu.passed = gpu.records
    assert gpu.made <= PENDING + 1
    assert timings.read() == {"update": pytest.approx(0.1 * PENDING)}
