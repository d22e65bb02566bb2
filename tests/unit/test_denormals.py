"""Tiny numbers are taken for 0 while throughput mode learns, and at no other time."""

import json

import pytest
import torch

from tests.unit.learner_ways import CONFIGS, FAST, SHORT
from torchrl_gpu.learn.denormals import flushed_denormals
from torchrl_gpu.running import run_trials
from torchrl_gpu.settings.parse import make_trials

needs_flushing = pytest.mark.skipif(
    not torch.set_flush_denormal(False), reason="this processor cannot take them for 0"
)


def tiny_numbers_are_nothing() -> bool:
    return (torch.full((16,), 1e-30) * 1e-9).eq(0).all().item()


@needs_flushing
def test_a_block_flushes_and_leaves_what_was():
    assert not tiny_numbers_are_nothing()
    with flushed_denormals():
        assert tiny_numbers_are_nothing()
        with flushed_denormals():
            pass
        assert tiny_numbers_are_nothing()
    assert not tiny_numbers_are_nothing()


@needs_flushing
@pytest.mark.parametrize("keys", [{}, FAST], ids=["reproduction", "throughput"])
def test_throughput_mode_flushes_and_reproduction_mode_computes_as_it_always_did(keys, tmp_path):
    written = json.loads((CONFIGS / "dqn.json").read_text(encoding="utf-8"))
    (trial,) = make_trials(written | SHORT | keys)
    seen = []
    tell = lambda timestep, metrics: seen.append(tiny_numbers_are_nothing())  # noqa: E731
    run_trials({tmp_path: trial}, "cpu", "quiet", tell)
    assert seen
    assert set(seen) == {keys is FAST}
    assert not tiny_numbers_are_nothing()
