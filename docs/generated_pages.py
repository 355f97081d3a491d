"""MkDocs hook: pages that stand elsewhere in the repository, taken from there as they are."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each folder of results, with its table and pictures, for CONTRIBUTING and for CHANGELOG."""
    for folder in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        tables, pictures = sorted(folder.glob("*.md")), sorted(folder.glob("*.png"))
        text = "\n\n".join(title_first(table.read_text(encoding="utf-8")) for table in tables) or f"# {folder.name}\n"
        text = f"---\nhide: [toc]\n---\n\n{text}"  # tables are wide
        text += "".join(f"\n![{picture.stem}]({folder.name}/{picture.name})\n" for picture in pictures)
        files.append(File.generated(config, f"results/{folder.name}.md", content=text))
        for picture in pictures:
            files.append(File.generated(config, f"results/{folder.name}/{picture.name}", abs_src_path=str(picture)))
    for name in ("CONTRIBUTING", "CHANGELOG"):
        text = (ROOT / f"{name}.md").read_text(encoding="utf-8")
        text = text.replace("](docs/", "](../").replace("](CHANGELOG.md)", "](changelog.md)")
        files.append(File.generated(config, f"project/{name.lower()}.md", content=text))
    return files


def title_first(text: str) -> str:
    """Return a page whose title comes before the line on the state of the code."""
    state, sign, rest = text.partition("\n\n# ")
    if not sign or state.startswith("# "):
        return text
    title, _, body = rest.partition("\n")
    return f"# {title}\n\n{state}\n{body}"
