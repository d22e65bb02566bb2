"""A function of tensors, with differentiation inside it, as one compiled graph.

It is traced to plain operations, gradients and changes in place among them, and handed to the compiler as
they are. So it needs nothing of `torch.compile`: not its tracing of Python, which versions of torch before
2.15 have no way through `torch.autograd.grad` for, nor its look at what has changed at every call, which
takes a third of the time of a small update.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from marinenav_env.envs.torchrl_gpu.compilation import compiling, keep_memory

Function = Callable[..., tuple[Tensor, ...]]
"""Of tensors; others that it reads or changes in place must stay where they are."""


def lower(function: Function, inputs: Sequence[Tensor], what: str) -> Function:
    """Compile a function for inputs like these; nothing of it is computed yet.

    Other shapes than those of the inputs have no meaning. What the function asks of anything but tensors is
    decided here, once.
    """
    # On the CPU calls between kernels take as long as small kernels do, so C++ makes them, not Python.
    options = {"cpp_wrapper": True} if inputs[0].device.type == "cpu" else {}
    keep_memory()
    with compiling(what):
        graph = trace(function, inputs)
        state = _lift_state(graph)
        with torch.no_grad():
            compiled = torch._inductor.compile(graph, [*inputs, *state], options=options)

    @torch.no_grad()
    def call(*inputs: Tensor) -> tuple[Tensor, ...]:
        return compiled(*inputs, *state)

    return call


def trace(function: Function, inputs: Sequence[Tensor]) -> fx.GraphModule:
    """The operations of a function on inputs like these; nothing is computed or changed."""
    return make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)


def _lift_state(graph: fx.GraphModule) -> list[Tensor]:
    """Make inputs of the tensors that a graph holds, after its others; constants could not change."""
    state: dict[int, tuple[Tensor, fx.Node]] = {}
    last = [node for node in graph.graph.nodes if node.op == "placeholder"][-1]
    for node in list(graph.graph.nodes):
        if node.op != "get_attr":
            continue
        tensor = getattr(graph, node.target)
        if id(tensor) not in state:
            with graph.graph.inserting_after(last):
                last = graph.graph.placeholder(f"state{len(state)}")
            last.meta = dict(node.meta)
            state[id(tensor)] = (tensor, last)
        node.replace_all_uses_with(state[id(tensor)][1])
        graph.graph.erase_node(node)
    graph.recompile()
    return [tensor.detach() for tensor, _ in state.values()]
