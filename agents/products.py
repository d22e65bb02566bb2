"""Matrix products on processors of which torch's own take half the width.

On a CPU torch multiplies matrices of single precision by MKL, which takes AVX-512 on Intel's processors and
AVX2 on all others. oneDNN, which torch brings as well, takes what a processor can. That is worth it where the
units are 512 bits wide: of AMD's since Zen 5, while Zen 4 does such an instruction in two halves.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from agents.processor import of_processor

LEAST_FLOPS = 2_000_000
"""Of a product: a smaller one is done before oneDNN has begun."""
LEAST_SIZE = 16
"""Of each axis: narrower ones fill no vector."""
ZEN_5 = 26
"""Family of AMD's processors; Zen 3 and 4 are of 25."""


class LayersByOneDNN(TorchFunctionMode):
    """Within the block oneDNN computes large layers; nothing of it can be differentiated."""

    def __torch_function__(
        self, function: Callable, types: Any, args: Sequence = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """What a function of torch returns."""
        if function is functional.linear and not kwargs:
            x, weight, *_ = args
            if suits_onednn(x.numel() // x.shape[-1], *weight.t().shape, x.dtype):
                return layer_by_onednn(*args)
        return function(*args, **(kwargs or {}))


def layer_by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The sums x @ weight.T + bias: (..., K), (M, K) and (M,) -> (..., M)."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # without activation


def suits_onednn(rows: int, inner: int, columns: int, dtype: torch.dtype) -> bool:
    """Whether a product of these sizes is large enough, and of a precision that it is faster with."""
    large = min(rows, inner, columns) >= LEAST_SIZE and 2 * rows * inner * columns >= LEAST_FLOPS
    return large and dtype == torch.float32


@cache
def onednn_is_faster() -> bool:
    """Whether products that suit it are: on processors of AMD since Zen 5, where AVX-512 may be used."""
    both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    if not both or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    family = of_processor("cpu family")
    return of_processor("vendor_id") == "AuthenticAMD" and family.isdecimal() and int(family) >= ZEN_5
