"""Resolves the tested set of roles/ml_env anew, from its ranges and its date, and writes what came out of it there.

    python tests/tools/tested_set.py           write roles/ml_env/vars/main/tested_set.yml
    python tests/tools/tested_set.py --check   whether that would change it

It takes the package index. What was resolved is tested by `make test-ml`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import jinja2
import yaml

ROLE = Path(__file__).resolve().parents[2] / "roles" / "ml_env"
TESTED_SET = ROLE / "vars" / "main" / "tested_set.yml"
TEMPLATE = ROLE / "templates" / "pyproject.toml.j2"
PYTHONS = ("3.12", "3.13")  # of the distributions that this collection is for


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where something would change")
    options = parser.parse_args()
    text = TESTED_SET.read_text()
    written = with_constraints(text, resolve(yaml.safe_load(text)["_ml_env_tested_set"]))
    if written == text:
        print(f"{TESTED_SET.name}: as its ranges and its date have it")
        return 0
    if options.check:
        print(f"{TESTED_SET.name}: its ranges and its date have another set: run 'make tested-set'", file=sys.stderr)
        return 1
    TESTED_SET.write_text(written)
    print(f"{TESTED_SET.name}: written anew")
    return 0


def resolve(tested_set: dict[str, object]) -> list[str]:
    """Exact requirements, one for each package, the same for every Python of ours."""
    answers = {python: resolve_for(python, tested_set) for python in PYTHONS}
    first, *others = answers.values()
    if any(other != first for other in others):
        differing = sorted(set.symmetric_difference(*map(set, answers.values())))
        raise SystemExit(f"Python {' and '.join(PYTHONS)} have different sets: {', '.join(differing)}")
    return first


def resolve_for(python: str, tested_set: dict[str, object]) -> list[str]:
    template = jinja2.Template(TEMPLATE.read_text(), trim_blocks=True, undefined=jinja2.StrictUndefined)
    pyproject = template.render(_ml_env_tested_set={**tested_set, "constraints": []}, ml_env_torch_index="")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "pyproject.toml")
        source.write_text(pyproject)
        plain = ("--no-header", "--no-annotate", "--quiet")
        target = (f"--python-version={python}", "--python-platform=x86_64-manylinux_2_28")
        done = subprocess.run(
            ["uv", "pip", "compile", "--all-extras", *plain, *target, source],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return done.stdout.splitlines()


def with_constraints(text: str, constraints: list[str]) -> str:
    """They are the last part of the file."""
    head, key, _old = text.partition("  constraints:")
    return head + key + "".join(f"\n    - {constraint}" for constraint in constraints) + "\n"


if __name__ == "__main__":
    sys.exit(main())
