"""Output that nobody reads any more."""

import os
import sys

import pytest

from torchrl_gpu.watch.terminal import lasting_output


@pytest.fixture(params=["closed pipe", "/dev/full"])
def lost(request):
    """A stream that cannot be written to."""
    if request.param == "closed pipe":
        reading, number = os.pipe()
        os.close(reading)
    else:
        number = os.open(request.param, os.O_WRONLY)
    with open(number, "w") as stream:
        yield stream


def test_a_lost_output_falls_silent(lost, monkeypatch):
    monkeypatch.setattr(sys, "stdout", lost)
    with lasting_output():
        for _ in range(3):
            print("nobody hears this", flush=True)
        sys.stdout.write("x" * 100_000)
    assert sys.stdout is lost


def test_output_that_waits_in_a_buffer_is_let_go(lost, monkeypatch):
    monkeypatch.setattr(sys, "stdout", lost)

    @lasting_output()
    def say():
        print("too little to be written before the end")

    say()
    lost.close()  # as Python does when it ends


def test_other_output_passes(capsys):
    with lasting_output():
        print("one")
        assert not sys.stdout.isatty()
        print("two", file=sys.stderr)
    assert capsys.readouterr() == ("one\n", "two\n")


def test_no_output_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with lasting_output():
        print("nothing")
