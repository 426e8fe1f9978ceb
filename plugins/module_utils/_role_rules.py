# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an argument specification cannot express about a role's variable. Each rule raises InputError."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ._apt_source_request import check_address, check_proxy, parse_fingerprints
from ._cmdline_request import parse_cmdline_values
from ._data_disk_request import parse_data_disks
from ._docker_request import check_gpus, check_users, parse_daemon_settings
from ._driver_branches import parse_branch
from ._driver_table import parse_table
from ._gpu_request import parse_cards, parse_entries
from ._mount_request import parse_mounts, parse_place
from ._nvme_queues import check_read_ahead
from ._settings import InputError
from ._snapper_request import parse_settings
from ._swap_request import check_priority, parse_size, parse_swap_path
from ._tunable_request import parse_values
from ._uv_request import parse_environment, parse_projects, parse_python
from ._uv_tools_request import check_index, parse_tool_list, parse_tools_environment

_TRANSPARENT_HUGEPAGE = "/sys/kernel/mm/transparent_hugepage/enabled"
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+]")  # apt would remove what is named with a dash at its end
_PACKAGE_RULE = "must be the name of a package, without version or architecture"


def _check_packages(packages: Sequence[str], where: str) -> None:
    for position, package in enumerate(packages):
        if not _PACKAGE.fullmatch(str(package)):
            raise InputError(f"{where}[{position}]", _PACKAGE_RULE, package)


def _check_patterns(patterns: Sequence[str], where: str) -> None:
    """Each is written between double quotes into a file of apt, which could read none of its files with a wrong one."""
    for position, pattern in enumerate(patterns):
        here = f"{where}[{position}]"
        if not str(pattern).isprintable() or '"' in str(pattern):
            raise InputError(here, "must be printable text without double quotes", pattern)
        try:
            re.compile(str(pattern))
        except re.error as error:
            raise InputError(here, f"must be a Python regular expression ({error})", pattern) from error


def _check_sysctl(values: Mapping[str, Any], where: str) -> None:
    for name in values:
        if str(name).startswith("/"):
            rule = "must be a sysctl key such as vm.swappiness (paths below /sys belong in kernel_tuning_sysfs)"
            raise InputError(f"{where}[{name!r}]", rule, name)
    parse_values(values, where)


def _check_sysfs(values: Mapping[str, Any], where: str) -> None:
    for name in values:
        if not str(name).startswith("/sys/"):
            rule = "must be a path below /sys (sysctl keys belong in kernel_tuning_sysctl)"
            raise InputError(f"{where}[{name!r}]", rule, name)
    parse_values(values, where)
    if _TRANSPARENT_HUGEPAGE in values:
        rule = "has a variable of its own, kernel_tuning_transparent_hugepage"
        raise InputError(f"{where}[{_TRANSPARENT_HUGEPAGE!r}]", rule, values[_TRANSPARENT_HUGEPAGE])


def _check_repository(address: str, where: str) -> None:
    if address:
        check_address(address, where)


def _check_repository_key(key: str, where: str) -> None:
    """An address, or a path on the host."""
    if key and not key.startswith("/"):
        check_address(key, where)


def _check_repository_proxy(proxy: str, where: str) -> None:
    if proxy:
        check_proxy(proxy, where)


def _check_cmdline(values: Mapping[str, Any], where: str) -> None:
    parse_cmdline_values(values, where)
    if values.get("transparent_hugepage") is not None:
        rule = "has a variable of its own, kernel_tuning_transparent_hugepage (null here leaves out the token alone)"
        raise InputError(f"{where}['transparent_hugepage']", rule, values["transparent_hugepage"])


def _check_projects(projects: Sequence[Mapping[str, Any]], where: str) -> None:
    """Who logs in is not known here; somebody does. An owner that is null would keep that one from being taken."""
    for position, project in enumerate(projects):
        if project.get("owner", "login") is None:
            raise InputError(f"{where}[{position}].owner", "must be the name of a user", None)
    parse_projects([{"owner": "login", **project} for project in projects], {}, where)


def _check_environment(variables: Mapping[str, Any], where: str) -> None:
    """It is for projects and for tools."""
    parse_environment(variables, where)
    parse_tools_environment(variables, where)


def _check_python(python: str, where: str) -> None:
    if python:
        parse_python(python, where)


def _check_cache(path: str, where: str) -> None:
    if path:
        parse_place(path, where)


RULES: Mapping[str, Callable[[Any, str], object]] = {
    "base_packages": _check_packages,
    "base_packages_defaults": _check_packages,
    "base_unattended_upgrades_blacklist": _check_patterns,
    "containers_daemon": parse_daemon_settings,
    "containers_daemon_defaults": parse_daemon_settings,
    "containers_gpus": check_gpus,
    "containers_repository": _check_repository,
    "containers_repository_fingerprints": parse_fingerprints,
    "containers_repository_key": _check_repository_key,
    "containers_repository_proxy": _check_repository_proxy,
    "containers_users": check_users,
    "gpu_tuning_cards": parse_cards,
    "gpu_tuning_gpus": parse_entries,
    "kernel_tuning_cmdline": _check_cmdline,
    "kernel_tuning_cmdline_defaults": parse_cmdline_values,
    "kernel_tuning_sysctl": _check_sysctl,
    "kernel_tuning_sysctl_defaults": _check_sysctl,
    "kernel_tuning_sysfs": _check_sysfs,
    "ml_env_environment": _check_environment,
    "ml_env_huggingface_cache": _check_cache,
    "ml_env_index": check_index,
    "ml_env_projects": _check_projects,
    "ml_env_python": _check_python,
    "ml_env_python_mirror": check_index,
    "ml_env_tools": parse_tool_list,
    "ml_env_torch_index": check_index,
    "ml_env_uv_cache": _check_cache,
    "nvidia_driver_branch": parse_branch,
    "nvidia_driver_branches": parse_table,
    "nvidia_driver_repository": _check_repository,
    "nvidia_driver_repository_fingerprints": parse_fingerprints,
    "nvidia_driver_repository_key": _check_repository_key,
    "nvidia_driver_repository_proxy": _check_repository_proxy,
    "storage_data_disks": parse_data_disks,
    "storage_mount_options": parse_mounts,
    "storage_nvme_read_ahead_kb": check_read_ahead,
    "storage_swap_file_path": parse_swap_path,
    "storage_swap_file_priority": check_priority,
    "storage_swap_file_size": parse_size,
    "snapshots_settings": parse_settings,
    "snapshots_settings_defaults": parse_settings,
}
