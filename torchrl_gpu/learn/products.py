"""Matrix products of a compiled update on processors of which torch's own products take half the width.

On a CPU torch multiplies matrices of single precision by MKL, which takes AVX-512 on Intel's processors and
AVX2 on all others. oneDNN, which torch brings as well, takes what a processor can.
"""

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LEAST_FLOPS = 2_000_000
"""Of a product: a smaller one is done before oneDNN has begun."""
LEAST_SIZE = 16
"""Of each axis: narrower ones fill no vector."""

_operations = torch.library.Library("marinenav", "DEF")
_operations.define("product(Tensor a, Tensor b) -> Tensor")
_operations.impl("product", torch.mm, "CPU")
torch.library.register_fake(
    "marinenav::product", lambda a, b: a.new_empty(a.shape[0], b.shape[1]), lib=_operations
)


@cache
def onednn_is_faster() -> bool:
    """Whether large products are: on processors of AMD with AVX-512."""
    both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return both and torch.backends.cpu.get_cpu_capability() == "AVX512" and "AuthenticAMD" in _processor()


def product(a: Tensor, b: Tensor) -> Tensor:
    """For a graph to compute by oneDNN what `aten.mm` would; (M, K) and (K, N) -> (M, N)."""
    (rows, inner), columns = a.shape, b.shape[1]
    small = min(rows, inner, columns) < LEAST_SIZE or 2 * rows * inner * columns < LEAST_FLOPS
    if small or a.dtype != torch.float32:
        return NotImplemented
    _teach_compiler()
    return torch.ops.marinenav.product(a, b)


@cache
def _teach_compiler() -> None:
    """Tell it which call a product is."""
    from torch._inductor import ir, lowering, mkldnn_ir  # seconds, for compilers alone

    @lowering.register_lowering(torch.ops.marinenav.product.default, type_promotion_kind=None)
    def lowered(a: Any, b: Any) -> Any:
        # That of a layer, without bias and activation. torch's own way to it takes constant weights alone.
        x, w = (ir.ExternKernel.realize_input(factor) for factor in (a, lowering.permute(b, [1, 0])))
        size = [x.get_size()[0], w.get_size()[0]]
        layout = ir.FixedLayout(device=x.get_device(), dtype=x.get_dtype(), size=size)
        layer = mkldnn_ir.LinearUnary(layout=layout, inputs=[x, w], constant_args=[None, "none", [-1], ""])
        layer.outputs = [ir.MultiOutput(layout, layer, [])]
        layer.layout = ir.MultiOutputLayout(device=x.get_device())
        return ir.TensorBox.create(layer.outputs[0])


def _processor() -> str:
    """What is known of the processor, its maker's name among it."""
    told = Path("/proc/cpuinfo")
    return told.read_text(errors="replace") if told.exists() else platform.processor()
