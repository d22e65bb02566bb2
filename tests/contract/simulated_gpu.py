"""A GPU made of CPU memory, to run what is written for CUDA where there is none.

A tensor "on" it says that its device is ``cuda:0``, and computes what the CPU tensor that it holds computes.
Operations on tensors of both devices are refused as CUDA refuses them, and what makes the host wait for a GPU
is noted. CUDA graphs are in `simulated_graphs`. Not simulated are when streams run, kernels and their
rounding: a test on a real GPU says more.
"""

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
import torch.optim.optimizer as optimizer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from tests.contract import simulated_graphs as graphs

GPU = torch.device("cuda:0")
aten = torch.ops.aten

READS = {
    aten._local_scalar_dense.default,
    aten.bincount.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten.unique_dim.default,
    aten._unique2.default,
}
"""Operations whose result, or its shape, the host has to know."""
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""Operations that take indices of the other device, and wait for it; a mask as index is a number to read."""
COPIES = {aten.copy_.default, aten._foreach_copy_.default}
STRICT = {aten.index_select.default, aten.gather.default, aten.index_copy_.default, aten.cat.default}
"""Operations that refuse even single numbers of the other device."""


class GpuTensor(Tensor):
    """A tensor that says it is on the GPU.

    Attributes:
        content: The CPU tensor that it holds.
    """

    content: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, content: Tensor) -> "GpuTensor":
        """Wrap a CPU tensor."""
        self = Tensor._make_wrapper_subclass(
            cls,
            content.size(),
            strides=content.stride(),
            storage_offset=content.storage_offset(),
            dtype=content.dtype,
        )
        self.content = content
        return self

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return compute(func, args, kwargs or {})

    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def tolist(self) -> Any:
        """The numbers, for which the host waits."""
        note("tolist")
        return self.detach().content.tolist()

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        """Refused, as by CUDA."""
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def data_ptr(self) -> int:
        """Where the content lies."""
        return self.content.data_ptr()

    def __deepcopy__(self, memo: dict) -> Tensor:
        """A copy on the same device."""
        if id(self) not in memo:
            copy = GpuTensor(self.detach().content.clone())
            is_parameter = getattr(self, "_is_param", False)
            memo[id(self)] = nn.Parameter(copy, self.requires_grad) if is_parameter else copy
        return memo[id(self)]


waits: Counter[str] = Counter()
"""What made the host wait, and where, since the last `watch` began."""
_watching = [False]


@contextmanager
def watch() -> Iterator[Counter[str]]:
    """Note in `waits` what makes the host wait within the block."""
    waits.clear()
    _watching[0] = True
    try:
        yield waits
    finally:
        _watching[0] = False


def note(what: str) -> None:
    """Note that the host waits, and the last lines that are not ours; a graph refuses to be recorded."""
    graphs.machine.refuse(what)
    if _watching[0]:
        lines = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_stack()]
        waits[f"{what}: " + " < ".join([line for line in reversed(lines) if __file__ not in line][:4])] += 1


def compute(func: Any, args: tuple, kwargs: dict) -> Any:
    """What an operation does: check the devices, compute on the contents, wrap the results again."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    here = [tensor for tensor in tensors if isinstance(tensor, GpuTensor)]
    _check(func, args, kwargs, tensors, here)
    on_gpu = bool(here) or _is_gpu(kwargs.get("device"))
    options = {name: value for name, value in kwargs.items() if name != "pin_memory"}
    if kwargs.get("device") is not None:
        options["device"] = torch.device("cpu")
    run = graphs.machine.run if on_gpu else lambda func, args, options: func(*args, **options)
    with _disable_current_modes():
        result = run(func, tree_map(_content, args), tree_map(_content, options))
    if not on_gpu:
        return result
    owners = {id(tensor.content): tensor for tensor in here}  # of what was changed in place

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return owners[id(value)] if id(value) in owners else GpuTensor(value)

    return tree_map(wrapped, result)


def _check(func: Any, args: tuple, kwargs: dict, tensors: list, here: list) -> None:
    """Refuse a mix of devices; note what the host waits for."""
    there = [tensor for tensor in tensors if not isinstance(tensor, GpuTensor)]
    indices = [index for index in args[1] if index is not None] if func in INDEXING else []
    if here and any(index.dtype == torch.bool for index in indices):
        note("mask as index")
    if func in READS and here:
        note(str(func))
    if not (here and there):
        return
    if func in COPIES:
        if not (kwargs.get("non_blocking") or args[2:3] == (True,)):
            note("copy between devices")
    elif func in INDEXING and isinstance(args[0], GpuTensor):
        note("indices of the other device")
    elif func in STRICT or any(tensor.ndim for tensor in there):
        devices = [f"{tensor.device.type} {tuple(tensor.shape)}" for tensor in tensors]
        raise RuntimeError(f"Expected all tensors to be on the same device: {func} of {devices}")


def _content(value: Any) -> Any:
    if isinstance(value, GpuTensor):
        return value.content
    recorded = graphs.machine.graph is not None and isinstance(value, Tensor)
    return value.clone() if recorded else value  # a graph keeps a number of the host as it was


def _is_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


class Operations(TorchDispatchMode):
    """Sends every operation to `compute`, also those that make tensors out of nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return compute(func, args, kwargs or {})


class Transfers(TorchFunctionMode):
    """Moves tensors between the devices."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor):
            return _made(func, args, kwargs)
        if func is Tensor.cpu:
            return _moved(args[0], torch.device("cpu"), args[0].dtype, False, False)
        if func is Tensor.to:
            device, dtype, non_blocking, _ = torch._C._nn._parse_to(*_named(args[1:]), **_told(kwargs))
            options = (non_blocking, kwargs.get("copy", False))
            return _moved(args[0], device or args[0].device, dtype or args[0].dtype, *options)
        return func(*args, **kwargs)


def _made(func: Any, args: tuple, options: dict) -> Tensor:
    """A new tensor, made on the CPU and then moved to where it was asked for."""
    on_gpu = isinstance(args[0], GpuTensor)
    device = torch.device(options.get("device") or (GPU if on_gpu else "cpu"))
    here = {name: value for name, value in options.items() if name != "device"}
    made = args[0] if on_gpu else func(*args, **here)
    return _moved(made, device, here.get("dtype") or made.dtype, False, False)


def _named(args: tuple) -> tuple:
    """Arguments of ``to`` that its parser takes: a tensor stands for its device and dtype."""
    if args and isinstance(args[0], Tensor):
        return (args[0].device, args[0].dtype, *args[1:])
    return args


def _told(kwargs: dict) -> dict:
    """The same for named arguments."""
    given = {name: value for name, value in kwargs.items() if name not in ("copy", "other")}
    if "other" in kwargs:
        given |= {"device": kwargs["other"].device, "dtype": kwargs["other"].dtype}
    return given


def _moved(
    tensor: Tensor, device: torch.device, dtype: torch.dtype, non_blocking: bool, copy: bool
) -> Tensor:
    if device.type == tensor.device.type:
        if copy:
            return tensor.clone().type(dtype)
        return tensor if dtype == tensor.dtype else tensor.type(dtype)
    if not non_blocking:
        note("copy between devices")
    with _disable_current_modes():
        content = _content(tensor.detach()).to(dtype, copy=True)
    return GpuTensor(content) if device.type == "cuda" else content


class Event:
    """Stands for `torch.cuda.Event`: everything has already happened, in no time."""

    def __init__(self, enable_timing: bool = False) -> None:
        """Every one is as good as another."""

    def query(self) -> bool:
        """Whether it has happened."""
        return True

    def elapsed_time(self, end: "Event") -> float:
        """Milliseconds until another."""
        return 0.0

    def record(self, stream: Any = None) -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Nothing to wait for."""


def _clip(parameters: list[Tensor], limit: float) -> None:
    """`torch.nn.utils.clip_grad_norm_`."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    factor = (limit / (nn.utils.get_total_norm(gradients) + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)


def _grouped(lists: list[list[Tensor]], with_indices: bool = False) -> dict:
    """All tensors of an optimiser are on one device and of one precision."""
    first = lists[0][0]
    return {(first.device, first.dtype): (lists, list(range(len(lists[0]))))}


@contextmanager
def simulated_gpu() -> Iterator[None]:
    """Within the block ``cuda`` is the device of this module."""
    generator = torch.Generator()
    cpu_generator = torch.Generator
    save = torch.save

    def save_content(values: dict, *args: Any, **kwargs: Any) -> None:
        with _disable_current_modes():
            save({name: _content(value.detach()) for name, value in values.items()}, *args, **kwargs)

    replaced = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "_lazy_init": lambda: None,
        "device": lambda device: nullcontext(),
        "Event": Event,
        **graphs.replaced(),
        "synchronize": lambda device=None: note("synchronize"),
        "get_rng_state": lambda device=None: generator.get_state(),
        "set_rng_state": lambda state, device=None: generator.set_state(state),
        "get_rng_state_all": lambda: [generator.get_state()],
        "set_rng_state_all": lambda states: generator.set_state(states[0]),
        "manual_seed": generator.manual_seed,
        "manual_seed_all": generator.manual_seed,
    }
    with ExitStack() as stack:
        for name, value in replaced.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        for owner, name, value in (
            (torch, "Generator", lambda device="cpu": cpu_generator()),
            (torch, "save", save_content),
            (Tensor, "pin_memory", lambda self: self),
            # Some that look at tensors from below, where these are on the CPU.
            (nn.utils, "clip_grad_norm_", _clip),
            (optimizer.Optimizer, "_group_tensors_by_device_and_dtype", staticmethod(_grouped)),
            (optimizer.Optimizer, "_accelerator_graph_capture_health_check", lambda self: None),
            (optimizer, "_foreach_supported_types", [*optimizer._foreach_supported_types, GpuTensor]),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        stack.enter_context(mock.patch.object(torch.cuda.graph, "default_capture_stream", None))
        stack.enter_context(mock.patch.object(torch._C, "_host_emptyCache", create=True))
        overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrite)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.enter_context(Transfers())
        stack.enter_context(Operations())
        yield
