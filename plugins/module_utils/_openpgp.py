# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public keys of OpenPGP, as far as apt needs them: their packets, and their fingerprints (RFC 4880, RFC 9580)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha1, sha256

from ._settings import SettingsError

_ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t]*\r?\n"
    rb"(?:[^\r\n:]+:[^\r\n]*\r?\n)*[ \t]*\r?\n"  # headers end with an empty line
    rb"(?P<base64>[A-Za-z0-9+/=\s]*?)"
    rb"(?:\r?\n=[A-Za-z0-9+/]{4}\s*)?"  # a checksum, which a fingerprint makes needless
    rb"-----END PGP PUBLIC KEY BLOCK-----"
)
_PUBLIC_KEY, _PUBLIC_SUBKEY = 6, 14
_SECRET = (5, 7)


class KeyFormatError(SettingsError):
    """What should be a public key is none."""


@dataclass(frozen=True)
class Key:
    """A primary key and those that it vouches for, by their fingerprints in upper case."""

    fingerprint: str
    subkeys: tuple[str, ...] = ()


def unarmour(data: bytes) -> bytes:
    """The packets of keys, armoured or not. Raises KeyFormatError."""
    if not data.lstrip().startswith(b"-----BEGIN"):
        return data
    blocks = [match["base64"] for match in _ARMOUR.finditer(data)]
    try:
        packets = b"".join(base64.b64decode(b"".join(block.split()), validate=True) for block in blocks)
    except binascii.Error as error:
        raise KeyFormatError(f"damaged: {error}") from error
    if not packets:
        raise KeyFormatError("it holds no block of public keys")
    return packets


def read_keys(data: bytes) -> tuple[Key, ...]:
    """The keys in a file, armoured or not, in their order. Raises KeyFormatError for what is no public key."""
    keys: list[Key] = []
    for tag, body in _packets(unarmour(data)):
        if tag in _SECRET:
            raise KeyFormatError("it holds a secret key")
        if tag == _PUBLIC_KEY:
            keys.append(Key(_fingerprint(body)))
        elif tag == _PUBLIC_SUBKEY and keys:
            keys[-1] = Key(keys[-1].fingerprint, (*keys[-1].subkeys, _fingerprint(body)))
        elif not keys:
            raise KeyFormatError("it does not begin with a public key")
    if not keys:
        raise KeyFormatError("it is empty")
    return tuple(keys)


def _fingerprint(body: bytes) -> str:
    match body[:1]:
        case b"\x04":
            # The standard's choice; it names the key here, and is not what protects its signatures.
            return sha1(b"\x99" + len(body).to_bytes(2) + body, usedforsecurity=False).hexdigest().upper()
        case b"\x06":
            return sha256(b"\x9b" + len(body).to_bytes(4) + body).hexdigest().upper()
    raise KeyFormatError(f"its version is {body[0] if body else 'missing'}, and only 4 and 6 are understood")


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and the body of each packet."""
    position = 0
    while position < len(data):
        first = data[position]
        if not first & 0x80:
            raise KeyFormatError(f"damaged, or no key at all, at byte {position}")
        is_new = bool(first & 0x40)
        tag = first & 0x3F if is_new else first >> 2 & 0x0F
        start, length = (_new_length if is_new else _old_length)(data, position)
        if start + length > len(data):
            raise KeyFormatError(f"cut off: the packet at byte {position} should have {length} bytes")
        yield tag, data[start : start + length]
        position = start + length


def _old_length(data: bytes, position: int) -> tuple[int, int]:
    """Where the body begins, and its length."""
    size = (1, 2, 4, 0)[data[position] & 0x03]
    start = position + 1 + size
    return start, int.from_bytes(data[position + 1 : start]) if size else len(data) - start


def _new_length(data: bytes, position: int) -> tuple[int, int]:
    octets = data[position + 1 : position + 6]
    if not octets:
        raise KeyFormatError("cut off: it ends with the head of a packet")
    if octets[0] < 192:
        return position + 2, octets[0]
    if octets[0] < 224:
        return position + 3, (octets[0] - 192 << 8) + int.from_bytes(octets[1:2]) + 192
    if octets[0] < 255:
        raise KeyFormatError("it has a packet in parts, which no key has")
    return position + 6, int.from_bytes(octets[1:5])
