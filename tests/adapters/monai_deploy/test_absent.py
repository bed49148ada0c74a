"""Without the SDK its operators say so; this one runs everywhere."""

from __future__ import annotations

import sys

import pytest


def test_where_the_sdk_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("monai_smia.adapters.monai_deploy")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "monai.deploy", None)  # importing it fails
    monkeypatch.setitem(sys.modules, "monai.deploy.core", None)
    with pytest.raises(ImportError, match=r"not installed: pip install 'monai_smia\[deploy\]'"):
        import monai_smia.adapters.monai_deploy  # noqa: F401
