"""Pages in headless Chromium."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest


def title_in_browser(page: Path, text: str, width: int, *switches: str) -> str:
    """The title that a page of this text has given itself; nothing may have been logged, and nothing asked for."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium")
    page.write_text(text)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    command += [f"--window-size={width},900", f"--user-data-dir={page.parent / 'profile'}", *switches]
    command += ["--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    return html.unescape(re.findall(r"<title>(.*?)</title>", done.stdout)[0])
