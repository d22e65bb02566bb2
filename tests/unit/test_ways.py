"""What "auto" chooses: by the length of the run, the device, and the compilers that there are."""

import pytest

from torchrl_gpu.learn import ways
from torchrl_gpu.learn.schedule import Schedule
from torchrl_gpu.learn.ways import Way, Ways

LONG = Schedule(total_timesteps=6_000_000, eval_freq=60_000)
SHORT = Schedule(total_timesteps=60_000, eval_freq=60_000)


@pytest.fixture(autouse=True)
def _compilers(monkeypatch):
    monkeypatch.setattr(ways, "can_compile", lambda kind: True)


def chosen(schedule, device, num_envs=256, compile="auto"):
    return Ways.of(compile, schedule, num_envs, device)


def test_a_long_run_is_compiled_and_a_short_one_is_not():
    on_cpu = chosen(LONG, "cpu")
    assert [way.compiled for way in on_cpu] == [True, True, True]
    assert [way.captured for way in on_cpu] == [False, False, False]
    assert str(on_cpu) == "compiled: update, world, evaluation"
    assert chosen(SHORT, "cpu") == Ways(*[Way(optional=True)] * 3)
    assert str(chosen(SHORT, "cpu")) == "nothing compiled"


def test_a_gpu_replays_updates_of_any_run():
    assert str(chosen(LONG, "cuda:1")) == "compiled: update, world, evaluation; as a CUDA graph: update"
    assert str(chosen(SHORT, "cuda")) == "nothing compiled; as a CUDA graph: update"


def test_each_part_is_compiled_for_what_it_does_itself():
    seldom = LONG.model_copy(update={"update_every": 1000, "eval_freq": 6_000_000})
    assert [way.compiled for way in chosen(seldom, "cpu")] == [False, True, False]
    many_envs = chosen(LONG, "cpu", num_envs=4096)
    assert [way.compiled for way in many_envs] == [True, False, True]


def test_what_is_chosen_may_fail_and_what_is_asked_for_may_not():
    assert all(way.optional for way in chosen(LONG, "cuda"))
    assert chosen(SHORT, "cuda", compile=True) == Ways(Way(True, True), Way(True), Way(True))
    assert chosen(LONG, "cuda", compile=False) == Ways(Way(), Way(), Way())


@pytest.mark.parametrize(("kind", "needed"), [("cpu", "g++"), ("cuda", "gcc")])
def test_without_a_compiler_nothing_is_compiled(kind, needed, monkeypatch):
    monkeypatch.undo()
    monkeypatch.delenv("CXX", raising=False)
    found = {needed}
    monkeypatch.setattr(ways.shutil, "which", lambda name: name if name in found else None)
    monkeypatch.setattr(ways, "find_spec", lambda name: "triton" in found or None)
    assert ways.can_compile(kind) == (kind == "cpu")
    found.add("triton")
    assert ways.can_compile(kind)
    found.remove(needed)
    assert not ways.can_compile(kind)
    assert not any(way.compiled for way in chosen(LONG, kind))
