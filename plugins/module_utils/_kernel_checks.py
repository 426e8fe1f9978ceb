# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the driver's modules of one kernel, in words for the user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._dkms_status import DkmsBuild, find_failed_build
from ._kernel_modules import DRIVER_MODULES, Kernel, Loading, ModuleFile, has_headers, loaded_file
from ._trusted_keys import is_trusted


@dataclass(frozen=True)
class Demands:
    """What the modules of every kernel must fulfil.

    version: that of the libraries, None where it is not known. signed: whether unsigned modules are refused.
    key_owners: whose signatures are taken, None where that is not known. loading: modprobe's configuration.
    """

    version: str | None
    signed: bool
    key_owners: frozenset[str] | None
    loading: Loading


@dataclass(frozen=True)
class CheckedModule:
    """One of the driver's modules: the file that modprobe takes, if any, and what is wrong."""

    name: str
    file: ModuleFile | None
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        file = self.file
        return {
            "name": self.name,
            "file": file and file.file,
            "version": file and file.version,
            "flavour": file and file.flavour,
            "signer": file and file.signer,
            "problems": list(self.problems),
        }


@dataclass(frozen=True)
class CheckedKernel:
    """A kernel with its modules; problems holds all that keeps the driver from working in it, with the remedy."""

    kernel: Kernel
    headers: bool
    modules: tuple[CheckedModule, ...]
    dkms: tuple[DkmsBuild, ...]
    problems: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not self.problems

    @property
    def version(self) -> str | None:
        """The driver's version in this kernel."""
        return next((each.file.version for each in self.modules if each.file), None)

    @property
    def flavour(self) -> str | None:
        return next((each.file.flavour for each in self.modules if each.file), None)

    def as_dict(self) -> dict[str, Any]:
        return {
            "kernel": self.kernel.release,
            "complete": self.kernel.complete,
            "good": self.good,
            "problems": list(self.problems),
            "version": self.version,
            "flavour": self.flavour,
            "headers": self.headers,
            "modules": [each.as_dict() for each in self.modules],
            "dkms": [each.as_dict() for each in self.dkms],
        }


def check_kernel(
    root: Path, kernel: Kernel, files: Sequence[ModuleFile], builds: Sequence[DkmsBuild], demands: Demands
) -> CheckedKernel:
    """builds: all that DKMS has, for any kernel."""
    modules = tuple(_check_module(name, kernel, files, demands) for name in DRIVER_MODULES)
    headers = has_headers(root, kernel.release)
    problems = [f"{path} is missing" for path in kernel.missing]
    missing = [each.name for each in modules if each.file is None and _find_misnamed(each.name, files) is None]
    if missing:
        what = "no NVIDIA module" if len(missing) == len(modules) else f"no {', '.join(missing)}"
        problems.append(f"it has {what}: {_why_missing(root, kernel, builds, headers=headers)}")
    problems += _problems(modules)
    own = tuple(build for build in builds if build.kernel == kernel.release)
    return CheckedKernel(kernel, headers, modules, own, tuple(problems))


def _problems(modules: Sequence[CheckedModule]) -> list[str]:
    """Each once: what is wrong is mostly wrong with all modules."""
    names: dict[str, list[str]] = {}
    for module in modules:
        for problem in module.problems:
            names.setdefault(problem, []).append(module.name)
    return [
        f"{each[0]} {problem}" if len(each) == 1 else f"{', '.join(each)}: each {problem}"
        for problem, each in names.items()
    ]


def _check_module(name: str, kernel: Kernel, files: Sequence[ModuleFile], demands: Demands) -> CheckedModule:
    command = demands.loading.off.get(name)
    off = [] if command is None else [f"is switched off in modprobe's configuration ({command})"]
    file = loaded_file(name, files, demands.loading)
    if file is not None:
        return CheckedModule(name, file, (*off, *_wrong_with(file, kernel, demands)))
    if (misnamed := _find_misnamed(name, files)) is not None:
        wanted = demands.loading.files.get(name, name)
        off.append(f"is in {misnamed.file}, but modprobe's configuration makes it look for {wanted}")
    return CheckedModule(name, None, tuple(off))


def _find_misnamed(name: str, files: Sequence[ModuleFile]) -> ModuleFile | None:
    """A module that is there. Where modprobe does not find it, that is because of the file's name.

    Debian's packages tell modprobe of theirs by alternatives, which stay as they are until libcuda1 or a graphics
    library of NVIDIA's is installed too.
    """
    return next((each for each in files if each.name == name), None)


def _wrong_with(file: ModuleFile, kernel: Kernel, demands: Demands) -> Iterator[str]:
    if file.empty or not file.readable:
        yield "is empty" if file.empty else "is damaged: modinfo cannot read it"
        return
    if not file.indexed:
        yield f"is not found by modprobe: run depmod -a {kernel.release}"
    if demands.version not in (None, file.version):
        yield f"is of version {file.version}, and the driver's libraries are of {demands.version}"
    if file.built_for != kernel.release:
        yield f"was built for kernel {file.built_for}"
    if demands.signed and file.signer is None:
        yield "is not signed, and Secure Boot makes the kernel refuse it"
    elif demands.signed and not is_trusted(file.signer or "", demands.key_owners):
        yield (
            f"is signed with the key of {file.signer!r}, which is not enrolled, and Secure Boot makes the kernel refuse"
            " it: mokutil --import the certificate of that key, and enrol it at the console during the next boot"
        )


def _why_missing(root: Path, kernel: Kernel, builds: Sequence[DkmsBuild], *, headers: bool) -> str:
    sources = sorted({(build.module, build.version) for build in builds})
    if not sources:
        return f"DKMS has no driver to build, so install the package of prebuilt modules for {kernel.release}"
    reasons = [
        f"the source of {build.module}/{build.version}, in /usr/src, is gone"
        for build in builds
        if build.state == "broken"
    ]
    failures = [find_failed_build(root, *source, kernel.release) for source in sources]
    reasons += [str(failure) for failure in failures if failure is not None]
    if not headers:
        reasons.append(f"its headers are missing: install linux-headers-{kernel.release}")
    names = ", ".join("/".join(source) for source in sources)
    return "; ".join(reasons) or f"DKMS has {names}, and has not built it: run dkms autoinstall -k {kernel.release}"
