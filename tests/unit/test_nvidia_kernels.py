# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver in every kernel: what is good, what is broken and why, and whether a reboot is safe or needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._driver_libraries import find_libraries
from ansible_collections.mlrig.workstation.plugins.module_utils._kernel_modules import (
    DRIVER_MODULES,
    find_kernels,
    has_headers,
    parse_modinfo,
    parse_modprobe,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._nvidia_kernels import (
    KernelReport,
    read_kernels,
    reboot_needed,
    reboot_safe,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._trusted_keys import is_trusted, read_key_owners

from .conftest import Host

OLD, NEW = "6.12.94+deb13-amd64", "6.12.117+deb13-amd64"
VERSION = "595.71.05"
BOOTS_NEXT = "which boots next (it is the newest, and no boot loader with a menu was found)"
MODULES = ("nvidia", "nvidia-modeset", "nvidia-drm", "nvidia-uvm")
SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
MAKE_LOG = "/var/lib/dkms/nvidia/595.71.05/build/make.log"

# As kmod 34 printed it for what Debian 13's DKMS built and for damaged files, without most of its lines.
MODINFO = """\
filename:       /lib/modules/6.12.94+deb13-amd64/updates/dkms/nvidia-current-open.ko.xz
import_ns:      DMA_BUF
version:        550.163.01
license:        Dual MIT/GPL
firmware:       nvidia/550.163.01/gsp_tu10x.bin
firmware:       nvidia/550.163.01/gsp_ga10x.bin
depends:        drm
name:           nvidia
vermagic:       6.12.94+deb13-amd64 SMP preempt mod_unload modversions\x20
sig_id:         PKCS#7
signer:         DKMS module signing key
signature:      5B:E4:1A:89:13:68:C6:67:AC:28:2C:12:7D:4D:24:E2:AD:C5:60:C8:
\t\tD6:F6:6F:4B:A8:B1:DD:7C:2F:FF:01:25:22:40:44:46:81:5D:B3:4F
parm:           NvSwitchRegDwords:NvSwitch regkey (charp)
filename:       /lib/modules/6.12.117+deb13-amd64/updates/nvidia-drm.ko.xz
filename:       /lib/modules/6.12.94+deb13-amd64/updates/dkms/nvidia-current-open-uvm.ko.xz
version:        550.163.01
parm:           uvm_leak_checker:Enable uvm memory leak checking. 0 = disabled (uint)
"""
# As `modprobe --showconfig` printed it there.
DEBIANS_CONFIGURATION = """\
blacklist nouveau
install nvidia modprobe -i nvidia-current-open $CMDLINE_OPTS
install nvidia_modeset modprobe nvidia ; modprobe -i nvidia-current-open-modeset $CMDLINE_OPTS
install nvidia_drm modprobe nvidia-modeset ; modprobe -i nvidia-current-open-drm $CMDLINE_OPTS
install nvidia_uvm modprobe nvidia ; modprobe -i nvidia-current-open-uvm $CMDLINE_OPTS
remove nvidia modprobe -r -i nvidia-drm nvidia-modeset nvidia-peermem nvidia-uvm nvidia
alias char_major_195* nvidia
options bonding max_bonds=0
"""


@dataclass
class Rig:
    """A host with a card, libraries and two kernels, whose modules are good until something is done to them."""

    host: Host
    records: dict[str, str] = field(default_factory=dict)
    modprobe: str = ""
    dkms: str = ""

    def run(self, *command: str) -> Output:
        match command:
            case ("modinfo", *files):
                return Output(0, "".join(f"filename:       {file}\n{self.records.get(file, '')}" for file in files))
            case ("modprobe", "--showconfig"):
                return Output(0, self.modprobe)
            case ("dkms", "status"):
                return Output(0, self.dkms)
        raise AssertionError(command)

    def read(self) -> KernelReport:
        return read_kernels(self.host.root, self.run)

    def problems(self, kernel: str = NEW) -> list[str]:
        found = self.read().find(kernel)
        assert found is not None
        return list(found.problems)

    def install_card(self, driver: str | None = None) -> None:
        device = "/sys/bus/pci/devices/0000:01:00.0"
        self.host.write_all({f"{device}/vendor": "0x10de\n", f"{device}/class": "0x030000\n"})
        self.host.write(f"{device}/device", "0x2b85\n")
        if driver is not None:
            self.host.link(f"{device}/driver", f"../../../../bus/pci/drivers/{driver}")

    def install_libraries(self, version: str = VERSION) -> None:
        for name in ("libnvidia-ml.so", "libcuda.so"):
            self.host.write(f"/usr/lib/x86_64-linux-gnu/{name}.{version}", "elf")
            self.host.link(f"/usr/lib/x86_64-linux-gnu/{name}.1", f"{name}.{version}")

    def install_kernel(self, kernel: str, *, headers: bool = True) -> None:
        self.host.write(f"/boot/vmlinuz-{kernel}", "image")
        self.host.write(f"/lib/modules/{kernel}/modules.dep", "kernel/fs/ext4.ko.xz:\n")
        if headers:
            self.host.write(f"/usr/src/linux-headers-{kernel}/Makefile", "")
            self.host.link(f"/lib/modules/{kernel}/build", f"../../../usr/src/linux-headers-{kernel}")

    def install_module(self, kernel: str, name: str, *, file: str | None = None, **fields: str | None) -> None:
        """A field that is None is left out of what modinfo says."""
        relative = f"updates/dkms/{file or name}.ko.zst"
        path = self.host.write(f"/lib/modules/{kernel}/{relative}", "elf")
        said = {
            "version": VERSION,
            "license": "Dual MIT/GPL",
            "name": name.replace("-", "_"),
            "vermagic": f"{kernel} SMP preempt mod_unload modversions ",
            "signer": "DKMS module signing key",
            **fields,
        }
        self.records[str(path)] = "".join(f"{key}:   {value}\n" for key, value in said.items() if value is not None)
        index = self.host.path(f"/lib/modules/{kernel}/modules.dep")
        if f"\n{relative}:" not in index.read_text():
            index.write_text(f"{index.read_text()}{relative}: kernel/drivers/gpu/drm/drm.ko.xz\n")

    def install_modules(self, kernel: str, **fields: str | None) -> None:
        for name in MODULES:
            self.install_module(kernel, name, **fields)

    def remove_modules(self, kernel: str) -> None:
        for file in self.host.path(f"/lib/modules/{kernel}/updates/dkms").iterdir():
            file.unlink()

    def know_dkms(self, *lines: str) -> None:
        self.host.write("/usr/sbin/dkms", "")
        self.host.write("/var/lib/dkms/nvidia/595.71.05/source", "")
        self.dkms = "".join(f"{line}\n" for line in lines)

    def module(self, name: str, kernel: str = NEW) -> str:
        return f"/lib/modules/{kernel}/updates/dkms/{name}.ko.zst"


@pytest.fixture
def rig(host: Host) -> Rig:
    rig = Rig(host)
    rig.install_card()
    rig.install_libraries()
    for kernel in (OLD, NEW):
        rig.install_kernel(kernel)
        rig.install_modules(kernel)
    host.write("/proc/sys/kernel/osrelease", f"{OLD}\n")
    return rig


def test_a_good_host(rig: Rig) -> None:
    facts = rig.read().as_facts()
    assert facts["reboot_safe"] is True
    assert facts["reasons"] == [f"{NEW}, {BOOTS_NEXT}, has all modules of the driver {VERSION}"]
    assert (facts["reboot_needed"], facts["reboot_reasons"]) == (False, [])
    assert (facts["library_version"], facts["running"], facts["next"]["kernel"]) == (VERSION, OLD, NEW)
    assert facts["loaded"] is None
    assert facts["signatures_enforced"] is False
    old, new = facts["kernels"]
    assert (old["kernel"], new["kernel"]) == (OLD, NEW)
    assert new["good"]
    assert new["complete"]
    assert new["headers"]
    assert (new["version"], new["flavour"], new["problems"], new["dkms"]) == (VERSION, "open", [], [])
    assert [module["name"] for module in new["modules"]] == ["nvidia", "nvidia_modeset", "nvidia_drm", "nvidia_uvm"]
    assert new["modules"][0] == {
        "name": "nvidia",
        "file": rig.module("nvidia"),
        "version": VERSION,
        "flavour": "open",
        "signer": "DKMS module signing key",
        "problems": [],
    }


Act = Callable[[Rig], object]


def unindex(rig: Rig) -> None:
    rig.host.write(f"/lib/modules/{NEW}/modules.dep", "kernel/fs/ext4.ko.xz:\n")


def lead_nowhere(rig: Rig) -> None:
    rig.host.link(rig.module("nvidia"), "../gone.ko.zst")


@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (lambda rig: rig.host.write(rig.module("nvidia"), ""), "nvidia is empty"),
        (lambda rig: rig.host.write(rig.module("nvidia-uvm"), ""), "nvidia_uvm is empty"),
        (lead_nowhere, "nvidia is empty"),
        (
            lambda rig: rig.records.clear(),
            "nvidia, nvidia_modeset, nvidia_drm, nvidia_uvm: each is damaged: modinfo cannot",
        ),
        (
            unindex,
            f"nvidia, nvidia_modeset, nvidia_drm, nvidia_uvm: each is not found by modprobe: run depmod -a {NEW}",
        ),
        (
            lambda rig: rig.install_modules(NEW, version="590.48.01"),
            "nvidia, nvidia_modeset, nvidia_drm, nvidia_uvm: each is of version 590.48.01, and the driver's",
        ),
        (
            lambda rig: rig.install_module(NEW, "nvidia-drm", version="590.48.01"),
            f"nvidia_drm is of version 590.48.01, and the driver's libraries are of {VERSION}",
        ),
        (lambda rig: rig.install_module(NEW, "nvidia", version=None), "nvidia is of version None, and the driver's"),
        (
            lambda rig: rig.install_module(NEW, "nvidia", vermagic=f"{OLD} SMP preempt mod_unload modversions "),
            f"nvidia was built for kernel {OLD}",
        ),
        (
            lambda rig: rig.host.path(rig.module("nvidia-modeset")).unlink(),
            "it has no nvidia_modeset: DKMS has no driver to build",
        ),
        (
            lambda rig: rig.remove_modules(NEW),
            "it has no NVIDIA module: DKMS has no driver to build, so install the package of prebuilt modules",
        ),
        (lambda rig: rig.host.path(f"/boot/vmlinuz-{NEW}").unlink(), f"/boot/vmlinuz-{NEW} is missing"),
        (
            lambda rig: setattr(rig, "modprobe", "install nvidia /bin/false\n"),
            "nvidia is switched off in modprobe's configuration (/bin/false)",
        ),
        (
            lambda rig: setattr(rig, "modprobe", "alias nvidia_uvm off\n"),
            "nvidia_uvm is switched off in modprobe's configuration (off)",
        ),
        (
            lambda rig: setattr(rig, "modprobe", DEBIANS_CONFIGURATION),
            f"nvidia is in /lib/modules/{NEW}/updates/dkms/nvidia.ko.zst, but modprobe's configuration makes it",
        ),
    ],
)
def test_what_makes_a_kernel_broken(rig: Rig, act: Act, problem: str) -> None:
    assert rig.problems() == []
    act(rig)
    assert any(each.startswith(problem) for each in rig.problems()), rig.problems()


def remove_headers(rig: Rig) -> None:
    """As apt leaves it: the link is of the kernel's package, or of the headers', and leads nowhere."""
    rig.host.path(f"/usr/src/linux-headers-{NEW}/Makefile").unlink()


def fail_build(rig: Rig, kernel: str = NEW) -> None:
    rig.host.write(
        MAKE_LOG, f"DKMS (dkms-3.2.2) make.log for nvidia/{VERSION} for kernel {kernel} (x86_64)\nx.c:1: error: no\n"
    )


@pytest.mark.parametrize(
    ("dkms", "act", "why"),
    [
        # what a failed build leaves when it was the first one, and when another kernel had one already
        (f"nvidia/{VERSION}: added", fail_build, f"its build failed: x.c:1: error: no ({MAKE_LOG})"),
        (f"nvidia/{VERSION}, {OLD}, x86_64: installed", fail_build, f"its build failed: x.c:1: error: no ({MAKE_LOG})"),
        # the silent case
        (
            f"nvidia/{VERSION}, {OLD}, x86_64: installed",
            remove_headers,
            f"its headers are missing: install linux-headers-{NEW}",
        ),
        (
            f"nvidia/{VERSION}, {OLD}, x86_64: installed",
            lambda rig: fail_build(rig, OLD),
            f"DKMS has nvidia/{VERSION}, and has not built it: run dkms autoinstall -k {NEW}",
        ),
        (
            f"nvidia/{VERSION}: broken",
            lambda rig: rig,
            f"the source of nvidia/{VERSION}, in /usr/src, is gone",
        ),
    ],
)
def test_why_a_module_is_missing(rig: Rig, dkms: str, act: Act, why: str) -> None:
    rig.know_dkms(dkms)
    rig.remove_modules(NEW)
    act(rig)
    assert rig.problems() == [f"it has no NVIDIA module: {why}"]
    report = rig.read()
    assert not reboot_safe(report).holds
    assert reboot_safe(report).reasons == (
        f"{NEW}, {BOOTS_NEXT}: it has no NVIDIA module: {why}",
        f"{OLD} would do: mend the kernel that boots next, or let that one boot",
    )


def test_what_dkms_says_of_a_kernel_is_in_the_facts(rig: Rig) -> None:
    rig.know_dkms(f"nvidia/{VERSION}, {OLD}, x86_64: installed (Original modules exist)")
    old, new = rig.read().as_facts()["kernels"]
    assert [(each["state"], each["remarks"]) for each in old["dkms"]] == [("installed", ["Original modules exist"])]
    assert new["dkms"] == []


def test_names_of_debians_packages(rig: Rig) -> None:
    rig.remove_modules(NEW)
    names = [name.replace("nvidia", "nvidia-current-open", 1) for name in MODULES]
    for name, file in zip(MODULES, names, strict=True):
        rig.install_module(NEW, name, file=file)
    rig.modprobe = DEBIANS_CONFIGURATION
    assert rig.problems() == []
    assert rig.read().as_facts()["kernels"][1]["modules"][3]["file"] == rig.module("nvidia-current-open-uvm")
    rig.modprobe = ""
    assert rig.problems() == [
        f"{name} is in {rig.module(file)}, but modprobe's configuration makes it look for {name}"
        for name, file in zip(DRIVER_MODULES, names, strict=True)
    ]


def test_of_two_files_the_one_that_depmod_took_counts(rig: Rig) -> None:
    rig.host.write(f"/lib/modules/{NEW}/kernel/drivers/nvidia.ko.zst", "")
    assert rig.problems() == []


KEYS = """\
0b2a3c4d I------     1 perm 1f030000     0     0 asymmetri Debian Secure Boot CA: 6ccece7e4c6c0d1f: X509.rsa cbb419ea []
1c3b4d5e I------     2 perm 1f0b0000     0     0 keyring   .builtin_trusted_keys: 2
"""
DKMS_KEY = (
    "2d4c5e6f I------     1 perm 1f010000     0     0 asymmetri DKMS module signing key: 0123abcd: X509.rsa 01 []\n"
)


@pytest.mark.parametrize(
    ("secure_boot", "keys", "signer", "problem"),
    [
        (b"\x06\0\0\0\0", None, None, None),
        (b"\x06\0\0\0\x01", KEYS, None, "is not signed, and Secure Boot makes the kernel refuse it"),
        (
            b"\x06\0\0\0\x01",
            KEYS,
            "DKMS module signing key",
            "is signed with the key of 'DKMS module signing key', which",
        ),
        (b"\x06\0\0\0\x01", KEYS + DKMS_KEY, "DKMS module signing key", None),
        (b"\x06\0\0\0\x01", KEYS, "Debian Secure Boot CA", None),
        (b"\x06\0\0\0\x01", "", "DKMS module signing key", None),  # who is not root is not told the keys
    ],
)
def test_signatures(rig: Rig, secure_boot: bytes, keys: str | None, signer: str | None, problem: str | None) -> None:
    rig.host.write(SECURE_BOOT, secure_boot)
    if keys is not None:
        rig.host.write("/proc/keys", keys)
    rig.install_modules(NEW, signer=signer)
    found = rig.problems()
    assert len(found) == (0 if problem is None else 1), found
    assert problem is None or f"nvidia, nvidia_modeset, nvidia_drm, nvidia_uvm: each {problem}" in found[0]
    assert rig.read().as_facts()["signatures_enforced"] is (secure_boot[4] == 1)


def test_the_kernel_names_an_organisation_before_the_owner(host: Host) -> None:
    host.write("/proc/keys", KEYS.replace("Debian Secure", "Canonical Ltd.: Kernel Module Signing, Secure"))
    owners = read_key_owners(host.root)
    assert is_trusted("Kernel Module Signing, Secure Boot CA", owners)
    assert not is_trusted("Secure Boot CA", owners)


@pytest.mark.parametrize(
    ("act", "safe", "reason"),
    [
        (
            lambda rig: rig.host.path("/sys/bus/pci/devices/0000:01:00.0/vendor").write_text("0x1002\n"),
            True,
            "no NVIDIA card",
        ),
        (lambda rig: rig.install_card("vfio-pci"), True, "no NVIDIA card of its own"),
        (lambda rig: rig.remove_modules(NEW), False, "it has no NVIDIA module"),
        (lambda rig: rig.remove_modules(OLD), True, f"{NEW}, which boots next"),
        (lambda rig: [rig.remove_modules(kernel) for kernel in (OLD, NEW)], False, "no installed kernel has a working"),
        (lambda rig: rig.host.write("/usr/lib/x86_64-linux-gnu/libcuda.so.1", ""), True, f"{NEW}, which boots next"),
        (
            lambda rig: (
                rig.host.link("/boot/grub/grub.cfg", "/nowhere") and rig.host.write("/boot/loader/loader.conf", "")
            ),
            True,
            "which kernel boots next is not known: systemd-boot chooses it",
        ),
        (
            lambda rig: rig.host.write("/boot/loader/loader.conf", "") and rig.remove_modules(OLD),
            False,
            "which kernel boots next is not known: systemd-boot chooses it",
        ),
        (
            lambda rig: rig.host.write("/boot/grub/grub.cfg", "menuentry 'Old' {\n linux /vmlinuz-6.1.0-1-amd64\n}\n"),
            False,
            "6.1.0-1-amd64, which boots next (GRUB boots 'Old' (the default in grub.cfg)), is not installed",
        ),
    ],
)
def test_reboot_safe(rig: Rig, act: Act, safe: bool, reason: str) -> None:  # noqa: FBT001
    act(rig)
    verdict = reboot_safe(rig.read())
    assert verdict.holds is safe
    assert any(reason in each for each in verdict.reasons), verdict.reasons


def test_without_a_driver_a_reboot_is_safe(host: Host) -> None:
    rig = Rig(host)
    rig.install_card("nouveau")
    rig.install_kernel(NEW)
    rig.install_module(NEW, "nvidia-wmi-ec-backlight", license="GPL", version=None)
    report = rig.read()
    assert reboot_safe(report) == (True, ("no NVIDIA driver is installed",))
    assert reboot_needed(report) == (False, ())


def test_without_a_kernel_a_reboot_is_safe(host: Host) -> None:
    rig = Rig(host)
    rig.install_card()
    rig.install_libraries()
    assert reboot_safe(rig.read()) == (True, ("no kernel is installed here, as in a container",))


def test_libraries_of_two_versions_are_half_an_installation(rig: Rig) -> None:
    rig.host.write("/usr/lib/x86_64-linux-gnu/libcuda.so.590.48.01", "elf")
    rig.host.link("/usr/lib/x86_64-linux-gnu/libcuda.so.1", "libcuda.so.590.48.01")
    verdict = reboot_safe(rig.read())
    assert not verdict.holds
    assert verdict.reasons[0].startswith("the driver's libraries are of different versions: /usr/lib/x86_64-linux-gnu/")


LOADED = "NVRM version: NVIDIA UNIX {} for x86_64  {}  Release Build  (dvs-builder@U22)  Tue Sep\nGCC version: gcc 13\n"
OPEN, PROPRIETARY = "Open Kernel Module", "x86_64 Kernel Module"
MISMATCH = (
    "driver/library version mismatch: the kernel module that is loaded is 580.95.05, the driver's libraries are {}: "
)
INTO_NEW = f"reboot into {NEW}, which boots next and has {VERSION}"
INTO_OLD = f"reboot into {OLD}, which has {VERSION}, and does not boot next by itself"
NOWHERE = "no installed kernel has the driver's modules of that version, so a reboot alone does not mend it"


def nothing(_rig: Rig) -> None:
    pass


@pytest.mark.parametrize(
    ("kind", "version", "act", "reasons"),
    [
        (OPEN, VERSION, nothing, []),
        (OPEN, "580.95.05", nothing, [MISMATCH.format(VERSION) + INTO_NEW]),
        (OPEN, "580.95.05", lambda rig: rig.remove_modules(NEW), [MISMATCH.format(VERSION) + INTO_OLD]),
        (OPEN, "580.95.05", lambda rig: rig.install_libraries("590.48.01"), [MISMATCH.format("590.48.01") + NOWHERE]),
        (
            PROPRIETARY,
            VERSION,
            nothing,
            [f"the proprietary kernel modules are loaded, the open ones installed: {INTO_NEW}"],
        ),
        (
            *(None, "", lambda rig: rig.install_card("nouveau")),
            [f"the driver nouveau holds the card 0000:01:00.0: {INTO_NEW}"],
        ),
        (None, "", nothing, []),
        (None, "", lambda rig: rig.remove_modules(OLD), [f"{OLD}, which runs, has no working driver: {INTO_NEW}"]),
    ],
)
def test_reboot_needed(rig: Rig, kind: str | None, version: str, act: Act, reasons: list[str]) -> None:
    if kind is not None:
        rig.host.write("/proc/driver/nvidia/version", LOADED.format(kind, version))
    act(rig)
    verdict = reboot_needed(rig.read())
    assert list(verdict.reasons) == reasons
    assert verdict.holds is bool(reasons)


def test_modinfo_of_several_files() -> None:
    records = parse_modinfo(MODINFO)
    assert [len(fields) for fields in records.values()] == [12, 1, 3]
    nvidia = next(iter(records.values()))
    assert (nvidia["name"], nvidia["signer"]) == ("nvidia", "DKMS module signing key")
    assert nvidia["vermagic"] == "6.12.94+deb13-amd64 SMP preempt mod_unload modversions"
    assert nvidia["firmware"] == "nvidia/550.163.01/gsp_tu10x.bin"


def test_modprobe_configuration() -> None:
    loading = parse_modprobe(DEBIANS_CONFIGURATION)
    assert loading.files == {
        "nvidia": "nvidia_current_open",
        "nvidia_modeset": "nvidia_current_open_modeset",
        "nvidia_drm": "nvidia_current_open_drm",
        "nvidia_uvm": "nvidia_current_open_uvm",
    }
    assert loading.off == {}


@pytest.mark.parametrize(
    ("line", "file", "off"),
    [
        ("install nvidia /sbin/modprobe --ignore-install nvidia $CMDLINE_OPTS && /usr/bin/tune", "nvidia", None),
        ("install nvidia /bin/true", None, "/bin/true"),
        ("install nvidia /usr/bin/false", None, "/usr/bin/false"),
        ("install nvidia true", None, "true"),
        ("install nvidia /usr/local/bin/own-loader", None, None),
        ("alias nvidia off", None, "off"),
        ("blacklist nvidia", None, None),  # modprobe takes it by name all the same
        ("install nvidia_fs /bin/false", None, None),
    ],
)
def test_line_of_modprobe_configuration(line: str, file: str | None, off: str | None) -> None:
    loading = parse_modprobe(f"{line}\n")
    assert (loading.files.get("nvidia"), loading.off.get("nvidia")) == (file, off)


def test_kernels_and_what_is_half_there(host: Host) -> None:
    host.write_all({"/boot/vmlinuz-6.8.0-9-generic": "", "/lib/modules/6.8.0-9-generic/modules.dep": ""})
    host.write_all({"/boot/vmlinuz-6.8.0-100-generic": "", "/lib/modules/6.1.0-40-amd64/updates/dkms/nvidia.ko": ""})
    host.write("/boot/vmlinuz.old", "")
    assert [(each.release, each.missing) for each in find_kernels(host.root)] == [
        ("6.1.0-40-amd64", ("/boot/vmlinuz-6.1.0-40-amd64",)),
        ("6.8.0-9-generic", ()),
        ("6.8.0-100-generic", ("/lib/modules/6.8.0-100-generic",)),
    ]


def test_a_link_to_headers_that_are_gone_is_none(rig: Rig) -> None:
    assert has_headers(rig.host.root, NEW)
    remove_headers(rig)
    assert not has_headers(rig.host.root, NEW)


def test_libraries_behind_debians_alternatives(host: Host) -> None:
    folder = "/usr/lib/x86_64-linux-gnu"
    host.link(f"{folder}/libnvidia-ml.so.1", "/etc/alternatives/nvidia--libnvidia-ml.so.1-x86_64-linux-gnu")
    host.link(
        "/etc/alternatives/nvidia--libnvidia-ml.so.1-x86_64-linux-gnu", f"{folder}/nvidia/current/libnvidia-ml.so.1"
    )
    host.link(f"{folder}/nvidia/current/libnvidia-ml.so.1", "libnvidia-ml.so.550.163.01")
    assert find_libraries(host.root).versions == {}
    host.write(f"{folder}/nvidia/current/libnvidia-ml.so.550.163.01", "elf")
    assert find_libraries(host.root).versions == {f"{folder}/libnvidia-ml.so.1": "550.163.01"}
    assert find_libraries(host.root).version == "550.163.01"


def test_links_in_a_circle_lead_nowhere(host: Host) -> None:
    host.link("/usr/lib/x86_64-linux-gnu/libcuda.so.1", "libcuda.so.595.71.05")
    host.link("/usr/lib/x86_64-linux-gnu/libcuda.so.595.71.05", "libcuda.so.1")
    assert find_libraries(host.root).versions == {}
