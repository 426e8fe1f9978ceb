# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kernel boots next, from menus as grub-mkconfig writes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._next_kernel import (
    by_version,
    find_next_kernel,
    parse_environment,
    parse_menu,
)

from .conftest import Host

OLD, NEW = "6.12.94+deb13-amd64", "6.12.117+deb13-amd64"
UUID = "0b7e2a0e-5d0c-4bb5-8a6b-6e4f2d9f9a11"
LOADER = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41c7-b6c7-482b705bcdb9"


def entry(title: str, identity: str, kernel: str, options: str = "ro") -> str:
    """As 10_linux of Debian's grub 2.12 writes one, without its searches for the file system."""
    return f"""\
menuentry '{title}' --class debian --class gnu-linux --class gnu --class os $menuentry_id_option '{identity}' {{
\tload_video
\tinsmod gzio
\tif [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
\tset root='hd0,gpt1'
\techo\t'Loading Linux {kernel} ...'
\tlinux\t/boot/vmlinuz-{kernel} root=/dev/vda1 {options}
\techo\t'Loading initial ramdisk ...'
\tinitrd\t/boot/initrd.img-{kernel}
}}
"""


def grub_cfg(default: str = "0") -> str:
    advanced = "".join(
        entry(f"Debian GNU/Linux, with Linux {kernel}", f"gnulinux-{kernel}-advanced-{UUID}", kernel)
        + entry(
            f"Debian GNU/Linux, with Linux {kernel} (recovery mode)",
            f"gnulinux-{kernel}-recovery-{UUID}",
            kernel,
            "ro single",
        )
        for kernel in (NEW, OLD)
    )
    return f"""\
### BEGIN /etc/grub.d/00_header ###
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="{default}"
fi
function savedefault {{
  if [ -z "${{boot_once}}" ]; then
    saved_entry="${{chosen}}"
    save_env saved_entry
  fi
}}
### END /etc/grub.d/00_header ###
{entry("Debian GNU/Linux", f"gnulinux-simple-{UUID}", NEW)}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-{UUID}' {{
{advanced}
}}
menuentry 'Windows Boot Manager (on /dev/nvme0n1p1)' --class windows $menuentry_id_option 'osprober-efi-8A5B' {{
\tchainloader /EFI/Microsoft/Boot/bootmgfw.efi
}}
if [ "$grub_platform" = "efi" ]; then
\tmenuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {{
\t\tfwsetup
\t}}
fi
menuentry "Owner's own > choice" --id own {{
\tlinuxefi /vmlinuz-{OLD}
}}
"""


ADVANCED = "Advanced options for Debian GNU/Linux"
WITH_OLD = f"{ADVANCED}>Debian GNU/Linux, with Linux {OLD}"


@pytest.mark.parametrize(
    ("default", "variables", "kernel", "reason"),
    [
        ("0", {}, NEW, "GRUB boots 'Debian GNU/Linux' (the default in grub.cfg)"),
        ("", {}, NEW, "GRUB boots 'Debian GNU/Linux' (the default in grub.cfg)"),
        ("1>0", {}, NEW, f"with Linux {NEW}'"),
        ("1>2", {}, OLD, f"GRUB boots 'Debian GNU/Linux, with Linux {OLD}' (the default in grub.cfg)"),
        ("1>3", {}, OLD, "(recovery mode)"),
        (WITH_OLD, {}, OLD, f"with Linux {OLD}'"),
        (f"gnulinux-advanced-{UUID}>gnulinux-{OLD}-advanced-{UUID}", {}, OLD, f"with Linux {OLD}'"),
        (f"{ADVANCED}>2", {}, OLD, f"with Linux {OLD}'"),
        ("Owner's own >> choice", {}, OLD, "Owner's own > choice"),
        ("own", {}, OLD, "Owner's own > choice"),
        ("4", {}, OLD, "Owner's own > choice"),
        # not at the top: GRUB looks for a title in one menu only
        (f"Debian GNU/Linux, with Linux {OLD}", {}, NEW, "its first entry, because the default in grub.cfg, "),
        ("7", {}, NEW, "its first entry, because the default in grub.cfg, '7', is no entry"),
        (f"{ADVANCED}>gone", {}, NEW, f"with Linux {NEW}'"),
        ("${saved_entry}", {"saved_entry": WITH_OLD}, OLD, "(saved_entry in grubenv)"),
        ("${saved_entry}", {"saved_entry": "1>2"}, OLD, "(saved_entry in grubenv)"),
        ("${saved_entry}", {}, NEW, "(saved_entry in grubenv)"),
        ("${saved_entry}", {"saved_entry": f"{ADVANCED}>gone"}, NEW, "with Linux"),
        ("${saved_entry}", {"saved_entry": "removed-kernel"}, NEW, "because saved_entry in grubenv, 'removed-kernel'"),
        ("0", {"saved_entry": WITH_OLD}, NEW, "the default in grub.cfg"),
        ("0", {"next_entry": "1>2"}, OLD, "(next_entry in grubenv)"),
        ("${saved_entry}", {"saved_entry": "0", "next_entry": WITH_OLD}, OLD, "(next_entry in grubenv)"),
        ("${saved_entry}", {"saved_entry": WITH_OLD, "next_entry": ""}, OLD, "(saved_entry in grubenv)"),
        ("1", {}, None, f"GRUB stops at its submenu '{ADVANCED}'"),
        ("2", {}, None, "GRUB boots 'Windows Boot Manager (on /dev/nvme0n1p1)' (the default in grub.cfg), which names"),
        ("uefi-firmware", {}, None, "GRUB boots 'UEFI Firmware Settings'"),
    ],
)
def test_grub(host: Host, default: str, variables: dict[str, str], kernel: str | None, reason: str) -> None:
    host.write("/boot/grub/grub.cfg", grub_cfg(default))
    lines = "".join(f"{name}={value}\n" for name, value in variables.items())
    host.write("/boot/grub/grubenv", f"# GRUB Environment Block\n{lines}".ljust(1024, "#"))
    found = find_next_kernel(host.root, [OLD, NEW])
    assert found.kernel == kernel
    assert reason in found.reason


def test_menu_is_what_grub_shows() -> None:
    menu, default = parse_menu(grub_cfg("saved"))
    assert [each.title for each in menu] == [
        "Debian GNU/Linux",
        ADVANCED,
        "Windows Boot Manager (on /dev/nvme0n1p1)",
        "UEFI Firmware Settings",
        "Owner's own > choice",
    ]
    assert len(menu[1].entries) == 4
    assert default == "saved"


@pytest.mark.parametrize(
    "text",
    [
        'set default="1>2"\nif [ "${next_entry}" ] ; then\n  set default="${next_entry}"\nfi\n',
        "set default='1>2'\nfunction other {\n  set default=0\n}\n",
        "set default=1>2\nmenuentry 'Other' {\n  set default=0\n}\n",
    ],
)
def test_the_default_is_the_one_that_holds_without_next_entry(text: str) -> None:
    assert parse_menu(text)[1] == "1>2"


def test_titles_are_unquoted() -> None:
    menu, _default = parse_menu("menuentry 'Owner'\\''s' --class os $menuentry_id_option 'x' {\n}\n")
    assert (menu[0].title, menu[0].id) == ("Owner's", "x")


def test_environment_as_grub_editenv_writes_it() -> None:
    text = "# GRUB Environment Block\n# WARNING: Do not edit this file\nsaved_entry=a>b\nx=1\\\\2\n" + 900 * "#"
    assert parse_environment(text) == {"saved_entry": "a>b", "x": "1\\2"}


@pytest.mark.parametrize(
    ("place", "target"), [("/boot/vmlinuz", f"vmlinuz-{OLD}"), ("/vmlinuz", f"boot/vmlinuz-{OLD}")]
)
def test_a_plain_name_is_a_link_to_a_kernel(host: Host, place: str, target: str) -> None:
    host.write(f"/boot/vmlinuz-{OLD}", "")
    host.link(place, target)
    host.write("/boot/grub/grub.cfg", "menuentry 'Debian' {\n\tlinux /vmlinuz root=/dev/sda1\n}\n")
    assert find_next_kernel(host.root, [OLD, NEW]).kernel == OLD


def test_without_a_boot_loader_it_is_the_newest(host: Host) -> None:
    found = find_next_kernel(host.root, [NEW, OLD, "6.8.0-100-generic"])
    assert found.kernel == NEW
    assert "no boot loader with a menu was found" in found.reason


def test_without_kernels_there_is_none(host: Host) -> None:
    assert find_next_kernel(host.root, []).reason == "no kernel is installed"


def test_systemd_boot_is_not_guessed(host: Host) -> None:
    host.write("/boot/efi/loader/loader.conf", "default @saved\n")
    assert find_next_kernel(host.root, [OLD]).kernel is None
    host.write("/boot/grub/grub.cfg", grub_cfg())  # of before, or after: the firmware says which one it started
    assert find_next_kernel(host.root, [OLD]).kernel == NEW
    host.write(LOADER, b"\x06\0\0\0" + "systemd-boot 257.9".encode("utf-16-le"))
    found = find_next_kernel(host.root, [OLD])
    assert found.kernel is None
    assert "systemd-boot" in found.reason
    host.write(LOADER, b"\x06\0\0\0" + "GRUB 2.12-9+deb13u2".encode("utf-16-le"))
    assert find_next_kernel(host.root, [OLD]).kernel == NEW


def test_an_empty_menu_is_no_kernel(host: Host) -> None:
    host.write("/boot/grub/grub.cfg", "set timeout=5\n")
    assert find_next_kernel(host.root, [OLD]).reason == "GRUB's menu has no entry"


def test_who_may_not_read_the_menu_is_told(open_host: Host, as_nobody: Callable[[Callable[[], object]], str]) -> None:
    open_host.write("/boot/grub/grub.cfg", grub_cfg()).chmod(0o600)

    def report() -> None:
        raise RuntimeError(find_next_kernel(open_host.root, [OLD]).reason)

    assert "grub.cfg: Permission denied" in as_nobody(report)


def test_order_of_kernels() -> None:
    names = ["6.8.0-9-generic", "6.8.0-100-generic", "6.17.0-5-generic", OLD, NEW, "7.0.0-1-generic", "7.0.0"]
    assert sorted(names, key=by_version) == [
        "6.8.0-9-generic",
        "6.8.0-100-generic",
        OLD,
        NEW,
        "6.17.0-5-generic",
        "7.0.0",
        "7.0.0-1-generic",
    ]
