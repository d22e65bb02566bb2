"""Nested lists kept pickled, and object arrays written from them without unpacking.

The histories of all evaluations of a run take a sixth of the memory this way, and writing them costs no more
than copying (Defect T12: the legacy pipeline kept lists, and pickled all of them again at every evaluation).
"""

import pickle
from collections.abc import Iterable, Sequence
from typing import IO, Any

import numpy as np

PROTOCOL = 3
"""Later protocols number their memo by its size, so that pickles cannot be strung together."""

MARKER = 0x7AC3ED00
"""Stands for the elements of an array while its pickle is taken apart."""


class PackedRows(Sequence):
    """Append-only sequence of rows, a row being a list of nested lists (one an episode).

    Reading a row unpacks it anew; changes to what was read do not come back.
    """

    def __init__(self, rows: Iterable[list] = ()) -> None:
        self._packed: list[list[bytes]] = []
        for row in rows:
            self.append(row)

    def append(self, row: list) -> None:
        """Pack one more row."""
        self._packed.append([pickle.dumps(value, PROTOCOL)[2:-1] for value in row])  # less PROTO and STOP

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, index: int) -> list:
        return [pickle.loads(b"\x80\x03" + value + b".") for value in self._packed[index]]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (PackedRows, list)):
            return NotImplemented
        return len(self) == len(other) and all(map(list.__eq__, self, other))

    __hash__ = None

    def write_array(self, file: IO[bytes]) -> None:
        """Write the rows as one ``.npy`` object array of shape (rows, elements of a row)."""
        shape = (len(self), len(self._packed[0]) if self._packed else 0)
        header = {"descr": "|O", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        before, after = _around_elements(shape)
        file.write(before)
        for row in self._packed:
            file.writelines(row)
        file.write(after)


class _Reduced:
    """Pickles as whatever it is given to be reduced to."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> tuple:
        return self.reduced


def _around_elements(shape: tuple[int, int]) -> tuple[bytes, bytes]:
    """What the pickle of an object array of this shape has before and after its elements.

    Each element may number its memo from 0: nothing that follows looks back.
    """
    rebuild, arguments, (version, _, dtype, fortran_order, _) = np.empty(0, dtype=object).__reduce__()
    state = (version, shape, dtype, fortran_order, [MARKER, MARKER])
    pickled = pickle.dumps(_Reduced(rebuild, arguments, state), PROTOCOL)
    before, after = pickled.split(2 * pickle.dumps(MARKER, PROTOCOL)[2:-1])
    return before, after
