"""Makes the images of the test hosts: `images.py [NAME…]`, all of them without a name.

An image is made once and kept until its recipe changes: its tag is a hash of all files that go into it.
Where a container registry answers, an image stands on the distribution's official one. Where none does,
it stands on a Debian 13 made here by mmdebstrap; the Ubuntu one is then a simulated twin, and says so.
Standard output is a JSON object: the tag of each image.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import docker
import yaml
from docker.errors import APIError, BuildError
from docker.models.images import Image
from requests.exceptions import RequestException

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "test_hosts"
RECIPE = ("debian-rootfs", "image", "images.py", "prefetch.yml", "repository")
SECONDS_WITHOUT_A_WORD_FROM_A_REGISTRY = 15
SECONDS_IN_A_WEEK = 7 * 24 * 60 * 60


@dataclass(frozen=True)
class Base:
    official: str
    look_of_stand_in: str


IMAGES = {
    "debian13": Base(official="debian:13", look_of_stand_in="host"),
    "ubuntu2404": Base(official="ubuntu:24.04", look_of_stand_in="twin"),
}


def say(text: str) -> None:
    print(f"images: {text}", file=sys.stderr, flush=True)


def recipe(names: Iterable[str] = RECIPE) -> bytes:
    """All files that go into an image, as a tar archive that is the same in every checkout."""

    def normalised(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if "__pycache__" in entry.name:
            return None
        entry.mtime = entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            archive.add(HERE / name, name, filter=normalised)
    return buffer.getvalue()


def tag(name: str, content: bytes) -> str:
    return f"mlrig-test-host/{name}:{hashlib.sha256(content).hexdigest()[:12]}"


class Workshop:
    def __init__(self) -> None:
        self.client = docker.from_env(timeout=600)

    def has(self, image: str) -> bool:
        return bool(self.client.images.list(name=image))

    def forget_older(self, image: str) -> None:
        """Removes the tags of other recipes, except recent ones, which another checkout may need, and those in use."""
        for other in self.client.api.images(name=image.partition(":")[0]):
            if time.time() - other["Created"] < SECONDS_IN_A_WEEK:
                continue
            for old in set(other["RepoTags"]) - {image}:
                try:
                    self.client.images.remove(old)
                except APIError:
                    say(f"{old} is still in use and stays")

    def forget_stages(self) -> None:
        """Removes what the builds made on the way: the image in which the package repositories were built."""
        self.client.images.prune({"dangling": True, "label": "mlrig.test-host=repository"})

    def official(self, image: str) -> Image | None:
        try:
            return docker.from_env(timeout=SECONDS_WITHOUT_A_WORD_FROM_A_REGISTRY).images.pull(image)
        except (APIError, RequestException):
            return None

    def stand_in(self) -> str:
        image = tag("debian-rootfs", (HERE / "debian-rootfs").read_bytes())
        if not self.has(image):
            say("making a Debian 13 with mmdebstrap, as no registry answers")
            command = [HERE / "debian-rootfs", CACHE / "debian-rootfs"]
            archive = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            repository, version = image.split(":")
            self.client.api.import_image_from_data(archive, repository=repository, tag=version)
            self.forget_older(image)
        return image

    def make(self, name: str) -> str:
        context = recipe()
        image = tag(name, context)
        if self.has(image):
            return image
        started = time.monotonic()
        base = IMAGES[name]
        if self.official(base.official):
            arguments = {"BASE": base.official, "LOOK": "host"}
        else:
            arguments = {"BASE": self.stand_in(), "LOOK": base.look_of_stand_in}
        say(f"building {image} from {arguments['BASE']}, dressed as {arguments['LOOK']}")

        prefetch = yaml.safe_load((HERE / "prefetch.yml").read_text(encoding="utf-8"))
        arguments["PREFETCH"] = " ".join(prefetch["all"] + prefetch[name])
        try:
            self.client.images.build(
                fileobj=io.BytesIO(context),
                custom_context=True,
                dockerfile="image/Dockerfile",
                buildargs=arguments,
                tag=image,
                rm=True,
                forcerm=True,
            )
        except BuildError as error:
            log = "".join(part.get("stream", "") for part in error.build_log)
            raise SystemExit(f"{log[-4000:]}\nimages: building {image} failed: {error}") from error
        self.forget_older(image)
        say(f"{image} is ready after {time.monotonic() - started:.0f} s")
        return image


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the images of the test hosts.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(IMAGES)}; all by default")
    names = parser.parse_args().names or list(IMAGES)
    if unknown := set(names) - set(IMAGES):
        parser.error(f"no such image: {', '.join(sorted(unknown))}; there are {', '.join(IMAGES)}")

    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        workshop = Workshop()
        print(json.dumps({name: workshop.make(name) for name in names}))
        workshop.forget_stages()


if __name__ == "__main__":
    main()
