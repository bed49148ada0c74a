from __future__ import annotations

from values import changeable, dataclasses_of

from monai_smia.attacks import Attack, State


def test_what_is_handed_on_is_a_value() -> None:
    """An attack is made once and for all calls; its state and the iterate are what a run writes into."""
    written = {name for name, kind in dataclasses_of("monai_smia.attacks").items() if issubclass(kind, State)}
    attacks = {name for name, kind in dataclasses_of("monai_smia.attacks").items() if issubclass(kind, Attack)}
    assert changeable("monai_smia.attacks") == attacks | written | {"Iterate", "_Search"}
