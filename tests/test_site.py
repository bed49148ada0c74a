"""The site: its pages lie as its links say, its navigation holds all of them, and it builds without a warning."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_documented_commands import FENCE, PAGES

from monai_smia.cli import _parser

ROOT = Path(__file__).parents[1]
SITE = runpy.run_path(str(ROOT / "docs" / "site.py"))
BESIDE = {"examples/nnunet_thorax/README.md"}  # what it is of is described elsewhere
ELSEWHERE = {"targets", "adapters"}  # what users meet in configs and on the command line


def settings() -> dict[str, Any]:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def named(nav: Any) -> Iterator[str]:
    for value in nav.values() if isinstance(nav, dict) else nav:
        if isinstance(value, str):
            yield value
        else:
            yield from named(value)


def test_every_page_is_in_the_navigation_or_linked_to(tmp_path: Path) -> None:
    site = tmp_path / "site"
    pages = SITE["lay_out"](site)
    names = {path.relative_to(site).as_posix() for path in pages}
    nav = list(named(settings()["nav"]))
    assert len(nav) == len(set(nav))
    assert set(nav) <= names
    links = {
        os.path.relpath(os.path.normpath(page.parent / link), site)
        for page in pages
        for link in SITE["LINK"].findall(page.read_text(encoding="utf-8"))
        if "://" not in link
    }
    assert names - set(nav) - links <= BESIDE


def test_every_link_leads_to_a_file(tmp_path: Path) -> None:
    for page in SITE["lay_out"](tmp_path / "site"):
        for link in SITE["LINK"].findall(page.read_text(encoding="utf-8")):
            target = page.parent / link
            index = tmp_path / "site" / "index.md"
            assert "://" in link or target.is_file() or (target.name == "README.md" and index.is_file()), (page, link)


def test_every_room_has_a_page_of_the_reference() -> None:
    rooms = {path.parent.name for path in (ROOT / "monai_smia").glob("*/__init__.py")}
    assert rooms - ELSEWHERE == set(SITE["ROOMS"]) - {"threat"}


def test_nothing_is_loaded_from_elsewhere() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert settings()["theme"]["font"] is False
    assert "http" not in text


def commands() -> list[str]:
    """Every ``python -m monai_smia ...`` of the documents."""
    found = []
    for page in PAGES:
        for _, block in FENCE.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                if words := re.search(r"(?:^|\s)python -m monai_smia (.*)", line.split("  #")[0]):
                    found.append(words[1].strip())
    return list(dict.fromkeys(found))


def test_the_documents_hold_them() -> None:
    known = {"evidence", "verify", "compare", "index", "bundle", "nnunet", "auto3dseg", "run"}
    assert known <= {c.split()[0] for c in commands()}


@pytest.mark.parametrize("command", commands())
def test_no_command_of_the_package_is_refused_for_what_it_names(command: str) -> None:
    words = shlex.split(re.sub(r"\s+(&&|\|).*", "", command).rstrip(")'\""))
    options, others = _parser().parse_known_args([word for word in words if word != "..."])
    assert callable(options.command)
    assert not others or getattr(options, "check", None) or words[0] == "verify"


@pytest.mark.slow
def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="extra `docs`")
    pytest.importorskip("mkdocstrings", reason="extra `docs`")
    for name in ("docs", "benchmarks", "bundles", "examples", "monai_smia"):
        os.symlink(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    SITE["lay_out"](tmp_path / "build" / "site_pages")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "build" / "site" / "reference" / "attacks.html").read_text(encoding="utf-8")
    assert "monai_smia.attacks.SMIA" in page
