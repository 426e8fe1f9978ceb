# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sysctl keys and sysfs attributes: live values, and the two files from which the next boot sets them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ._boot_configuration import (
    BootConfiguration,
    is_glob,
    parse_sysctl,
    parse_tmpfiles,
    path_matches,
    precedence,
    read_sysctl,
    read_tmpfiles,
    render_tmpfiles,
    sysctl_key,
    sysctl_path,
)
from ._files import read_if_there, refuse_if_unwritable, replace
from ._kernel_attributes import KernelAttributes, same_value
from ._settings import InputError, Settings, SettingsError
from ._tunable_request import Tunable

SYSCTL_FILE = "/etc/sysctl.d/99-mlrig.conf"
TMPFILES_FILE = "/etc/tmpfiles.d/mlrig.conf"
_HEADER = "# Managed by mlrig.workstation (kernel_tunables): what is edited here is undone by its next run.\n"


@dataclass(frozen=True)
class Request:
    """What a host should have.

    tunables: as made by L(_tunable_request.parse_tunables).
    purge: remove what the two files hold beyond the tunables.
    live: compare and set the running kernel too, not only the next boot.
    Of several names for one attribute that wins which L(_boot_configuration.precedence) sorts last, live as at boot.
    """

    tunables: Sequence[Tunable]
    purge: bool = False
    live: bool = True
    sysctl_file: str = SYSCTL_FILE
    tmpfiles_file: str = TMPFILES_FILE


@dataclass(frozen=True)
class _OwnedFile:
    """One of the two files: how it is read, written, and what decides the next boot when it has a given text."""

    path: str
    parse: Callable[[str], dict[str, str]]
    render: Callable[[str, str], str]
    boot: Callable[[Path, Mapping[str, str | None]], BootConfiguration]

    def text(self, values: Mapping[str, str]) -> str | None:
        lines = [self.render(key, values[key]) for key in sorted(values, key=precedence)]
        return _HEADER + "".join(lines) if lines else None


@dataclass
class TunablesPlan:
    """The comparison of one request with one host, and the writes that would mend it."""

    settings: Settings
    live: list[tuple[str, str]] = field(default_factory=list)
    files: dict[Path, str | None] = field(default_factory=dict)
    attributes: KernelAttributes = field(default_factory=KernelAttributes)

    def apply(self) -> None:
        """The running kernel first: what it refuses must not be persisted."""
        refusals: list[str] = []
        for path, value in self.live:
            try:
                self.attributes.write(path, value)
            except SettingsError as refusal:
                refusals.append(str(refusal))
        if refusals:
            raise SettingsError("; ".join(refusals))
        for file, text in self.files.items():
            replace(file, text)


def make_plan(request: Request, attributes: KernelAttributes) -> TunablesPlan:
    """Read everything, compare, and say what to do. Changes nothing.

    Raises SettingsError, naming every one of them, for tunables that this kernel does not have.
    """
    _check_folder("sysctl_file", request.sysctl_file, "/etc/sysctl.d")
    _check_folder("tmpfiles_file", request.tmpfiles_file, "/etc/tmpfiles.d")
    plan = TunablesPlan(Settings(), attributes=attributes)
    matches = _find_all(request.tunables, attributes)
    sysctl = _OwnedFile(request.sysctl_file, _parse_sysctl, lambda key, value: f"{key} = {value}\n", read_sysctl)
    tmpfiles = _OwnedFile(request.tmpfiles_file, _parse_tmpfiles, render_tmpfiles, read_tmpfiles)
    decided: dict[str, list[str]] = {}
    for file, tunables in (
        (sysctl, [tunable for tunable in request.tunables if tunable.is_sysctl]),
        (tmpfiles, [tunable for tunable in request.tunables if not tunable.is_sysctl]),
    ):
        decided |= _compare_persisted(plan, file, tunables, matches, purge=request.purge)
    if request.live:
        for tunable in request.tunables:
            _compare_live(plan, tunable, decided[tunable.key], missing=not matches[tunable.key])
    return plan


def _check_folder(option: str, file: str, folder: str) -> None:
    """Elsewhere systemd would not read the file, or others would own it."""
    path = Path(file)
    if str(path.parent) != folder or path.suffix != ".conf" or path.name.startswith("."):
        raise InputError(option, f"must be a .conf file in {folder}", file)


def _find_all(tunables: Iterable[Tunable], attributes: KernelAttributes) -> dict[str, list[str]]:
    """The existing paths of each tunable, by key; only a glob and what is not required may have none."""
    matches = {tunable.key: attributes.find(tunable.path) for tunable in tunables}
    unknown = [
        f"{tunable.where} {attributes.explain_missing(tunable.path)}; got: {tunable.name!r}"
        for tunable in tunables
        if tunable.value is not None and tunable.required and not is_glob(tunable.path) and not matches[tunable.key]
    ]
    if unknown:
        raise SettingsError("; ".join(unknown))
    return matches


def _compare_persisted(
    plan: TunablesPlan, file: _OwnedFile, tunables: Sequence[Tunable], matches: Mapping[str, list[str]], *, purge: bool
) -> dict[str, list[str]]:
    """Returns which of its matches each tunable decides, by key: not those with a more particular name in the file."""
    found_text = read_if_there(plan.attributes.on_host(file.path))
    found = file.parse(found_text or "")
    wanted = {} if purge else dict(found)
    for tunable in tunables:
        wanted.pop(tunable.key, None)
        if tunable.value is not None:
            wanted[tunable.key] = tunable.value
    text = file.text(wanted)
    patterns = sorted(map(_path, wanted), key=precedence)
    decided = {
        tunable.key: [
            path
            for path in matches[tunable.key]
            if tunable.path == next((name for name in reversed(patterns) if path_matches(path, name)), None)
        ]
        for tunable in tunables
    }
    boot = file.boot(plan.attributes.root, {file.path: text})

    for tunable in tunables:
        expected, actual = tunable.value, found.get(tunable.key)
        paths = decided[tunable.key] if matches[tunable.key] else [tunable.path]
        overriding = None if expected is None else _overriding(boot, file.path, expected, paths)
        if overriding is not None:
            plan.settings.warnings.append(f"{tunable.name}: {overriding}")
        if overriding is not None and expected == actual:
            plan.settings.skip(tunable.key, "persisted", expected, actual, overriding)
        else:
            plan.settings.compare(tunable.key, "persisted", expected, actual, reason=overriding)
    for key in sorted(found.keys() - wanted.keys() - {tunable.key for tunable in tunables}):
        plan.settings.compare(key, "persisted", None, found[key])
    if found_text != text:
        refuse_if_unwritable(plan.attributes.on_host(file.path))
        plan.files[plan.attributes.on_host(file.path)] = text
        if found == wanted:
            plan.settings.compare(file.path, "persisted", "as generated", "edited by hand")
    return decided


def _overriding(boot: BootConfiguration, own_file: str, value: str, paths: Iterable[str]) -> str | None:
    """Says which line of which other file gives one of these paths another value at the next boot, if any does."""
    for path in paths:
        deciding = boot.deciding(path)
        if deciding is None:
            continue
        if deciding.value is None:
            return f"{deciding.origin} keeps {path} from being set at boot, against {own_file}"
        if not same_value(path, value, deciding.value):
            return f"{deciding.origin} sets {path} to {deciding.value!r} at boot and overrides {own_file}"
    return None


def _compare_live(plan: TunablesPlan, tunable: Tunable, paths: Iterable[str], *, missing: bool) -> None:
    value = tunable.value
    if value is None:
        return  # what the kernel had before is not known; its own default is back after a reboot
    if missing:
        plan.settings.skip(tunable.key, "live", value, None, f"this host has no {tunable.path}")
    for path in paths:
        name = sysctl_key(path) if tunable.is_sysctl else path
        actual = plan.attributes.read(path)
        if same_value(path, value, actual):
            plan.settings.compare(name, "live", value, value)
            continue
        obstacle = plan.attributes.read_only_reason(path)
        if obstacle is not None:
            plan.settings.skip(name, "live", value, actual, obstacle)
        else:
            plan.settings.compare(name, "live", value, actual)
            plan.live.append((path, value))


def _parse_sysctl(text: str) -> dict[str, str]:
    values = {sysctl_key(sysctl_path(key)): value for _line, key, value in parse_sysctl(text)}
    return {key: value for key, value in values.items() if value is not None}


def _parse_tmpfiles(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for _line, _appends, path, value in parse_tmpfiles(text):
        values.setdefault(path, value)
    return values


def _path(key: str) -> str:
    return key if key.startswith("/sys/") else sysctl_path(key)
