# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public keys: fingerprints as GnuPG tells them, and what is no key."""

from __future__ import annotations

from hashlib import sha256

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._openpgp import (
    Key,
    KeyFormatError,
    read_keys,
    unarmour,
)

# Made with GnuPG 2.4, which also told the fingerprints.
ARMOURED = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawGjNxYJKwYBBAHaRw8BAQdAsI5tgmNiOrkRVdjC4jysW51op096h+Fz361T
7kRjEBi0IW1scmlnIHRlc3QgPHRlc3RAZXhhbXBsZS5pbnZhbGlkPoiQBBMWCgA4
FiEE/auwomHS1Af6dC3YNUJ8q3j39dcFAmsBozcCGwMFCwkIBwIGFQoJCAsCBBYC
AwECHgECF4AACgkQNUJ8q3j39deFoAD/V+hd/qsXiZNYlyvhuTP5mNWcoPTfK3bl
v0UKrOJin9oBAINNhKMZcoZaWLE1BIhLxXESpvBeRMh/t2c92Vhom40GuDgEawGj
NxIKKwYBBAGXVQEFAQEHQBZ8oJOpqsFJf5cBdD+oiMm67HkNRbnArCb96ulXSJld
AwEIB4h4BBgWCgAgFiEE/auwomHS1Af6dC3YNUJ8q3j39dcFAmsBozcCGwwACgkQ
NUJ8q3j39deNmQEAsKurBW1YFaDKzB9o6IMEYewP63ClENmMxA4Bp3fJXJIA/1ho
sodRXvObUGVGedaHrTN0dQzmg5XCJAAcGKsRjUEK
=eNC9
-----END PGP PUBLIC KEY BLOCK-----
"""
FINGERPRINT = "FDABB0A261D2D407FA742DD835427CAB78F7F5D7"
SUBKEY = "44862F4998E5DF34F5319B0AB29DEA660C3A33A6"
KEY = Key(FINGERPRINT, (SUBKEY,))
PACKETS = unarmour(ARMOURED.encode())
WITH_HEADERS = ARMOURED.replace("BLOCK-----\n\n", "BLOCK-----\nVersion: GnuPG v2\nComment: a: b\n\n", 1)
WITHOUT_CHECKSUM = ARMOURED.replace("=eNC9\n", "")


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (ARMOURED.encode(), (KEY,)),
        (ARMOURED.replace("\n", "\r\n").encode(), (KEY,)),
        (WITH_HEADERS.encode(), (KEY,)),
        (WITHOUT_CHECKSUM.encode(), (KEY,)),
        (ARMOURED.encode() * 2, (KEY, KEY)),
        (PACKETS, (KEY,)),
        (PACKETS * 2, (KEY, KEY)),
    ],
)
def test_fingerprints_are_those_that_gnupg_tells(data: bytes, keys: tuple[Key, ...]) -> None:
    assert read_keys(data) == keys


def packet(tag: int, body: bytes, *, new: bool = True) -> bytes:
    if not new:
        return bytes([0x82 | tag << 2]) + len(body).to_bytes(4) + body
    if len(body) < 192:
        return bytes([0xC0 | tag, len(body)]) + body
    if len(body) < 8384:
        length = len(body) - 192
        return bytes([0xC0 | tag, (length >> 8) + 192, length & 0xFF]) + body
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4) + body


@pytest.mark.parametrize("size", [10, 191, 192, 600, 8383, 8384, 70000])
@pytest.mark.parametrize("new", [True, False])
def test_packets_of_every_length_are_walked_over(size: int, new: bool) -> None:  # noqa: FBT001
    data = PACKETS + packet(13, b"u" * size, new=new) + PACKETS
    assert read_keys(data) == (KEY, KEY)


def test_a_key_of_the_newest_version() -> None:
    body = b"\x06" + b"k" * 40
    expected = sha256(b"\x9b\x00\x00\x00\x29" + body).hexdigest().upper()
    assert read_keys(packet(6, body)) == (Key(expected),)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "it is empty"),
        (b"<html>404</html>", "no key at all, at byte 0"),
        (b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n", "no block of public keys"),
        (ARMOURED.replace("mDME", "mDM", 1).encode(), "damaged"),
        (PACKETS[:30], "cut off"),
        (PACKETS + b"\xc6", "cut off"),
        (packet(5, b"\x04secret"), "a secret key"),
        (packet(2, b"\x04signature"), "does not begin with a public key"),
        (packet(6, b"\x03old"), "its version is 3"),
        (packet(6, b""), "its version is missing"),
        (b"\xc6\xe1x", "in parts"),
    ],
)
def test_what_is_no_key(data: bytes, fault: str) -> None:
    with pytest.raises(KeyFormatError, match=fault):
        read_keys(data)
