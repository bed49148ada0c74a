"""What every adversarial image that is written says about itself."""

from __future__ import annotations

MARK = "ADVERSARIAL TEST - NOT FOR CLINICAL USE"
