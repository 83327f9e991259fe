# SPDX-License-Identifier: GPL-2.0-only
"""The formula of bpf/page_type.h, compiled for this machine, against that of Scheme."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import MODERN, SCHEMES

from pageinspect.paths import data_folder
from pageinspect.trace.options import layout_defines

SOURCE = """
#include "page_type.h"
void read_words(const unsigned int *words, long n, int *typed, unsigned int *slots)
{
    for (long i = 0; i < n; i++) {
        typed[i] = page_type_typed(words[i]);
        slots[i] = page_type_slot(words[i]);
    }
}
"""
EDGES = (0, 1, 7, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFF000000, 0xFF000001, 0xFFFFFFFF)

Reader = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def words() -> np.ndarray:
    """Give words of all kinds: random ones, each bit cleared and set, and around every edge."""
    rng = np.random.default_rng(0)
    anything = rng.integers(0, 1 << 32, 20_000, np.uint32)
    high = rng.integers(0xF0000000, 1 << 32, 20_000, np.uint32)
    bits = [v for b in range(32) for v in (1 << b, 0xFFFFFFFF ^ 1 << b)]
    tops = [top << 24 | low for top in range(256) for low in (0, 1, 0xFFFFFF)]
    near_end = range(0xFFFFFFFF - 0x20000, 1 << 32)
    return np.concatenate([np.array([*EDGES, *bits, *tops, *near_end], np.uint32), anything, high])


@pytest.fixture(params=list(SCHEMES))
def scheme_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def c_reader(tmp_path: Path, scheme_name: str) -> Reader:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    source, library = tmp_path / "read.c", tmp_path / "read.so"
    source.write_text(SOURCE)
    numbers = layout_defines(replace(MODERN, scheme=SCHEMES[scheme_name]))
    flags = [f"-D{name}={value}" for name, value in numbers.items()]
    flags += ["-Wall", "-Werror", "-O2", "-shared", "-fPIC", f"-I{data_folder('bpf')}"]
    subprocess.run([compiler, *flags, "-o", library, source], check=True)
    function = ctypes.CDLL(str(library)).read_words

    def read(given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        typed, slots = np.zeros(len(given), np.int32), np.zeros(len(given), np.uint32)
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (given, typed, slots)]
        function(pointers[0], ctypes.c_long(len(given)), *pointers[1:])
        return typed.astype(bool), slots

    return read


def test_c_and_python_read_every_word_alike(c_reader: Reader, scheme_name: str) -> None:
    scheme, given = SCHEMES[scheme_name], words()
    typed, slots = c_reader(given)
    assert 0 < typed.sum() < len(given)
    assert np.array_equal(typed, scheme.typed(given))
    assert np.array_equal(slots, scheme.slots(given))
