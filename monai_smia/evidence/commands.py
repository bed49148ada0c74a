"""The commands ``evidence`` and ``verify``: what they print, and their exit statuses."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_smia.command_line import EXPECTED, quiet
from monai_smia.evidence.archive import write_evidence
from monai_smia.evidence.verify import NOT_CHECKED, verify


def run_evidence(options: argparse.Namespace) -> int:
    """Pack a folder; 0, or 1 with a sentence."""
    try:
        path, count = write_evidence(options.folder, options.zip, key=options.key)
    except EXPECTED as error:
        print(error, file=sys.stderr)
        return 1
    signed = "signed" if options.key else "not signed (--key)"
    print(f"{count} files and their manifest, {signed}: {Path(path).resolve()}")
    return 0


def run_verify(options: argparse.Namespace, given: Mapping[str, Any]) -> int:
    """Check evidence; 0 where nothing differs, 3 where something does, 1 where it cannot be told in full."""
    quiet()
    if given and not options.rows:
        print(f"--{next(iter(given))} is nothing that a check without --rows takes.", file=sys.stderr)
        return NOT_CHECKED
    try:
        found = verify(
            options.evidence,
            public_key=options.public_key,
            rows=options.rows,
            seed=options.seed,
            given=given,
            trusted=options.trusted,
        )
    except EXPECTED as error:
        print(error, file=sys.stderr)
        return NOT_CHECKED
    print(found.text())
    return found.status
