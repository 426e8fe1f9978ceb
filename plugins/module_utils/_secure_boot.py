# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the kernel takes signed modules only, and whether it trusts the key that DKMS signs with."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ._files import read_if_there

_FIRMWARE = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"
# What DKMS signs with: Ubuntu's, made by shim-signed, and that of DKMS itself.
UBUNTU_CERTIFICATE = "/var/lib/shim-signed/mok/MOK.der"
DKMS_CERTIFICATE = "/var/lib/dkms/mok.pub"
_SETTING = re.compile(r"""^\s*mok_certificate=["']?(?P<path>/[^"'\s$]+)["']?\s*$""", re.MULTILINE)

Key = Literal["enrolled", "requested", "not_enrolled", "missing"]


@dataclass(frozen=True)
class SecureBoot:
    """enforced: unsigned modules are refused. certificate: of the key that DKMS signs with.

    key: what is known of it: `requested` waits for a person at the console, `missing` was not made yet.
    """

    enforced: bool
    certificate: str
    key: Key


def read_secure_boot(root: Path, distribution: str) -> SecureBoot:
    certificate = _certificate(root, distribution)
    return SecureBoot(_enforced(root), certificate, _key(root, certificate))


def _enforced(root: Path) -> bool:
    on = _variable(root, f"SecureBoot-{_FIRMWARE}") == b"\1"
    # `mokutil --disable-validation`: shim and kernel then do as if Secure Boot were off.
    ignored = _variable(root, f"MokSBStateRT-{_SHIM}") == b"\1"
    demanded = (read_if_there(root / "sys/module/module/parameters/sig_enforce") or "").strip() == "Y"
    return (on and not ignored) or demanded


def _certificate(root: Path, distribution: str) -> str:
    files = [root / "etc/dkms/framework.conf", *sorted((root / "etc/dkms/framework.conf.d").glob("*.conf"))]
    settings = [found["path"] for file in files for found in _SETTING.finditer(read_if_there(file) or "")]
    if settings:
        return settings[-1]
    usual = UBUNTU_CERTIFICATE if distribution.startswith("Ubuntu") else DKMS_CERTIFICATE
    made = [path for path in (UBUNTU_CERTIFICATE, DKMS_CERTIFICATE) if (root / path.lstrip("/")).exists()]
    return usual if usual in made else next(iter(made), usual)


def _key(root: Path, certificate: str) -> Key:
    content = _read(root / certificate.lstrip("/"))
    if content.startswith(b"-----BEGIN CERTIFICATE"):
        content = ssl.PEM_cert_to_DER_cert(content.decode(errors="replace").strip())
    if not content:
        return "missing"
    # Firmware and shim keep whole certificates. Asked of the files, because mokutil need not be installed.
    if any(content in each for each in _trusted(root)):
        return "enrolled"
    return "requested" if content in _variable(root, f"MokNew-{_SHIM}") else "not_enrolled"


def _trusted(root: Path) -> list[bytes]:
    variables = root / "sys/firmware/efi/efivars"
    mok = root / "sys/firmware/efi/mok-variables"  # whole, where efivars has a large list in pieces
    files = [*variables.glob(f"MokListRT*-{_SHIM}"), *mok.glob("MokListRT*"), *variables.glob("db-d719b2cb-*")]
    return [_read(file) for file in files]


def _variable(root: Path, name: str) -> bytes:
    """The value of a firmware variable, without the four bytes of attributes before it; empty where it is not there."""
    return _read(root / "sys/firmware/efi/efivars" / name)[4:]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
