# SPDX-License-Identifier: GPL-2.0-only
"""How a report names what it was made from."""

import pytest

from pageinspect.model.provenance import Provenance, SnapshotMoment

MOMENT = SnapshotMoment("web 1", "20261127T201500Z")


@pytest.mark.parametrize(
    ("provenance", "option"),
    [
        (Provenance("7.0", "live", "btf"), ""),
        (Provenance("7.0", "core", "btf", target="/crash/vmcore"), "-c /crash/vmcore"),
        (Provenance("7.0", "core", "btf", target="a b"), "-c 'a b'"),
        (Provenance("7.0", "qemu", "btf", target="qemu:run/qmp"), "-c qemu:run/qmp"),
        (Provenance("7.0", "live", "btf", snapshot=MOMENT, target="data#web"), "-c 'data#web'"),
        # Opened without a name, as by a script.
        (Provenance("7.0", "core", "btf"), "-c CORE"),
        (
            Provenance("7.0", "core", "btf", snapshot=MOMENT),
            "-c 'DATASET@20261127T201500Z#web 1'",
        ),
    ],
)
def test_the_option_that_names_what_is_read(provenance: Provenance, option: str) -> None:
    assert provenance.option == option
