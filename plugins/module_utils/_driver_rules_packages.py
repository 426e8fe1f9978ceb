# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals because of packages: what is installed, or broken, or held, or cannot be had."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ._dpkg import Package
from ._driver_situation import Situation, listed, purge
from ._foreign_drivers import Repository
from ._guarded_packages import is_guarded

Found = Iterator[tuple[str, str]]
# cuda, cuda-13-0, cuda-runtime-13-0, cuda-demo-suite-13-0 depend on cuda-drivers; cuda-toolkit-13-0 does not.
_CUDA = re.compile(r"cuda(-runtime|-demo-suite)?(-\d+-\d+|-\d+)?")
_CUDA_TOOLKIT = re.compile(r"cuda-toolkit-\d+-\d+")


def runfile(it: Situation) -> Found:
    found = it.host.runfile
    if found is None:
        return
    version = found.version or "of an unknown version"
    name = f"NVIDIA-Linux-x86_64-{found.version or 'VERSION'}.run"
    command = f"sudo {found.uninstaller} --silent" if found.uninstaller else f"sudo sh {name} --uninstall --silent"
    yield (
        (
            f"a driver {version} from a .run file is installed ({found.evidence} is of no package), and packages would "
            "mix with its files"
        ),
        f"{command}; then run this again",
    )


def mixed_sources(it: Situation) -> Found:
    installed = it.host.installed
    if len(installed.origins) < 2:
        return
    wanted = it.request.source
    others = [each.name for each in installed.packages if each.origin != wanted]
    parts = (
        f"{origin}: {listed([each.name for each in installed.packages if each.origin == origin], 3)}"
        for origin in installed.origins
    )
    yield (
        f"packages of several sources are mixed ({'; '.join(parts)}), and their files and versions do not fit together",
        f"{purge(others)}; then run this again, which installs what is missing from nvidia_driver_source {wanted!r}",
    )


def other_source(it: Situation) -> Found:
    source = it.host.installed.source
    if source in (None, "mixed", it.request.source):
        return
    names = it.host.installed.names
    keep = "" if source == "ppa" else f', or keep it: nvidia_driver_source: "{source}"'
    leave = "; sudo add-apt-repository --yes --remove ppa:graphics-drivers/ppa" if source == "ppa" else ""
    yield (
        (
            f"the driver {it.host.installed.version or ''} is installed from the source {source}, and "
            f"nvidia_driver_source is {it.request.source!r}: their packages do not replace each other"
        ),
        f"{purge(names)}{leave}; then run this again{keep}",
    )


def server_series(it: Situation) -> Found:
    names = it.host.installed.server_series
    if names and it.host.installed.source == it.request.source:
        yield (
            (
                f"the driver is of Canonical's server series ({listed(names, 3)}), which this role does not manage, "
                "and which excludes the ordinary one"
            ),
            f"{purge(names)}; then run this again. Or leave out the role nvidia_driver, and keep the server series",
        )


def cuda_drivers(it: Situation) -> Found:
    """Metapackages that bind CUDA to a branch. What they have brought of the toolkit shall stay."""
    metapackages = it.host.installed.cuda_drivers
    other = [each.name for each in metapackages if it.choice is None or each.branch != it.choice.branch]
    present = [name for name, each in it.host.packages.items() if each.present]
    above = [name for name in present if _CUDA.fullmatch(name)]
    if not other or (it.state == "absent" and not above):
        return
    toolkits = [name for name in present if _CUDA_TOOLKIT.fullmatch(name)]
    keep = f"sudo apt-mark manual {' '.join(toolkits)}; " if toolkits else ""
    want = f"not {it.choice.branch}" if it.choice else "and shall go"
    yield (
        f"{listed([*above, *other])} ask for the driver {metapackages[0].branch}, {want}",
        f"{keep}sudo apt-get remove {' '.join([*above, *other])}; then run this again (the CUDA toolkit stays)",
    )


def held(it: Situation) -> Found:
    wanted = {*it.kernel_packages.names, *it.remove, *(it.choice.driver if it.choice else ())}
    driver = {*it.host.installed.names, *it.host.installed.pins}
    names = [name for name in it.host.held if name in wanted | driver]
    if names:
        yield (
            f"on hold, and in the way: {listed(names)}",
            f"sudo apt-mark unhold {' '.join(names)}; then run this again (this role freezes the driver by itself)",
        )


def not_obtainable(it: Situation) -> Found:
    broken = [each for each in it.host.unfinished if each.must_be_unpacked]
    lost = [each.name for each in broken if it.lists_known and it.candidates.get(each.name) is None]
    if lost:
        yield (
            f"half-installed, and no apt source has it: {listed(lost)}; apt refuses all work until it is gone",
            f"sudo dpkg --remove --force-remove-reinstreq {' '.join(lost)}; sudo apt-get --fix-broken install",
        )


def not_configured(it: Situation) -> Found:
    # What was cut off is finished by the run itself; what failed would fail again.
    failed = [each.name for each in it.host.unfinished if _failed(it, each) and not is_guarded(each.name)]
    if failed:
        yield (
            f"dpkg could not configure {listed(failed)}, and apt would stop there again",
            f"sudo dpkg --configure --pending (it says why); mend that, or: {purge(failed)}",
        )


def module_not_built(it: Situation) -> Found:
    """A failed build leaves the driver's package, and those of kernels, unconfigured, until its cause is mended."""
    failed = [each.name for each in it.host.unfinished if _failed(it, each) and is_guarded(each.name)]
    installed = it.host.installed
    same = it.choice is not None and it.choice.branch == installed.branch and it.choice.flavour == installed.flavour
    if not same or not any(name in failed for name in installed.modules):
        return
    for build in it.host.failed_builds:
        if build.would_fail_again and build.kernel in it.host.kernels:
            yield (
                (
                    f"dpkg could not configure {listed(failed)}, because the modules of "
                    f"{installed.version or installed.branch} cannot be built for kernel {build.kernel}: {build.error} "
                    f"({build.log})"
                ),
                (
                    "another nvidia_driver_branch, or a kernel less: "
                    f"sudo apt-get purge linux-image-{build.kernel} linux-headers-{build.kernel}; then run this again"
                ),
            )


def dkms_leftover(it: Situation) -> Found:
    if it.host.dkms_leftovers and not it.host.unfinished:
        commands = "; ".join(f"sudo dkms remove {each} --all" for each in it.host.dkms_leftovers)
        yield (
            (
                f"DKMS has {listed(it.host.dkms_leftovers)}, which is of no installed package, and would build it for "
                "every new kernel, over the driver's own modules"
            ),
            f"{commands}; then run this again",
        )


def foreign_repository(it: Situation) -> Found:
    wanted = it.host.distribution.lower().replace(" ", "").replace(".", "")
    for each in it.host.repositories:
        if each.kind == "nvidia" and each.distribution not in (wanted, None):
            yield (
                (
                    f"{each.file} names NVIDIA's repository of another distribution, {each.distribution}, and apt "
                    f"would take packages of it (this is {wanted})"
                ),
                f"{_disable(each)}; sudo apt-get update",
            )


def _disable(repository: Repository) -> str:
    if repository.file.endswith(".sources"):
        return f"sudo mv {repository.file} {repository.file}.disabled"
    return f"sudo sed --in-place '\\|/cuda/repos/{repository.distribution}/|s/^/# /' {repository.file}"


def no_candidate(it: Situation) -> Found:
    choice = it.choice
    if choice is None or choice.source == "nvidia" or not it.lists_known:
        return
    if all(map(it.host.has, choice.driver)) or it.candidates.get(choice.candidate) is not None:
        return
    remedies = {
        "ubuntu": (
            "sudo add-apt-repository --yes restricted; sudo add-apt-repository --yes multiverse; sudo apt-get update"
        ),
        "debian": (
            "add contrib, non-free and non-free-firmware to the components of Debian in "
            "/etc/apt/sources.list.d/debian.sources (Components:) or /etc/apt/sources.list; sudo apt-get update"
        ),
    }
    yield f"apt has no {choice.candidate}: its component is not enabled, or its lists are old", remedies[choice.source]


def _failed(it: Situation, package: Package) -> bool:
    return package.status == "half-configured" and not package.reinstall and not it.host.interrupted
