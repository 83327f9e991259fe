# SPDX-License-Identifier: GPL-2.0-only
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pageinspect.vm.framing import Decoder, encode

_MESSAGES = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["id", "event"]), st.integers() | st.text(max_size=9)),
        st.binary(max_size=200),
    )
)


# A busy machine is slow to draw, which says nothing about the code.
@given(_MESSAGES, st.integers(min_value=1, max_value=64))
def test_what_is_encoded_comes_out_however_it_is_cut(
    messages: list[tuple[dict[str, object], bytes]], piece: int
) -> None:
    wire = b"".join(encode(message, payload) for message, payload in messages)
    decoder = Decoder()
    out = []
    for start in range(0, len(wire), piece):
        out += decoder.feed(wire[start : start + piece])
    for message, payload in messages:
        if payload:
            message["size"] = len(payload)
    assert out == messages


@pytest.mark.parametrize(
    "data",
    [
        b"no json\n",
        b"[1]\n",
        b"x" * (1 << 21),
        b"[" * 100_000 + b"\n",
        b'{"size": []}\n',
        b'{"size": -1}\n',
    ],
    ids=range(6),
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own error is one
        list(Decoder().feed(data))
