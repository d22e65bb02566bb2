"""A process may compile as many variants as it likes."""

import inspect

import pytest
import torch
from torch import Tensor

from marinenav_env.envs.torchrl_gpu.compilation import compile_whole


def double(x: Tensor) -> Tensor:
    return x + x


@pytest.mark.skipif(
    "isolate_recompiles" not in inspect.signature(torch.compile).parameters,
    reason="this torch keeps the graphs of all calls together",
)
def test_one_function_is_compiled_for_more_sizes_than_torch_keeps() -> None:
    limit = torch._dynamo.config.recompile_limit
    for size in range(2, limit + 4):
        compiled = compile_whole(double, dynamic=False, backend="eager")
        assert compiled(torch.ones(size)).tolist() == [2.0] * size
        with torch.compiler.set_stance("fail_on_recompile"):
            compiled(torch.zeros(size))


def test_a_broken_graph_is_refused() -> None:
    def ask(x: Tensor) -> Tensor:
        print(x)
        return x

    with pytest.raises(torch._dynamo.exc.Unsupported):
        compile_whole(ask, backend="eager")(torch.ones(2))
