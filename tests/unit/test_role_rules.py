# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._role_rules import RULES
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError

HUGEPAGE = "/sys/kernel/mm/transparent_hugepage/enabled"
PACKAGE = "must be the name of a package, without version or architecture"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("base_packages", ["git", "libstdc++6", "g++", "gcc-14", "0ad", "python3.13"]),
        ("base_unattended_upgrades_blacklist", ["^docker-(ce|cli)$", r"libc6\b"]),
        (
            "kernel_tuning_cmdline",
            {"nosmt": "", "iommu": None, "isolcpus": "1-3,5", "loglevel": 3, "cloud-init": "disabled"},
        ),
        ("kernel_tuning_cmdline", {"transparent_hugepage": None}),
        ("kernel_tuning_cmdline_defaults", {"transparent_hugepage": "always", "pcie_aspm": "off"}),
        ("kernel_tuning_sysctl", {"vm.swappiness": 1, "vm.max_map_count": None}),
        ("kernel_tuning_sysctl_defaults", {"net/ipv4/conf/eth0.7/arp_notify": 1, "net.ipv4.conf.*.rp_filter": 1}),
        ("storage_mount_options", [{"path": "all", "options": "noatime"}, {"path": "/", "options": "a,b=c"}]),
        ("storage_data_disks", [{"id": "nvme-x", "path": "/data"}]),
        ("storage_nvme_read_ahead_kb", 2048),
        ("storage_swap_file_path", "/swap.img"),
        ("storage_swap_file_size", "0"),
        ("storage_swap_file_priority", 0),
        ("kernel_tuning_sysfs", {"/sys/block/nvme*/queue/scheduler": "none", "/sys/a/b": None}),
        ("nvidia_driver_branch", ">=590"),
        ("nvidia_driver_branch", 595),
        ("nvidia_driver_repository", ""),
        ("nvidia_driver_repository", "http://mirror.example/cuda/ubuntu2404/x86_64/"),
        ("nvidia_driver_repository_key", ""),
        ("nvidia_driver_repository_key", "/root/nvidia.asc"),
        ("nvidia_driver_repository_key", "https://mirror.example/key"),
        ("nvidia_driver_repository_fingerprints", ["EB69 3B30 35CD 5710 E231  E123 A4B4 6996 3BF8 63CC"]),
        ("nvidia_driver_repository_proxy", ""),
        ("nvidia_driver_repository_proxy", "http://proxy.example:3128"),
        ("containers_daemon", {"live-restore": None, "log-opts": {"max-size": "5m"}, "default-runtime": "nvidia"}),
        ("containers_daemon_defaults", {}),
        ("containers_gpus", ["GPU-8d1c3f5a-0b2e-4c6d-9e8f-7a6b5c4d3e2f"]),
        ("containers_repository", "https://mirror.example/libnvidia-container/"),
        ("containers_repository_key", "/root/toolkit.asc"),
        ("containers_repository_fingerprints", []),
        ("containers_repository_proxy", "DIRECT"),
        ("containers_users", ["rig", "_svc-1"]),
        ("ml_env_environment", {"SSL_CERT_FILE": "/etc/ssl/own.crt"}),
        ("ml_env_huggingface_cache", ""),
        ("ml_env_index", "https://mirror.example/simple"),
        ("ml_env_projects", [{"path": "~/x"}, {"path": "~/x", "owner": "ada"}, {"path": "/srv/x", "extras": ["y"]}]),
        ("ml_env_python", ""),
        ("ml_env_python", "3.12"),
        ("ml_env_python_mirror", ""),
        ("ml_env_tools", [{"name": "nvitop", "version": "1.7.2"}]),
        ("ml_env_torch_index", "https://mirror.example/whl/cu128"),
        ("ml_env_uv_cache", "/data/cache"),
        ("snapshots_settings", {"TIMELINE_CREATE": True, "NUMBER_LIMIT": None}),
        ("snapshots_settings_defaults", {"NUMBER_LIMIT": "4-20", "FREE_LIMIT": 0.1}),
    ],
)
def test_right_values_pass(variable: str, value: object) -> None:
    RULES[variable](value, variable)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "containers_daemon",
            {"log driver": "local"},
            "containers_daemon['log driver'] must be a key of daemon.json, such as log-driver; got: 'log driver'",
        ),
        (
            "containers_gpus",
            ["0"],
            "containers_gpus[0] must be a GPU's UUID, as nvidia-smi --list-gpus tells it; got: '0'",
        ),
        ("containers_users", ["rig", "--help"], "containers_users[1] must be the name of a user; got: '--help'"),
        ("containers_repository", "mirror", "containers_repository must be"),
        ("ml_env_environment", {"HOME": "/x"}, "ml_env_environment['HOME'] must not be set, as it follows from owner"),
        ("ml_env_huggingface_cache", "cache", "ml_env_huggingface_cache must be an absolute path; got: 'cache'"),
        ("ml_env_index", "mirror", "ml_env_index must be an address, such as https://mirror.example/simple"),
        ("ml_env_projects", [{"path": "x"}], "ml_env_projects[0].path must be an absolute path; got: 'x'"),
        ("ml_env_projects", [{"path": "~/x", "owner": "A"}], "ml_env_projects[0].owner must be the name of a user"),
        (
            "ml_env_projects",
            [{"path": "/x", "owner": None}],
            "ml_env_projects[0].owner must be the name of a user; got",
        ),
        ("ml_env_projects", [{"path": "~/x"}, {"path": "~/x"}], "ml_env_projects[1].path must not repeat ml_env_proj"),
        ("ml_env_python", "3", 'ml_env_python must be a version in quotes, such as "3.12", or the path of an'),
        ("ml_env_python_mirror", "x", "ml_env_python_mirror must be an address"),
        ("ml_env_tools", [{"name": "a", "version": ">1"}], "ml_env_tools[0].version must be one exact version"),
        ("ml_env_uv_cache", "..", "ml_env_uv_cache must be an absolute path"),
        ("base_packages", ["git", "git tmux"], f"base_packages[1] {PACKAGE}; got: 'git tmux'"),
        ("base_packages", ["--purge"], f"base_packages[0] {PACKAGE}; got: '--purge'"),
        ("base_packages", ["tmux=3.5a-3"], f"base_packages[0] {PACKAGE}; got: 'tmux=3.5a-3'"),
        ("base_packages", ["libc6:i386"], f"base_packages[0] {PACKAGE}; got: 'libc6:i386'"),
        ("base_packages", ["tmux-"], f"base_packages[0] {PACKAGE}; got: 'tmux-'"),
        ("base_packages_defaults", [""], f"base_packages_defaults[0] {PACKAGE}; got: ''"),
        ("base_unattended_upgrades_blacklist", ["a", "b("], "[1] must be a Python regular expression (missing )"),
        ("base_unattended_upgrades_blacklist", ['a"; b'], "[0] must be printable text without double quotes"),
        ("base_unattended_upgrades_blacklist", ["a\nb"], "[0] must be printable text without double quotes"),
        ("kernel_tuning_cmdline", {"pcie_aspm": False}, "['pcie_aspm'] must not be a YAML boolean"),
        ("kernel_tuning_cmdline_defaults", {"iommu": 0.5}, "['iommu'] must be a whole number, text or null; got: 0.5"),
        (
            "kernel_tuning_cmdline",
            {"iommu=pt": ""},
            "['iommu=pt'] must be the name alone, with the value after the colon",
        ),
        ("kernel_tuning_cmdline", {"a": "b c"}, "['a'] must be one word of letters, digits and"),
        (
            "kernel_tuning_cmdline",
            {"root": "/dev/sda1"},
            "['root'] must not be one of BOOT_IMAGE, initrd, ro, root, rw",
        ),
        (
            "kernel_tuning_cmdline",
            {"a_b": 1, "a-b": None},
            "['a-b'] must not set what kernel_tuning_cmdline['a_b'] sets",
        ),
        (
            "kernel_tuning_cmdline",
            {"transparent_hugepage": "never"},
            "has a variable of its own, kernel_tuning_transparent_hugepage (null here leaves out the token alone)",
        ),
        ("storage_mount_options", [{"path": "/", "options": "a b"}], "storage_mount_options[0].options must be mount"),
        ("storage_data_disks", [{"id": "sda", "path": "/"}], "storage_data_disks[0].path must not be a folder of"),
        ("storage_nvme_read_ahead_kb", -1, "storage_nvme_read_ahead_kb must be a number of KB from 0 to 1048576"),
        ("storage_swap_file_path", "/dev/sda", "storage_swap_file_path must be a file on a disk of the system"),
        ("storage_swap_file_size", "16", "storage_swap_file_size must be 0, or a size with its unit"),
        ("storage_swap_file_priority", 40000, "storage_swap_file_priority must be a number from 0 to 32767"),
        (
            "snapshots_settings",
            {"NUMBER_LIMIT": "x"},
            "snapshots_settings['NUMBER_LIMIT'] must be a number of snapshots",
        ),
        ("snapshots_settings_defaults", {"FSTYPE": "xfs"}, "['FSTYPE'] must be a key of snapper-configs(5)"),
        ("kernel_tuning_sysfs", {HUGEPAGE: "never"}, "variable of its own, kernel_tuning_transparent_hugepage"),
        ("kernel_tuning_sysfs", {"vm.swappiness": 1}, "a path below /sys (sysctl keys belong in kernel_tuning_sysctl)"),
        ("kernel_tuning_sysfs", {"/sys/a/b": True}, "must not be a YAML boolean"),
        ("kernel_tuning_sysctl", {HUGEPAGE: "never"}, f"[{HUGEPAGE!r}] must be a sysctl key"),
        ("kernel_tuning_sysctl_defaults", {"/sys/a": None}, "(paths below /sys belong in kernel_tuning_sysfs)"),
        ("kernel_tuning_sysctl", {"/etc/passwd": 1}, "must be a sysctl key such as vm.swappiness"),
        ("kernel_tuning_sysctl", {"vm/swappiness": 1}, "must be spelled vm.swappiness"),
        ("kernel_tuning_sysctl", {"kernel.sysrq": True}, "must not be a YAML boolean"),
        ("nvidia_driver_branch", "newest", 'nvidia_driver_branch must be a branch such as "595"'),
        ("nvidia_driver_branches", [], "nvidia_driver_branches must be a list of branches"),
        ("nvidia_driver_repository", "mirror.example", "must be an address of http, https or file"),
        ("nvidia_driver_repository_key", "nvidia.asc", "must be an address of http, https or file"),
        ("nvidia_driver_repository_fingerprints", ["3BF863CC"], "[0] must be a whole fingerprint"),
        ("nvidia_driver_repository_proxy", "socks5://proxy", "must be an address of http or https, or DIRECT"),
    ],
)
def test_wrong_values_are_refused(variable: str, value: object, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        RULES[variable](value, variable)
    assert message in str(refusal.value)
