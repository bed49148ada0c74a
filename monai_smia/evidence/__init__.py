"""Evidence: a finished evaluation as a signed zip, and the check that it is what it was and comes out the same."""

from __future__ import annotations

from monai_smia.evidence.archive import EvidenceError, write_evidence
from monai_smia.evidence.signature import SignatureError
from monai_smia.evidence.verify import Verification, verify

__all__ = ["EvidenceError", "SignatureError", "Verification", "verify", "write_evidence"]
