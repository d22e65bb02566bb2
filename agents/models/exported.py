"""The network that chooses the actions as a file for other programs, and whether such a file computes it.

What it computes for one observation is the learner's to say (`Learner.planner`); `FORMATS` says how it is
written. No file is written that does not give the numbers of the network once it is read again.
"""

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from agents.learners.base import Learner
from agents.models.traced import planner_module, traced_name
from marinenav_env.envs.contract.layout import OBSERVATION_KEYS
from marinenav_env.files import replacing

INPUT_NAMES = (*OBSERVATION_KEYS, "taus")
"""Of the inputs of a file that names them; quantile fractions are asked for by IQN alone."""
CASES = 24
"""Observations on which a file is compared with the network."""
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
"""Largest difference allowed, as a share of 1 + |number|."""

Call = Callable[..., Any]


class ExportError(ValueError):
    """A file of this format cannot be written, or does not compute the network: one line."""


class Planner(NamedTuple):
    """What is exported."""

    module: nn.Module
    inputs: tuple[Any, ...]  # random ones
    outputs: tuple[str, ...]  # names

    @property
    def dtype(self) -> torch.dtype:
        """Precision of all numbers."""
        return tree_leaves(self.inputs)[0].dtype


class Format(NamedTuple):
    """One kind of file."""

    suffix: str
    pack: Callable[[Planner], bytes]
    read: Callable[[bytes], Call]  # gives what computes it
    packages: tuple[str, ...] = ()  # beyond those of the project


def export_name(agent_type: str, kind: str = "torchscript", dtype: torch.dtype = torch.float64) -> str:
    """File name, e.g. ``traced_AC_IQN_model.pt`` or ``SAC_model_float32.onnx``; float64 is not named."""
    name = traced_name(agent_type, dtype)
    return (
        name if kind == "torchscript" else f"{Path(name).stem.removeprefix('traced_')}{FORMATS[kind].suffix}"
    )


def export_model(learner: Learner, path: str | Path, kind: str = "torchscript") -> float:
    """Write the acting network of a learner on the CPU, in its precision; a file appears whole or not at all.

    Rainbow's noise buffers are in a TorchScript file, but all formats compute with the mean weights.

    Returns:
        The largest difference between file and network, as `difference` gives it.

    Raises:
        ExportError: packages are missing, the format cannot compute it, or computes something else.
    """
    _check_packages(kind)
    with planner_of(learner) as planner:
        data = FORMATS[kind].pack(planner)
        worst = _checked(planner, FORMATS[kind].read(data))
    with replacing(path) as file:
        file.write(data)
    return worst


def check_model(learner: Learner, path: Path, kind: str = "torchscript") -> float:
    """As `export_model`, for the file that is there; it is loaded as by any program, which may run its code.

    Raises:
        ExportError: it is no such file, or computes something else.
        OSError: it cannot be read.
    """
    _check_packages(kind)
    data = path.read_bytes()
    with planner_of(learner) as planner:
        try:
            call = FORMATS[kind].read(data)
        except Exception as error:  # torn files fail with errors of any kind, over many lines
            raise ExportError(f"cannot be read as {kind}: {_line(error)}") from error
        return _checked(planner, call)


@contextmanager
def planner_of(learner: Learner) -> Iterator[Planner]:
    """The planner's part of a learner, which acts as in evaluation within the block."""
    with learner.acting_mode(use_eval=True), torch.no_grad(), warnings.catch_warnings():
        # torch.jit is deprecated in favour of torch.export; libtorch on the vehicles loads TorchScript.
        warnings.simplefilter("ignore")
        call, inputs = learner.planner()
        inputs = tree_map(lambda tensor: tensor.to(learner.dtype), inputs)
        yield Planner(planner_module(learner.acting_network, call), inputs, learner.planner_outputs)


# ---- does it compute the same


def difference(planner: Planner, call: Call) -> float:
    """Largest |a - b| / (1 + |b|) of what a file, a, and the network, b, give; infinite if shapes differ."""
    worst = 0.0
    for inputs in _cases(planner.inputs):
        pairs = zip(tree_leaves(call(*inputs)), tree_leaves(planner.module(*inputs)), strict=True)
        for given, expected in pairs:
            if given.shape != expected.shape or given.dtype != expected.dtype:
                return float("inf")
            gap = ((given - expected).abs() / (1 + expected.abs())).nan_to_num(float("inf"))
            same = (given == expected) | (given.isnan() & expected.isnan())
            worst = max(worst, gap.masked_fill(same, 0.0).max().item())
    return worst


def _cases(inputs: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Observations as wide as those of the world, with none to all of the objects, and random fractions."""
    generator = torch.Generator().manual_seed(0)
    (own, objects, mask), *taus = inputs

    def drawn(like: Tensor, draw: Callable[..., Tensor]) -> Tensor:
        return draw(like.shape, generator=generator, dtype=torch.float64).to(like.dtype)

    for case in range(CASES):
        seen = (torch.arange(mask.shape[1]) < case % (mask.shape[1] + 1)).to(mask.dtype)[None]
        state = 100 * drawn(own, torch.randn), 10 * drawn(objects, torch.randn) * seen.unsqueeze(-1), seen
        yield state, *(drawn(fractions, torch.rand) for fractions in taus)


def _checked(planner: Planner, call: Call) -> float:
    try:
        worst = difference(planner, call)
    except Exception as error:  # of another program that reads it; over many lines
        raise ExportError(f"cannot be called as the network is: {_line(error)}") from error
    if worst > (allowed := TOLERANCE[planner.dtype]):
        raise ExportError(
            f"relative difference from the network is {worst:.2g}; allowed is at most {allowed:g}"
        )
    return worst


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


# ---- formats


def _pack_torchscript(planner: Planner) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(planner.module, planner.inputs), buffer)
    return buffer.getvalue()


def _read_torchscript(data: bytes) -> Call:
    return torch.jit.load(io.BytesIO(data), map_location="cpu")


def _pack_pt2(planner: Planner) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(planner.module, planner.inputs), buffer)
    return buffer.getvalue()


def _read_pt2(data: bytes) -> Call:
    return torch.export.load(io.BytesIO(data)).module()


def _pack_onnx(planner: Planner) -> bytes:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision
    program = torch.onnx.export(
        planner.module,
        planner.inputs,
        input_names=INPUT_NAMES[: len(tree_leaves(planner.inputs))],
        output_names=planner.outputs,
        dynamo=True,
        verbose=False,
    )
    return program.model_proto.SerializeToString()


def _read_onnx(data: bytes) -> Call:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented as error:
        operator = re.search(r"implementation for (\w+)", str(error))
        what = f"operator {operator[1]}" if operator else _line(error)
        raise ExportError(f"onnxruntime has no {what} in this precision; allowed is float32") from error
    names = [each.name for each in session.get_inputs()]

    def call(*inputs: Any) -> list[Tensor]:
        values = [tensor.numpy() for tensor in tree_leaves(inputs)]
        return [torch.from_numpy(array) for array in session.run(None, dict(zip(names, values, strict=True)))]

    return call


def _check_packages(kind: str) -> None:
    if missing := [name for name in FORMATS[kind].packages if find_spec(name) is None]:
        raise ExportError(f'{kind} needs {", ".join(missing)}: pip install "marinenav[export]"')


FORMATS = {
    "torchscript": Format(".pt", _pack_torchscript, _read_torchscript),
    "onnx": Format(".onnx", _pack_onnx, _read_onnx, ("onnx", "onnxscript", "onnxruntime")),
    "pt2": Format(".pt2", _pack_pt2, _read_pt2),
}
"""Kinds of files by name."""
