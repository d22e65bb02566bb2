"""CUDA graphs and streams of the simulated GPU: what is recorded is done again on the same memory.

A recording computes nothing, as on a GPU: what it writes is put back when it ends. It refuses what makes the
host wait, operations that nothing has loaded before, and the default stream; one that failed cannot be ended,
and leaves its stream and the generator as CUDA leaves them. Numbers that are no tensors of the GPU are those
of the recording. Not simulated is when streams run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves


class Operation(NamedTuple):
    """One recorded operation, on what the tensors of the GPU hold."""

    function: Any
    args: tuple
    options: dict
    result: Any


class Stream:
    """Stands for `torch.cuda.Stream`; work of all streams is done at once."""

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        """Every one is new."""

    def wait_stream(self, other: "Stream") -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Nothing to wait for, but the host would."""
        machine.refuse("synchronize")


class Generator:
    """The device's generator, as far as recordings touch it."""

    recording = False  # draws belong to a graph

    def clone_state(self) -> "Generator":
        """The same state, of no recording."""
        return Generator()

    def graphsafe_set_state(self, state: "Generator") -> None:
        """Take another state."""
        self.recording = state.recording


class Machine:
    """What there is one of: the current stream, the recording under way, what is loaded."""

    def __init__(self) -> None:
        self.default = Stream()
        self.stream = self.default
        self.generator = Generator()
        self.graph: Graph | None = None  # that is recorded
        self.loaded: set[Any] = set()

    def refuse(self, what: str) -> None:
        """End a recording for good where the host would have to wait."""
        if self.graph is not None:
            self.graph.broken = True
            raise RuntimeError(f"operation not permitted when stream is capturing: {what}")

    def run(self, function: Any, args: tuple, options: dict) -> Any:
        """Compute an operation on contents; note it in the recording under way."""
        if torch.Tag.nondeterministic_seeded in function.tags:
            if self.generator.recording and self.graph is None:
                raise RuntimeError("Offset increment outside graph capture encountered unexpectedly.")
            if options.get("generator") is not None:
                self.refuse("a generator that the graph does not know")
        if self.graph is None:
            self.loaded.add(function)
            return function(*args, **options)
        if function not in self.loaded:
            self.refuse(f"{function} is loaded at its first call")
        return self.graph.note(function, args, options)


machine = Machine()


class Graph:
    """Stands for `torch.cuda.CUDAGraph`.

    Attributes:
        replays: How often it was replayed.
    """

    made: "list[Graph]" = []  # noqa: RUF012 (all of them, for tests)

    def __init__(self, keep_graph: bool = False) -> None:
        self.operations: list[Operation] = []
        self.replays = 0
        self.broken = False
        self._before: dict[int, tuple[Tensor, Tensor]] = {}  # storages written to, and what they held
        Graph.made.append(self)

    def capture_begin(self, *pool: Any, **options: Any) -> None:
        """Begin to record what is done."""
        if machine.stream is machine.default:
            raise RuntimeError("CUDA graphs must be captured on a non-default stream")
        machine.graph, machine.generator.recording = self, True

    def capture_end(self) -> None:
        """End the recording; all memory is as it was before it."""
        machine.graph = None
        for storage, content in self._before.values():
            storage.copy_(content)
        if self.broken:
            raise RuntimeError("operation failed due to a previous error during capture")
        machine.generator.recording = False

    def note(self, function: Any, args: tuple, options: dict) -> Any:
        """Compute an operation, so that the next one has what it needs, and remember it."""
        for tensor in _written(function, args, options):
            whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
            self._before.setdefault(tensor.untyped_storage().data_ptr(), (whole, whole.clone()))
        result = function(*args, **options)
        self.operations.append(Operation(function, args, options, result))
        return result

    def replay(self) -> None:
        """Do all operations again, where they were done."""
        assert self.operations
        assert machine.graph is None
        self.replays += 1
        with _disable_current_modes(), torch.no_grad():
            for function, args, options, result in self.operations:
                again = function(*args, **options)
                if not _aliases(function):
                    for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                        if isinstance(old, Tensor):
                            old.copy_(new)


def _aliases(function: Any) -> bool:
    """Whether an operation gives views, or what it has written to."""
    return any(each.alias_info is not None for each in function._schema.returns)


def _written(function: Any, args: tuple, options: dict) -> list[Tensor]:
    """Tensors that an operation writes to."""
    found = []
    for k, argument in enumerate(function._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[k] if k < len(args) else options.get(argument.name)
            found += [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
    return found


@contextmanager
def on_stream(stream: Stream | None) -> Iterator[None]:
    """Stands for `torch.cuda.stream`."""
    before = machine.stream
    machine.stream = stream or before
    yield
    machine.stream = before  # not where the block fails before its end, as at the end of a recording


def replaced() -> dict[str, Any]:
    """Names of `torch.cuda` with what stands for them, on a machine just started."""
    machine.__init__()
    Graph.made.clear()

    def set_stream(stream: Stream) -> None:
        machine.stream = stream

    names: dict[str, Callable | Any] = {
        "CUDAGraph": Graph,
        "Stream": Stream,
        "current_stream": lambda device=None: machine.stream,
        "default_generators": (machine.generator,),
        "empty_cache": lambda: None,
        "set_stream": set_stream,
        "stream": on_stream,
    }
    return names
