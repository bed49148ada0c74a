from __future__ import annotations

from values import changeable


def test_what_is_handed_on_is_a_value() -> None:
    assert changeable("monai_smia.records") == {"JournalReader", "_Parsed", "Summary", "SummaryRow"}
