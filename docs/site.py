"""Lays the pages of the site out as they lie in the repository, so that every link holds, with a page of every room.

    python docs/site.py build/site_pages && mkdocs build --strict

`make docs` does both. What a page links to and is no page itself (results, pictures, examples) is copied with it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md"),
    *("docs/**/*.md", "bundles/*/docs/README.md", "examples/*/README.md"),
)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
ROOMS = {  # of the reference, in its order
    "attacks": "Attacks",
    "victims": "Victims",
    "inferers": "Inferers",
    "threat": "Threat model",
    "degradations": "Degradations",
    "shifts": "Acquisition shifts",
    "certificates": "Certificates",
    "transforms": "Transforms",
    "handlers": "Ignite handlers",
    "engines": "Engines",
    "metrics": "Metrics",
    "dicom": "DICOM",
    "storage": "Storage",
    "records": "Records",
    "analysis": "Analysis",
    "report": "Report",
    "evaluation": "Evaluation",
    "evidence": "Evidence",
}


def lay_out(folder: Path) -> list[Path]:
    """Copy pages, and what they link to, and write the reference.

    Args:
        folder: the new folder; an earlier one is removed.

    Returns:
        The pages.

    Raises:
        FileNotFoundError: if a page links to what is not in the repository.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pages = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        target = folder / page.relative_to(ROOT)
        target = target.with_name("index.md") if page == ROOT / "README.md" else target
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        for link in LINK.findall(text):
            if "://" not in link:
                _copy(page, link, folder)
    for room, title in ROOMS.items():
        path = folder / "reference" / f"{room}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {title}\n\n::: monai_smia.{room}\n", encoding="utf-8")
    return sorted(folder.rglob("*.md"))


def _copy(page: Path, link: str, folder: Path) -> None:
    """Put what a page links to where its copy looks for it."""
    path = Path(os.path.normpath(page.parent / link))
    if not path.is_relative_to(ROOT) or not path.exists():
        raise FileNotFoundError(f"{page.relative_to(ROOT)} links to {link}, which is not there.")
    target = folder / path.relative_to(ROOT)
    if path.is_file() and path.suffix != ".md" and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


if __name__ == "__main__":
    made = lay_out(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site_pages")
    print(f"{len(made)} pages")
