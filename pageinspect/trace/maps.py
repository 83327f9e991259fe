# SPDX-License-Identifier: GPL-2.0-only
"""Maps of BPF programs: created, filled and read through bpf(), without bcc."""

import contextlib
import ctypes
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from . import bpf_calls
from .bpf_calls import MapShape
from .kernel_errors import kernel_error

POSSIBLE_CPUS = Path("/sys/devices/system/cpu/possible")


def cpus_of(text: str) -> list[int]:
    """Return the numbers in a list of CPUs such as `0-3,8`."""
    pairs = (part.partition("-") for part in text.strip().split(","))
    return [cpu for first, _, last in pairs for cpu in range(int(first), int(last or first) + 1)]


def possible_cpus() -> list[int]:
    """Return the CPUs that this kernel may ever have: a per-CPU value has a copy for each."""
    return cpus_of(POSSIBLE_CPUS.read_text(encoding="ascii"))


class BpfMap:
    """An open map. Methods raise PageInspectError when the kernel refuses them."""

    def __init__(self, name: str, shape: MapShape) -> None:
        """Create the map. Raises PageInspectError."""
        self.name = name
        self.shape = shape
        with self._errors("to create"):
            self.fd = bpf_calls.create_map(shape, name)

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise kernel_error(error.errno or 0, f"{what} the map {self.name}") from None

    def fill(self, values: npt.NDArray[np.generic]) -> None:
        """Write row i of an array as the value of key i."""
        self.put(range(len(values)), values)

    def put(self, keys: Iterable[int], values: npt.NDArray[np.generic]) -> None:
        """Write the rows of an array as the values of these 4-byte keys."""
        key = ctypes.c_uint32()
        start, step = values.ctypes.data, values.strides[0]
        with self._errors("to write"):
            for row, number in enumerate(keys):
                key.value = number
                bpf_calls.update(self.fd, ctypes.addressof(key), start + row * step)

    def look_up(self, keys: Iterable[int], into: npt.NDArray[np.generic]) -> None:
        """Read the values of these 4-byte keys into the rows of an array."""
        # The result of ndarray.ctypes.data_as() is a reference cycle, so memory would grow between
        # garbage collections of a long trace; `data` is a plain number.
        key = ctypes.c_uint32()
        start, step = into.ctypes.data, into.strides[0]
        with self._errors("to read"):
            for row, number in enumerate(keys):
                key.value = number
                bpf_calls.look_up(self.fd, ctypes.addressof(key), start + row * step)

    def read_percpu(self, keys: int, words: int = 1) -> npt.NDArray[np.uint64]:
        """Return a per-CPU array of 64-bit words summed over the CPUs, (keys, words) uint64."""
        cpus = len(possible_cpus())
        values = np.zeros((keys, cpus, words), np.uint64)
        self.look_up(range(keys), values)
        return values.sum(axis=1)

    def stack(self, number: int) -> list[int]:
        """Return the addresses of a stack of a map of stacks, innermost first."""
        addresses = np.zeros((1, self.shape.value_size // 8), np.uint64)
        self.look_up([number], addresses)
        return addresses[0, : np.count_nonzero(addresses)].tolist()

    def read_hash(
        self, key: npt.DTypeLike, value: npt.DTypeLike = np.uint64
    ) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]:
        """Return the keys and the values of a hash as two arrays of the same length.

        Entries that are added or removed meanwhile may be missing or repeated.
        """
        most = self.shape.max_entries
        keys, values = np.zeros(most, key), np.zeros(most, value)
        with self._errors("to read"):
            found = bpf_calls.look_up_batch(self.fd, keys.ctypes.data, values.ctypes.data, most)
        return keys[:found], values[:found]

    def close(self) -> None:
        """Close the map; the kernel frees it when no program uses it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
