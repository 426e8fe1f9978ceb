"""Builds the simulated package repositories: `build.py TABLE TARGET`.

Runs inside an image while that is built: it needs dpkg-deb, apt-ftparchive, gpg and PyYAML.
How the table reads is said at its top.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
RELATIONS = ("depends", "recommends", "provides", "conflicts", "breaks", "replaces")

Row = dict[str, Any]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def filled(value: Any, variables: dict[str, str]) -> Any:
    """Puts the variables into every key and text of a value."""
    if isinstance(value, str):
        return value.format_map(variables)
    if isinstance(value, list):
        return [filled(item, variables) for item in value]
    if isinstance(value, dict):
        return {filled(key, variables): filled(item, variables) for key, item in value.items()}
    return value


def rows(groups: list[Row]) -> Iterator[Row]:
    """One row per package: what its group says, unless the package itself says otherwise."""
    for group in groups:
        common = {key: value for key, value in group.items() if key not in ("each", "packages")}
        for variables in group.get("each", [{}]):
            for name, own in group["packages"].items():
                row = common | own | {"name": name}
                version = filled(row["version"], variables)
                yield filled(row, variables | {"version": version})


def control(row: Row, architecture: str) -> str:
    fields = {
        "Package": row["name"],
        "Version": row["version"],
        "Architecture": row.get("architecture", architecture),
        "Section": row["section"],
        "Priority": "optional",
        "Maintainer": row.get("maintainer", "mlrig.workstation test hosts <nobody@localhost>"),
    }
    fields |= {relation.capitalize(): ", ".join(row[relation]) for relation in RELATIONS if relation in row}
    fields["Description"] = f"simulated: {row['description']}"
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def build_package(row: Row, pool: Path, architecture: str) -> None:
    pool.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        named = {f"/DEBIAN/{name}": file for name, file in row.get("scripts", {}).items()} | row.get("programs", {})
        scripts = {path: f"#!/usr/bin/python3\n{(HERE / file).read_text()}" for path, file in named.items()}
        files = {"/DEBIAN/control": control(row, architecture)} | scripts | row.get("files", {})
        if configuration := row.get("conffiles", [path for path in files if path.startswith("/etc/")]):
            files["/DEBIAN/conffiles"] = "".join(f"{path}\n" for path in configuration)
        for path, content in files.items():
            file = Path(folder) / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
            is_program = path in scripts or "/bin/" in path or "/init.d/" in path
            file.chmod(0o755 if is_program else 0o644)
        for path, target in row.get("links", {}).items():
            link = Path(folder) / path.lstrip("/")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
        Path(folder).chmod(0o755)
        # The same package in two repositories is the same to the byte, whenever it was built.
        run("env", "SOURCE_DATE_EPOCH=0", "dpkg-deb", "--root-owner-group", "-Znone", "--build", folder, pool)


@dataclass(frozen=True)
class Repository:
    root: Path
    fields: dict[str, str]
    architecture: str

    @property
    def suite(self) -> str | None:
        return self.fields.get("Suite")

    @property
    def pool(self) -> str:
        return f"pool/{self.suite}" if self.suite else "."

    def publish(self) -> None:
        """Writes the index and the signed Release."""
        release = self.root / (f"dists/{self.suite}" if self.suite else ".")
        index = release / (f"main/binary-{self.architecture}" if self.suite else ".") / "Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text(run("apt-ftparchive", "packages", self.pool, cwd=self.root), encoding="utf-8")

        fields = self.fields | {"Components": "main", "Architectures": self.architecture}
        options = [f"--option=APT::FTPArchive::Release::{name}={value}" for name, value in fields.items()]
        text = run("apt-ftparchive", *options, "release", ".", cwd=release)
        (release / "Release").write_text(text, encoding="utf-8")
        run("gpg", "--batch", "--clear-sign", "--output", release / "InRelease", release / "Release")


def main(table: Path, target: Path) -> None:
    document = yaml.safe_load(table.read_text(encoding="utf-8"))
    architecture = run("dpkg", "--print-architecture").strip()
    repositories = {
        name: Repository(target / fields["folder"], fields["release"], architecture)
        for name, fields in document["repositories"].items()
    }
    for row in rows(document["groups"]):
        for name in row["repositories"]:
            repository = repositories[name]
            build_package(row, repository.root / repository.pool, architecture)

    run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", "simulated repositories", "rsa3072", "sign")
    (target / "key.asc").write_text(run("gpg", "--armor", "--export"), encoding="utf-8")
    for repository in repositories.values():
        repository.publish()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
