"""Matrix products of a compiled update by oneDNN, where that is faster (`agents.products`)."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from agents.products import suits_onednn

_operations = torch.library.Library("marinenav", "DEF")
_operations.define("product(Tensor a, Tensor b) -> Tensor")
_operations.impl("product", torch.mm, "CPU")
torch.library.register_fake(
    "marinenav::product", lambda a, b: a.new_empty(a.shape[0], b.shape[1]), lib=_operations
)


def product(a: Tensor, b: Tensor) -> Tensor:
    """For a graph to compute by oneDNN what `aten.mm` would; (M, K) and (K, N) -> (M, N)."""
    if not suits_onednn(*a.shape, b.shape[1], a.dtype):
        return NotImplemented
    _teach_compiler()
    return torch.ops.marinenav.product(a, b)


def product_of_each(a: Tensor, b: Tensor) -> Tensor:
    """The same instead of `aten.bmm`, each by itself; (N, L, K) and (N, K, M) -> (N, L, M)."""
    if not suits_onednn(*a.shape[1:], b.shape[2], a.dtype):
        return NotImplemented
    return torch.stack([product(x, y) for x, y in zip(a.unbind(), b.unbind(), strict=True)])


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
