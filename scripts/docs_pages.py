"""Pages of the site that are not files in docs/: README, CONTRIBUTING and the like, and the notebook. A mkdocs hook."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {"index.md": "README.md", **{name: name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")}}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made from other files."""
    for page, source in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    notebook = json.loads((ROOT / "docs/notebook.ipynb").read_text())
    files.append(File.generated(config, "notebook.md", content=as_markdown(notebook)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links between the folders of the repository, as links between pages that are side by side."""
    return re.sub(r"\]\((?:\.\./|docs/)(?=[\w/-]+\.\w+)", "](", markdown)


def as_markdown(notebook: dict[str, Any]) -> str:
    """A notebook with the text of its outputs."""
    return "\n".join(map(_cell, notebook["cells"]))


def _cell(cell: dict[str, Any]) -> str:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return f"{text}\n"
    shown = "".join(map(_output, cell["outputs"]))
    return f"```python\n{text}\n```\n" + (f"\n```text\n{shown.rstrip()}\n```\n" if shown else "")


def _output(output: dict[str, Any]) -> str:
    return "".join(output.get("text") or output["data"]["text/plain"]) + "\n"
