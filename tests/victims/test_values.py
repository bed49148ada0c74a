from __future__ import annotations

from values import changeable, dataclasses_of

from monai_smia.victims.base import Victim


def test_what_is_handed_on_is_a_value() -> None:
    """A victim is bound by a copy that is written into, and users of a frozen network are counted."""
    victims = {name for name, kind in dataclasses_of("monai_smia.victims").items() if issubclass(kind, Victim)}
    assert changeable("monai_smia.victims") == victims | {"_Held"}
