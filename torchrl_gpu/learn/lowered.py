"""A function of tensors, with differentiation inside it, as one compiled graph.

It is traced to plain operations, gradients and changes in place among them, and handed to the compiler as
they are. So it needs nothing of `torch.compile`: not its tracing of Python, which versions of torch before
2.15 have no way through `torch.autograd.grad` for, nor its look at what has changed at every call, which
takes a third of the time of a small update.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.fx.experimental.proxy_tensor import make_fx

from agents.products import onednn_is_faster
from marinenav_env.envs.torchrl_gpu.compilation import compiling, keep_memory
from torchrl_gpu.learn.products import product, product_of_each

Function = Callable[..., tuple[Tensor, ...]]
"""Of tensors; others that it reads or changes in place must stay where they are."""

NARROW = 16
"""Features of a layer, below which its bias stays with its product: sums for a few objects are no vectors."""


def lower(function: Function, inputs: Sequence[Tensor], what: str) -> Function:
    """Compile a function for inputs like these; nothing of it is computed yet.

    Other shapes than those of the inputs have no meaning. What the function asks of anything but tensors is
    decided here, once.
    """
    on_cpu = inputs[0].device.type == "cpu"
    # On the CPU calls between kernels take as long as small kernels do, so C++ makes them, not Python.
    options = {"cpp_wrapper": True} if on_cpu else {}
    decompositions = {torch.ops.aten.addmm.default: _bias_apart} if on_cpu else {}
    if on_cpu and onednn_is_faster():
        decompositions |= {torch.ops.aten.mm.default: product, torch.ops.aten.bmm.default: product_of_each}
    keep_memory()
    with compiling(what):
        graph = trace(function, inputs, decompositions)
        state = _lift_state(graph)
        with torch.no_grad():
            compiled = torch._inductor.compile(graph, [*inputs, *state], options=options)

    @torch.no_grad()
    def call(*inputs: Tensor) -> tuple[Tensor, ...]:
        return compiled(*inputs, *state)

    return call


def trace(
    function: Function, inputs: Sequence[Tensor], decompositions: Mapping[OpOverload, Callable] | None = None
) -> fx.GraphModule:
    """The operations of a function on inputs like these, some by others; nothing is computed or changed."""
    traced = make_fx(function, dict(decompositions or {}), tracing_mode="fake", _allow_non_fake_inputs=True)
    return traced(*inputs)


def _bias_apart(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """A layer as its product, and the sum that the kernel after it takes in.

    As one operation the CPU first copies the bias to every row of the result, and then adds the product.
    """
    if a.shape[1] < NARROW or beta != 1 or alpha != 1:
        return NotImplemented
    # In three axes, for the compiler looks for sums of products and makes one operation of them again.
    return ((a @ b).unsqueeze(0) + bias).squeeze(0)


def _lift_state(graph: fx.GraphModule) -> list[Tensor]:
    """Make inputs of the tensors that a graph holds, after its others; constants could not change."""
    state: dict[int, tuple[Tensor, fx.Node]] = {}
    held = set()
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
        held.add(node.target)
    for name in held:
        delattr(graph, name)  # what a graph holds is handed over at every call, used or not
    graph.recompile()
    return [tensor.detach() for tensor, _ in state.values()]
