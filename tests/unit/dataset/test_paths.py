# SPDX-License-Identifier: GPL-2.0-only
"""Names of folders in a dataset."""

from pathlib import Path

import duckdb
import pytest

from pageinspect.dataset import paths
from pageinspect.errors import PageInspectError

HOSTS = {
    "web1.example.org": "web1.example.org",
    "a/b": "a%2Fb",
    "..": "..",
    "k=v": "k%3Dv",
    "100%": "100%25",
    "\x1b[31mred\n": "%1B%5B31mred%0A",
    "é": "%C3%A9",
    "a b~c_d-e": "a%20b~c_d-e",
    "*?": "%2A%3F",
    "": "",
}


@pytest.mark.parametrize(("host", "name"), HOSTS.items())
def test_a_host_is_percent_encoded(host: str, name: str) -> None:
    assert paths.host_folder(host) == f"host={name}"
    assert paths.host_in(f"host={name}") == host


def test_duckdb_encodes_names_in_the_same_way(tmp_path: Path) -> None:
    hosts = [chr(code) + "x" for code in (*range(1, 128), 233, 0x1F600)]
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE hosts (host VARCHAR, v INT)")
        connection.executemany("INSERT INTO hosts VALUES (?, 1)", [[host] for host in hosts])
        connection.execute(f"COPY hosts TO '{tmp_path}/out' (FORMAT parquet, PARTITION_BY (host))")
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {paths.host_folder(host) for host in hosts}
    assert {paths.host_in(name) for name in made} == set(hosts)


def test_a_host_that_is_not_utf8_has_a_name() -> None:
    assert paths.host_folder(paths.clean("a\udc80")) == "host=a%5Cudc80"


@pytest.mark.parametrize("name", ["host=a b", "host=%2f", "host=%", "host", "hosts=a", "host=%80"])
def test_foreign_hosts(name: str) -> None:
    assert paths.host_in(name) is None


def test_the_longest_host() -> None:
    assert len(paths.host_folder("é" * 41)) == 5 + 6 * 41
    with pytest.raises(PageInspectError, match=r"252 bytes.* 250 are the most") as caught:
        paths.host_folder("é" * 42)
    assert "--host" in caught.value.hint


def test_times() -> None:
    # date -u -d '2026-11-27 20:15' +%s
    assert paths.time_of(1795810500.9) == "20261127T201500Z"
    assert paths.microseconds("20261127T201500Z") == 1795810500_000000
    assert paths.time_folder("20240229T235959Z") == "time=20240229T235959Z"
    assert paths.time_in("time=20240229T235959Z") == "20240229T235959Z"


@pytest.mark.parametrize(
    "time",
    ["", "20261127", "20230229T000000Z", "20261127T241500Z", "20261127T201560Z", "x0261127T201500Z",
     "20261127T201500Z\n", "20261127T201500", "\u0662\u0660261127T201500Z"],
)  # fmt: skip
def test_foreign_times(time: str) -> None:
    assert paths.time_in(f"time={time}") is None
    for read in (paths.time_folder, paths.microseconds):
        with pytest.raises(ValueError, match="not a time"):
            read(time)


@pytest.mark.parametrize("seconds", [1e15, 1e30, -1e30])
def test_a_time_that_no_calendar_has(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"out of range|year|too large|large to convert"):
        paths.time_of(seconds)


def test_days_and_generations() -> None:
    assert paths.day_in("day=20261127") == "20261127"
    assert [paths.day_in(name) for name in ("day=20261131", "day=2026", "20261127")] == [None] * 3
    assert paths.generation_file(7) == "000007.parquet"
    assert paths.generation_in("000007.parquet") == 7
    assert paths.generation_in("1234567.parquet") == 1234567
    foreign = ("7.parquet", ".000007.parquet", "000007.parquet.tmp", "part.parquet")
    assert [paths.generation_in(name) for name in foreign] == [None] * 4
