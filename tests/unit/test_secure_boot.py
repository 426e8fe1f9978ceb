# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secure Boot as firmware, shim and kernel tell it in files, and the key that DKMS signs with."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._secure_boot import read_secure_boot

from .conftest import Host

VARIABLES = "/sys/firmware/efi/efivars"
SECURE_BOOT = f"{VARIABLES}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
IGNORED = f"{VARIABLES}/MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23"
MOK_LIST = f"{VARIABLES}/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23"
MOK_NEW = f"{VARIABLES}/MokNew-605dab50-e046-4300-abb6-3dd810dd8b23"
DB = f"{VARIABLES}/db-d719b2cb-3d3a-4596-a3bc-dad00e67656f"
ENFORCE = "/sys/module/module/parameters/sig_enforce"
UBUNTU, DEBIAN = "/var/lib/shim-signed/mok/MOK.der", "/var/lib/dkms/mok.pub"
DER = b"\x30\x82\x03\x01 a certificate"
PEM = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(DER) + b"-----END CERTIFICATE-----\n"
ON, OFF = b"\6\0\0\0\1", b"\6\0\0\0\0"


def write(host: Host, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        host.write(name, content)


@pytest.mark.parametrize(
    ("files", "enforced"),
    [
        ({}, False),  # no UEFI
        ({SECURE_BOOT: OFF}, False),
        ({SECURE_BOOT: ON}, True),
        ({SECURE_BOOT: ON, IGNORED: ON}, False),
        ({SECURE_BOOT: ON, IGNORED: OFF}, True),
        ({ENFORCE: b"N\n"}, False),
        ({ENFORCE: b"Y\n"}, True),
        ({SECURE_BOOT: ON, IGNORED: ON, ENFORCE: b"Y\n"}, True),
        ({SECURE_BOOT: b"\6\0"}, False),
    ],
)
def test_enforced(host: Host, files: dict[str, bytes], *, enforced: bool) -> None:
    write(host, files)
    assert read_secure_boot(host.root, "Debian 13").enforced is enforced


@pytest.mark.parametrize(
    ("files", "distribution", "certificate"),
    [
        ({}, "Ubuntu 24.04", UBUNTU),
        ({}, "Debian 13", DEBIAN),
        ({DEBIAN: DER}, "Ubuntu 24.04", DEBIAN),
        ({UBUNTU: DER, DEBIAN: DER}, "Ubuntu 24.04", UBUNTU),
        ({UBUNTU: DER, DEBIAN: DER}, "Debian 13", DEBIAN),
        ({"/etc/dkms/framework.conf": b'# mok_certificate=/a\nmok_certificate="/b"\n'}, "Debian 13", "/b"),
        (
            {
                "/etc/dkms/framework.conf": b"mok_certificate=/b",
                "/etc/dkms/framework.conf.d/x.conf": b"mok_certificate=/c",
            },
            "Debian 13",
            "/c",
        ),
    ],
)
def test_certificate(host: Host, files: dict[str, bytes], distribution: str, certificate: str) -> None:
    write(host, files)
    assert read_secure_boot(host.root, distribution).certificate == certificate


@pytest.mark.parametrize(
    ("files", "key"),
    [
        ({}, "missing"),
        ({DEBIAN: b""}, "missing"),
        ({DEBIAN: DER}, "not_enrolled"),
        ({DEBIAN: DER, MOK_LIST: b"another"}, "not_enrolled"),
        ({DEBIAN: DER, MOK_LIST: b"\6\0\0\0 head " + DER + b" another"}, "enrolled"),
        ({DEBIAN: DER, MOK_LIST.replace("RT", "RT1"): b"\6\0\0\0" + DER}, "enrolled"),
        ({DEBIAN: DER, "/sys/firmware/efi/mok-variables/MokListRT": DER}, "enrolled"),
        ({DEBIAN: DER, DB: b"\6\0\0\0" + DER}, "enrolled"),
        ({DEBIAN: PEM, MOK_LIST: b"\6\0\0\0" + DER}, "enrolled"),
        ({DEBIAN: DER, MOK_NEW: b"\7\0\0\0" + DER}, "requested"),
        ({DEBIAN: DER, MOK_NEW: DER, MOK_LIST: b"\6\0\0\0" + DER}, "enrolled"),
    ],
)
def test_key(host: Host, files: dict[str, bytes], key: str) -> None:
    write(host, files)
    assert read_secure_boot(host.root, "Debian 13").key == key
