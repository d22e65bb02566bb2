"""Reading ``.npz`` files with object arrays without running anything they ask for."""

import gc
import pickle
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

SAFE_GLOBALS = {
    (f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")
} | {("numpy", "ndarray"), ("numpy", "dtype")}
"""What a pickled NumPy array or scalar may name; plain containers and numbers name nothing at all."""


class EvaluationFileError(ValueError):
    """An evaluation file that is torn, foreign, or holds more than arrays and plain containers."""


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds NumPy arrays and scalars and built-in containers; refuses any other global."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in SAFE_GLOBALS:
            raise EvaluationFileError(f"its pickle asks for {module}.{name}; only NumPy arrays are allowed")
        return super().find_class(module, name)


def load_nested_lists(path: str | Path, keys: Sequence[str], optional: Sequence[str] = ()) -> dict[str, list]:
    """Nested lists by key, the same whether an array was stored deep or as lists inside a shallow one.

    EvaluationFileError: the file is missing or torn, lacks a key that is not optional, or its pickles name
    anything but NumPy's own array and scalar reconstruction; one line that begins with the file's name.
    """
    try:
        with zipfile.ZipFile(path) as archive, gc_paused():
            names = set(archive.namelist())
            wanted = [key for key in keys if key not in optional or f"{key}.npy" in names]
            return {key: _read_member(archive, key) for key in wanted}
    except FileNotFoundError:
        raise EvaluationFileError(f"{path}: no such file") from None
    except KeyError as error:
        raise EvaluationFileError(f"{path}: {error.args[0]}; expected {', '.join(keys)}") from None
    except Exception as error:  # a hostile or torn pickle may raise anything
        reason = " ".join(str(error).split())
        raise EvaluationFileError(f"{path}: cannot be read as evaluations: {reason}") from None


def check_whole(path: Path) -> None:
    """Read a file and compare its checksums: EvaluationFileError if it is not what was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            torn = archive.testzip()
    except OSError as error:
        raise EvaluationFileError(f"{path}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error) as error:
        raise EvaluationFileError(f"{path}: {error}") from None
    if torn is not None:
        raise EvaluationFileError(f"{path}: its member {torn} is not what was written")


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause Python's cycle collector: it would walk millions of new lists again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _read_member(archive: zipfile.ZipFile, key: str) -> list:
    with archive.open(f"{key}.npy") as file:
        return np.atleast_1d(read_array(file)).tolist()


def read_array(file: IO[bytes]) -> np.ndarray:
    """Read one ``.npy`` array from a binary stream; an object array goes through the restricted unpickler."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise EvaluationFileError(f"array format {version} is not (1, 0)")
    _, _, dtype = np.lib.format.read_array_header_1_0(file)
    if not dtype.hasobject:
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    array = _ArrayUnpickler(file).load()
    if not isinstance(array, np.ndarray):
        raise EvaluationFileError(f"its pickle holds a {type(array).__name__}; only NumPy arrays are allowed")
    return array
