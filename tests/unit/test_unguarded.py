"""Compiled calls without guards: they do what was compiled, and nothing else."""

import pytest
import torch

from marinenav_env.envs.torchrl_gpu.compilation import unguarded


def test_a_known_call_gives_the_same_and_a_new_function_is_refused():
    frames = []

    def count(graph, _):
        frames.append(graph)
        return graph.forward

    compiled = torch.compile(lambda x: 2 * x + 1, backend=count)
    x = torch.arange(3.0)
    expected = compiled(x)
    with unguarded():
        assert torch.equal(compiled(x), expected)
        with pytest.raises(RuntimeError, match="skip_guard_eval_unsafe"):
            torch.compile(lambda x: x - 1, backend=count)(x)
    assert len(frames) == 1
    # Outside the block guards are looked at again.
    assert torch.equal(compiled(x.double()), expected.double())
    assert len(frames) == 2
