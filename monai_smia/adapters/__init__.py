"""Models of others as victims: MONAI bundles, nnU-Net, MONAI Deploy applications."""

from __future__ import annotations

from pathlib import Path

OVERLAY = Path(__file__).parent / "monai_bundle" / "attack_eval.yaml"  # known without an import of MONAI
