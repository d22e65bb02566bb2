"""A function of tensors on a GPU, recorded once as a CUDA graph and replayed from then on.

Launching hundreds of small kernels takes the host longer than they take the GPU; a graph is one launch.
`tensordict.nn.CudaGraphModule` does the same, but makes the host wait for the GPU before every replay.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from torchrl_gpu.learn.lowered import Function

WARM_UP = 3
"""Calls before the recording, and with it: what libraries load or compile at first cannot be recorded."""


class Captured:
    """Calls of a function as replays of a CUDA graph.

    What a graph does is done again with the same kernels on the same memory: inputs are copied to where the
    first were, outputs are copied from where they appear, and everything that the function changes in place,
    which is what learning is, stays where it is. Numbers that are no tensors are those of the recording.
    Random numbers of the device's own generator are new in each replay.

    ``failed`` is told why a function cannot be recorded; if it returns, calls go on without a graph.
    """

    def __init__(
        self, function: Function, device: torch.device | str, failed: Callable[[Exception], None]
    ) -> None:
        self.function = function
        self.device = torch.device(device)
        self.failed = failed
        self._calls = 0
        self._stream: torch.cuda.Stream | None = None  # of the calls that warm up
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._outputs: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the function returns; nobody else writes to it."""
        if self._graph is not None:
            torch._foreach_copy_(self._inputs, inputs)
            self._graph.replay()
            return tuple(output.clone() for output in self._outputs)
        if self._calls == WARM_UP:  # and there is no graph: it failed
            return self.function(*inputs)
        with torch.cuda.device(self.device):
            outputs = self._warm_up(inputs)
            if self._calls == WARM_UP:
                self._record(inputs)
        return outputs

    def _warm_up(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Call the function on a stream of its own, as a recording will be."""
        self._calls += 1
        if self._stream is None:
            self._stream = torch.cuda.Stream()
        main = torch.cuda.current_stream()
        self._stream.wait_stream(main)
        with torch.cuda.stream(self._stream):
            outputs = self.function(*inputs)
        main.wait_stream(self._stream)
        return outputs

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        """Record the function, which computes nothing and changes nothing."""
        graph, main = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        self._inputs = [each.clone() for each in inputs]
        cause: Exception | None = None
        try:
            with torch.cuda.graph(graph):
                try:
                    self._outputs = self.function(*self._inputs)
                except Exception as error:  # after which the recording cannot be ended either
                    cause = error
                    raise
        except Exception as error:
            _clean_up(main)
            self._inputs = []
            self.failed(cause or error)
        else:
            self._graph = graph


def _clean_up(main: "torch.cuda.Stream") -> None:
    """Undo what a recording that failed has left: its stream, and a generator that waits for its end."""
    torch.cuda.set_stream(main)
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    generator.graphsafe_set_state(generator.clone_state())
