"""A process may compile as many variants as it likes."""

import inspect
import re

import pytest
import torch
from torch import Tensor

from marinenav_env.envs.torchrl_gpu.compilation import compile_whole, told


def double(x: Tensor) -> Tensor:
    return x + x


@pytest.mark.skipif(
    "isolate_recompiles" not in inspect.signature(torch.compile).parameters,
    reason="this torch keeps the graphs of all calls together",
)
def test_one_function_is_compiled_for_more_sizes_than_torch_keeps() -> None:
    limit = torch._dynamo.config.recompile_limit
    for size in range(2, limit + 4):
        compiled = compile_whole(double, "double", dynamic=False, backend="eager")
        assert compiled(torch.ones(size)).tolist() == [2.0] * size
        with torch.compiler.set_stance("fail_on_recompile"):
            compiled(torch.zeros(size))


def test_a_broken_graph_is_refused() -> None:
    def ask(x: Tensor) -> Tensor:
        print(x)
        return x

    with pytest.raises(torch._dynamo.exc.Unsupported):
        compile_whole(ask, "ask", backend="eager")(torch.ones(2))


def test_what_need_not_be_compiled_says_in_a_line_why_it_is_not() -> None:
    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> None:
        raise OSError("no compiler here\nmany lines")

    lines: list[str] = []
    compiled = compile_whole(double, "double", optional=True, backend=backend)
    with told(lines.append):
        assert [compiled(torch.ones(2)).tolist() for _ in range(2)] == [[2.0, 2.0]] * 2
    begin, end = lines
    assert begin.startswith("compiling double; ")
    assert re.fullmatch(r"double cannot be compiled: .*no compiler here.*; it goes on without", end)


def test_a_first_call_says_what_it_compiles() -> None:
    lines: list[str] = []
    compiled = compile_whole(double, "double", backend="eager")
    with told(lines.append):
        compiled(torch.ones(2))
        compiled(torch.ones(2))
    assert [line.split()[0] for line in lines] == ["compiling", "compiled"]
    compile_whole(double, "double", backend="eager")(torch.ones(2))
    assert len(lines) == 2  # nobody listens any more
