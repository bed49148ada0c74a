"""Commands: ``python -m monai_smia overlay``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from monai_smia.adapters.monai_bundle.overlay import check_configs, overlay_path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 if all is well."""
    parser = argparse.ArgumentParser(prog="python -m monai_smia", description="Adversarial robustness for MONAI.")
    commands = parser.add_subparsers(dest="command", required=True)
    overlay = commands.add_parser("overlay", help="print the path of the attack_eval config for any MONAI bundle")
    overlay.add_argument("--check", nargs="+", metavar="CONFIG", help="say what these configs of a bundle lack for it")
    options = parser.parse_args(arguments)
    if not options.check:
        print(overlay_path())
        return 0
    missing = check_configs(options.check)
    print(*(missing or ["Nothing is missing."]), sep="\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
