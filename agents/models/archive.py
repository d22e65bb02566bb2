"""Parameters of a TorchScript file, read as data: none of the code it carries is executed.

A TorchScript file is a zip archive. ``data.pkl`` pickles the tree of modules as plain attribute dictionaries,
``data/<key>`` holds the bytes of each tensor, ``code/`` the program. Loading it with ``torch.jit.load``
compiles that program and may run parts of it (``__setstate__`` methods); here ``data.pkl`` is read by an
unpickler that knows nothing but module dictionaries and tensors, and ``code/`` is never opened.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from agents.models.files import ModelFileError

MAX_RECORD_BYTES = 64 * 2**20
"""Bytes a record may have; the largest network, Rainbow in float64, has 10 MB in all its tensors together."""

_STORAGE_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}


class _ScriptModule:
    """Stand-in for every class of the archive: unpickling fills its ``__dict__`` and calls nothing."""


class _Storage(NamedTuple):
    dtype: torch.dtype
    content: bytes


def _rebuild_tensor(
    storage: _Storage, offset: int, size: Sequence[int], stride: Sequence[int], *_: object
) -> Tensor:
    """Tensor over a storage; torch itself refuses strides that reach beyond the bytes."""
    content = bytearray(storage.content)
    flat = torch.frombuffer(content, dtype=storage.dtype) if content else torch.empty(0, dtype=storage.dtype)
    if math.prod(size) > flat.numel():
        raise pickle.UnpicklingError(f"a tensor of shape {tuple(size)} over {flat.numel()} stored numbers")
    return flat.as_strided(size, stride, offset).clone()


def _untagged(value: object, *_: object) -> object:
    return value


_ALLOWED_CALLS: dict[tuple[str, str], Callable] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("collections", "OrderedDict"): OrderedDict,
    **{
        ("torch.jit._pickle", name): _untagged
        for name in (
            "build_intlist",
            "build_doublelist",
            "build_boollist",
            "build_tensorlist",
            "restore_type_tag",
        )
    },
}


class _ModuleUnpickler(pickle.Unpickler):
    """Unpickler of ``data.pkl`` that can make module dictionaries, tensors and lists, and nothing else."""

    def __init__(self, content: bytes, read_storage: Callable[[str], bytes]) -> None:
        super().__init__(io.BytesIO(content))
        self._read_storage = read_storage

    def find_class(self, module: str, name: str) -> object:
        if module == "__torch__" or module.startswith("__torch__."):
            return _ScriptModule
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        if (module, name) in _ALLOWED_CALLS:
            return _ALLOWED_CALLS[module, name]
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which no traced network needs")

    def persistent_load(self, pid: Sequence) -> _Storage:
        kind, dtype, key, _location, _count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"unknown persistent object {kind!r}")
        return _Storage(dtype, self._read_storage(key))


def _read_record(archive: zipfile.ZipFile, name: str) -> bytes:
    """Bytes of a record; oversized or compressed ones, which torch never writes here, are refused unread."""
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > MAX_RECORD_BYTES:
        raise ValueError(f"record {name} is compressed or larger than {MAX_RECORD_BYTES} bytes")
    return archive.read(entry)


def _named_tensors(module: _ScriptModule, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors of a module tree under their dotted names, in the order of the file."""
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, _ScriptModule):
            yield from _named_tensors(value, f"{prefix}{name}.")


def _archive_root(archive: zipfile.ZipFile) -> str:
    roots = [name[: -len("data.pkl")] for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(roots) != 1 or f"{roots[0]}constants.pkl" not in archive.namelist():
        raise ValueError("it is a zip archive without a TorchScript module")
    if f"{roots[0]}byteorder" in archive.namelist() and archive.read(f"{roots[0]}byteorder") != b"little":
        raise ValueError("its tensors are not little-endian")
    return roots[0]


def read_parameters(path: str | Path) -> dict[str, Tensor]:
    """Read every tensor of a file written by ``torch.jit.save`` without executing it.

    Names are dotted, as in ``state_dict`` of the loaded module, dtypes as stored; plain tensor attributes, if
    the file has any, are included.

    Raises:
        ModelFileError: the file is missing, is no TorchScript archive, or holds what this reader refuses.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = _archive_root(archive)
            unpickler = _ModuleUnpickler(
                _read_record(archive, f"{root}data.pkl"),
                lambda key: _read_record(archive, f"{root}data/{key}"),
            )
            module = unpickler.load()
            if not isinstance(module, _ScriptModule):
                raise ValueError("its data.pkl holds no module")
            return dict(_named_tensors(module))
    except FileNotFoundError as error:
        raise ModelFileError(path, "no such file") from error
    except Exception as error:  # malformed pickles and archives fail with errors of any kind
        raise ModelFileError(path, f"not a readable TorchScript file: {error}") from error
