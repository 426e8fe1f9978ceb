# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts about GPUs from the program nvidia-smi, for where NVML cannot be loaded."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable

from ._gpu_facts_shape import PEER_TO_PEER, Facts, Refusal, pairs
from ._gpu_facts_xml import ROOT, facts_from_xml
from ._settings import SettingsError


class NvidiaSmi:
    """nvidia-smi at a path; patience is how many seconds all answers together may take."""

    def __init__(self, path: str, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._deadline = time.monotonic() + patience

    def facts(self) -> Facts | Refusal:
        """The facts, or why the driver cannot be asked. Raises SettingsError for what is not understood."""
        status, output = self._run("-q", "-x")
        if f"<{ROOT}" not in output:
            said = " ".join(output.split()) or "nothing"
            versions_agree = False if "version mismatch" in said else None
            return Refusal(f"nvidia-smi -q -x (exit status {status}) says: {said}", versions_agree)
        facts = facts_from_xml(output)
        capabilities = self._compute_capabilities()
        for gpu in facts["gpus"]:
            gpu["compute_capability"] = capabilities.get(gpu["uuid"])
        facts["peer_to_peer"] = []
        count = len(facts["gpus"])
        if count > 1:
            facts["peer_to_peer"] = pairs(count, self._peer_to_peer("r"), self._peer_to_peer("w"))
        return facts

    def _compute_capabilities(self) -> dict[str, str]:
        """By UUID."""
        _status, output = self._run("--query-gpu=uuid,compute_cap", "--format=csv,noheader")
        return dict(re.findall(r"^(GPU-\S+), (\d+\.\d+)$", output, re.MULTILINE))

    def _peer_to_peer(self, direction: str) -> Callable[[int, int], str | None]:
        _status, output = self._run("topo", "-p2p", direction)
        table = peer_to_peer_table(output)
        return lambda one, other: table.get((one, other))

    def _run(self, *arguments: str) -> tuple[int, str]:
        """The exit status and what it said. A driver that hangs keeps nvidia-smi from ending: it is left behind."""
        # Complaints have a pipe of their own, because they would land in the middle of a document.
        process = subprocess.Popen(
            [self._path, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            output, complaints = process.communicate(timeout=max(0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            command = " ".join(["nvidia-smi", *arguments])
            raise SettingsError(
                f"the NVIDIA driver did not answer within {self._patience:g} s, while running {command}"
            ) from None
        return process.returncode, (complaints + output).decode(errors="replace")


def peer_to_peer_table(text: str) -> dict[tuple[int, int], str | None]:
    """The words by the numbers of two GPUs, from the matrix that `nvidia-smi topo -p2p` prints."""
    words = {abbreviation: word for word, abbreviation in PEER_TO_PEER.items()}
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    lines = [line.split() for line in plain.splitlines() if line.lstrip().startswith("GPU")]
    return {
        (int(row[3:]), int(column[3:])): words.get(cell)
        for row, *cells in lines[1:]
        for column, cell in zip(lines[0], cells, strict=False)
        if row[3:].isdecimal() and column[3:].isdecimal()
    }
