"""Makes an archive of what this image has downloaded, in place of the distribution's: `prefetched.py TARGET`.

Runs inside an image while that is built. apt reads all that it knows for each question: the 70,000 packages of Debian
take it a second and more, those that the tests install none. What a release says of itself, such as its origin, stays.
The distribution's own sources are kept in TARGET/sources.list.d, for who wants them back.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

DOWNLOADED = Path("/var/cache/apt/archives")
ETC = Path("/etc/apt")
RELEASE_FIELDS = ("Origin", "Label", "Suite", "Codename")
COLUMNS = ("RELEASE", "COMPONENT", "ARCHITECTURE", "FILENAME", "SITE", *map(str.upper, RELEASE_FIELDS))


def run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def published(index: str, pool: Path) -> str:
    """What an index says of the packages that are in the pool."""
    kept = []
    for paragraph in index.strip().split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Architecture): (.*)$", paragraph, re.MULTILINE))
        file = "{Package}_{Version}_{Architecture}.deb".format_map(fields).replace(":", "%3a")
        if (pool / file).exists():
            kept.append(re.sub(r"^Filename: .*$", f"Filename: pool/{file}", paragraph, flags=re.MULTILINE) + "\n\n")
    return "".join(kept)


def main(target: Path) -> None:
    pool = target / "pool"
    pool.mkdir(parents=True)
    for package in DOWNLOADED.glob("*.deb"):
        shutil.move(package, pool)

    layout = "\t".join(f"$({column})" for column in COLUMNS)
    now = format_datetime(datetime.now(UTC))
    releases: dict[str, dict[str, str]] = {}
    components: dict[str, str] = {}
    for line in run("apt-get", "indextargets", "--format", layout, "Created-By: Packages").splitlines():
        row = dict(zip(COLUMNS, line.split("\t"), strict=True))
        if not row["SITE"]:  # a simulated repository, which lies on the host
            continue
        name = f"{row['COMPONENT']}/binary-{row['ARCHITECTURE']}/Packages"
        file = target / "dists" / row["RELEASE"] / name
        file.parent.mkdir(parents=True)
        index = published(run("/usr/lib/apt/apt-helper", "cat-file", row["FILENAME"]), pool).encode()
        file.write_bytes(index)
        release = releases.setdefault(
            row["RELEASE"], {field: row[field.upper()] for field in RELEASE_FIELDS} | {"Date": now, "SHA256": ""}
        )
        release["SHA256"] += f"\n {hashlib.sha256(index).hexdigest()} {len(index)} {name}"
        components[row["COMPONENT"]] = ""
    for name, fields in releases.items():
        text = "".join(f"{field}: {value}\n" for field, value in fields.items())
        (target / "dists" / name / "Release").write_text(text)

    sources = target / "sources.list.d"
    sources.mkdir()
    for file in (ETC / "sources.list", *(ETC / "sources.list.d").iterdir()):
        if file.exists() and "://" in file.read_text():
            shutil.move(file, sources / ("distribution.list" if file.parent == ETC else file.name))
    (ETC / "sources.list.d/prefetched.sources").write_text(
        f"Types: deb\nURIs: file:{target}\nSuites: {' '.join(releases)}\nComponents: {' '.join(components)}\n"
        "Trusted: yes\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
