# SPDX-License-Identifier: GPL-2.0-only
"""A monitor may be anyone's: what root reads for it, and how long it is waited for."""

import json
import re
import socket
from pathlib import Path

import pytest
from talks import GREETING, TALKS, speaking

from pageinspect.errors import PageInspectError
from pageinspect.target.qemu import monitor as module
from pageinspect.target.qemu.monitor import monitor_at


@pytest.mark.parametrize("talk", TALKS)
def test_a_monitor_that_does_not_answer_times_out(
    talk: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GREETING_S", 0.3)
    monkeypatch.setattr(module, "ANSWER_S", 0.3)
    monkeypatch.setattr(module, "LARGEST", 1 << 20)
    server, reason = TALKS[talk]
    with speaking(folder / "socket", server) as path:
        with pytest.raises(PageInspectError, match=reason) as error, monitor_at(path):
            pass
        assert error.value.hint


def test_a_monitor_that_failed_once_gets_no_more_commands(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.3)
    heard: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        name = json.loads(connection.recv(4096))["id"]
        connection.sendall(json.dumps({"return": {}, "id": name}).encode() + b"\n")
        while heard.append(connection.recv(4096)) or heard[-1]:
            pass

    with speaking(folder / "socket", talk) as path, monitor_at(path) as connected:
        for command in ("stop", "cont"):
            with pytest.raises(PageInspectError, match="did not answer stop"):
                connected.execute(command)
    assert [json.loads(said)["execute"] for said in heard[:-1]] == ["stop"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'"return": []', "does not answer query-status as QEMU does"),
        (b'"return": {"running": 1}', "does not answer query-status as QEMU does"),
        (b'"error": {"desc": ["x"]}', "QEMU refuses query-status: it gives no reason"),
        (b'"error": "x"', "QEMU refuses query-status: it gives no reason"),
        (b'"error": {"desc": "%s"}' % (b"x" * 5000), "QEMU refuses query-status: x{200}$"),
    ],
)
def test_an_answer_that_is_not_qmp_is_an_error(folder: Path, answer: bytes, message: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        for said in (b'"return": {}', answer):
            name = json.loads(connection.recv(4096))["id"].encode()
            connection.sendall(b'{"id": "%s", %s}\n' % (name, said))

    with speaking(folder / "socket", talk) as path, monitor_at(path) as connected:
        with pytest.raises(PageInspectError) as error:
            connected.is_running()
        assert re.search(message, error.value.message)
