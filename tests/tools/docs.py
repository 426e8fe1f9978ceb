"""Writes docs/ from the specs of roles and modules, as ansible-doc reads them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from antsibull_docs_parser import dom
from antsibull_docs_parser.parser import Context, Whitespace, parse

COLLECTION = "mlrig.workstation"
DOCS = Path(__file__).parents[2] / "docs"
LONGEST_DEFAULT = 2000
GENERATED = "<!-- Written by `make docs`: change the specs, not this file. -->\n"

Spec = dict[str, Any]


def markdown(text: str) -> str:
    """One paragraph of Ansible's markup."""
    [paragraph] = parse([text], Context(), errors="exception", whitespace=Whitespace.STRIP)
    return "".join(part_to_markdown(part) for part in paragraph)


def part_to_markdown(part: dom.AnyPart) -> str:
    match part:
        case dom.TextPart(text=text):
            return re.sub(r"([*<`])", r"\\\1", text)
        case dom.BoldPart(text=text):
            return f"**{text}**"
        case dom.ItalicPart(text=text):
            return f"*{text}*"
        case dom.LinkPart(text=text, url=url):
            return f"[{text}]({url})"
        case dom.URLPart(url=url):
            return f"<{url}>"
        case dom.ModulePart(fqcn=name) | dom.EnvVariablePart(name=name):
            return f"`{name}`"
        case dom.PluginPart(plugin=plugin):
            return f"`{plugin.fqcn}`"
        case dom.OptionNamePart(name=name, value=value) | dom.ReturnValuePart(name=name, value=value):
            return f"`{name}`" if value is None else f"`{name}={value}`"
        case dom.CodePart(text=text) | dom.OptionValuePart(value=text):
            return f"`{text}`"
    raise ValueError(f"no Markdown for {part.type}")


def paragraphs(text: str | list[str] | None) -> list[str]:
    return [markdown(paragraph) for paragraph in ([text] if isinstance(text, str) else text or [])]


def value(of: Any) -> str:
    return f"`{json.dumps(of, ensure_ascii=False)}`"


def default(of: Any) -> str:
    """A table would hide what is around it."""
    shown = value(of)
    return f"default {shown}" if len(shown) <= LONGEST_DEFAULT else "default: see the role's `defaults/main.yml`"


def traits(spec: Spec) -> Iterator[str]:
    yield f"list of {spec['elements']}" if "elements" in spec else spec.get("type", "str")
    if spec.get("required"):
        yield "required"
    if spec.get("default") is not None:
        yield default(spec["default"])
    if "choices" in spec:
        yield "one of " + ", ".join(value(choice) for choice in spec["choices"])
    if isinstance(spec.get("returned"), str):
        yield f"returned: {spec['returned']}"
    if "sample" in spec:
        yield f"for example {value(spec['sample'])}"


def bullets(specs: dict[str, Spec], indent: str = "") -> Iterator[str]:
    """One item for each option or return value, with what it contains below it."""
    for name, spec in specs.items():
        yield f"{indent}- **`{name}`** ({'; '.join(traits(spec))})"
        for paragraph in paragraphs(spec.get("description")):
            yield f"\n{indent}  {paragraph}"
        yield ""
        inner = spec.get("options") or spec.get("suboptions") or spec.get("contains") or {}
        yield from bullets(inner, f"{indent}  ")


def section(title: str, lines: Iterator[str]) -> Iterator[str]:
    content = list(lines)
    if content:
        yield f"## {title}\n"
        yield from content


def role_page(name: str, role: Spec) -> Iterator[str]:
    entry = role["entry_points"]["main"]
    yield f"# Role `{name}`\n"
    yield f"{markdown(entry['short_description'])}.\n"
    yield from (f"{paragraph}\n" for paragraph in paragraphs(entry.get("description")))
    yield from section("Variables", bullets(entry.get("options", {})))


def module_page(name: str, module: Spec) -> Iterator[str]:
    doc = module["doc"]
    yield f"# Module `{name}`\n"
    yield f"{markdown(doc['short_description'])}.\n"
    yield from (f"{paragraph}\n" for paragraph in paragraphs(doc["description"]))
    yield from (f"Needs {paragraph}.\n" for paragraph in paragraphs(doc.get("requirements")))
    yield from section("Options", bullets(doc.get("options", {})))
    yield from section("Attributes", attributes(doc.get("attributes", {})))
    yield from section("Notes", (f"- {note}\n" for note in paragraphs(doc.get("notes"))))
    yield from section("Examples", iter([f"```yaml\n{module['examples'].strip()}\n```\n"]))
    yield from section("Return values", bullets(module["return"] or {}))


def attributes(specs: dict[str, Spec]) -> Iterator[str]:
    for name, spec in specs.items():
        yield f"- **`{name}`** ({spec['support']})"
        for paragraph in paragraphs(spec["description"]):
            yield f"\n  {paragraph}"
        yield ""


def index(roles: dict[str, Spec], modules: dict[str, Spec]) -> Iterator[str]:
    yield "# Reference\n"
    yield "## Roles\n"
    for name, role in roles.items():
        yield f"- [{name}](roles/{name}.md): {markdown(role['entry_points']['main']['short_description'])}"
    yield "\n## Modules\n"
    for name, module in modules.items():
        yield f"- [{name}](modules/{name}.md): {markdown(module['doc']['short_description'])}"


def plugins(dump: Spec, kind: str) -> dict[str, Spec]:
    return {name.removeprefix(f"{COLLECTION}."): spec for name, spec in sorted(dump[kind].items())}


def pages(dump: Spec) -> dict[Path, str]:
    roles, modules = plugins(dump, "role"), plugins(dump, "module")
    lines = {
        Path("README.md"): index(roles, modules),
        **{Path(f"roles/{name}.md"): role_page(name, role) for name, role in roles.items()},
        **{Path(f"modules/{name}.md"): module_page(name, module) for name, module in modules.items()},
    }
    return {path: "\n".join([GENERATED, *content]).rstrip() + "\n" for path, content in lines.items()}


def main() -> None:
    command = ["ansible-doc", "--metadata-dump", COLLECTION]
    dump = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["all"]
    for folder in ("roles", "modules"):
        shutil.rmtree(DOCS / folder, ignore_errors=True)
    for path, text in pages(dump).items():
        (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
        (DOCS / path).write_text(text)


if __name__ == "__main__":
    main()
