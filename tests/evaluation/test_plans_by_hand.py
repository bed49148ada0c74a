"""Plans written out: which attacks, at which radius, with how many gradients, by which loss and step."""

from __future__ import annotations

from typing import Any

import pytest

from monai_smia.attacks import PGD, SMIA, Attack, CriticalRadius, Ensemble, Noise
from monai_smia.evaluation import PlannedAttack, paper_comparison, preset_plan, standard_attack
from monai_smia.evaluation.paper_plan import tables_plan
from monai_smia.evaluation.plan import in_input_unit, plan_of
from monai_smia.evaluation.presets import FIRST, PRESETS
from monai_smia.evaluation.volume_rows import volume_rows
from monai_smia.victims.volume_loss import VolumeLoss

ONE_BALL = ((1.0, 1.0),)
SHARP = (1.0, 0.5, "sharp_jaccard")
BROAD, NARROW = ((3.0, 0.1), (2.0, 0.1), (1.0, 0.3), SHARP), ((2.0, 0.1), (1.5, 0.1), (1.0, 0.3), SHARP)


def told(attack: Any) -> tuple[Any, ...]:
    """Name, gradients or queries, loss, and what else is not as by default."""
    own = {"schedule": ONE_BALL, "steer_by": None, "step_size": None, "stop_at": None}
    other = {name: getattr(attack, name, usual) for name, usual in own.items()}
    count = attack.queries if hasattr(attack, "queries") else attack.steps
    return attack.name, count, attack.loss, {n: v for n, v in other.items() if v != own[n]}


SEGMENTERS: list[tuple[Any, ...]] = [
    ("APGD", 100, "soft_jaccard", {"schedule": BROAD}),
    ("APGD", 100, "balanced_cross_entropy", {"schedule": NARROW, "steer_by": "soft_jaccard"}),
    ("CosPGD", 50, None, {}),
]
DETECTORS: list[tuple[Any, ...]] = [
    ("APGD", 100, "ranking", {}),
    ("APGD", 50, "found", {}),
    ("APGD", 25, "focal", {}),
]
SOLVED = {"stop_at": 1.0}
MEMBERS: dict[tuple[str, str], list[tuple[Any, ...]]] = {
    ("classification", "linf"): [
        ("APGD", 100, None, SOLVED),
        ("APGDT", 50, None, SOLVED),
        ("FMN", 50, "margin", {}),
        ("Square", 500, "margin", SOLVED),
    ],
    ("classification", "l2"): [
        ("APGD", 100, None, SOLVED),
        ("APGDT", 100, None, SOLVED),
        ("FMN", 50, "margin", {}),
    ],
    ("segmentation", "linf"): [*SEGMENTERS, ("Square", 100, "soft_jaccard", {})],
    ("segmentation", "l2"): SEGMENTERS,
    ("detection", "linf"): [*DETECTORS, ("DAG", 25, None, {})],
    ("detection", "l2"): DETECTORS,
}


@pytest.mark.parametrize(("task", "norm"), MEMBERS)
def test_members_of_the_standard_attack(task: str, norm: str) -> None:
    attack = standard_attack(task, eps=0.9, norm=norm, clip=(-2.0, 2.0), seed=7)
    assert [told(member) for member in attack.attacks] == MEMBERS[task, norm]
    assert (attack.stop_at, attack.seed, attack.progress) == (1.0, 7, False)
    for member in attack.attacks:
        assert (member.eps, member.norm, member.clip, member.seed) == (0.9, norm, (-2.0, 2.0), 7)
        assert not member.progress
    shown = standard_attack(task, eps=0.9, norm=norm, progress=True)
    assert shown.progress
    assert all(member.progress for member in shown.attacks)
    assert shown.clip == (0.0, 1.0)


FEW = {"classification": ([1, 1, 1, 5], [9, 4, 4, 45]), "segmentation": ([1] * 4, [9, 9, 4, 9])}


@pytest.mark.parametrize("task", ["classification", "segmentation", "detection"])
def test_a_standard_attack_of_next_to_no_gradients_and_of_no_radius(task: str) -> None:
    one, nine = FEW.get(task, ([1] * 4, [9, 4, 2, 2]))
    assert [told(member)[1] for member in standard_attack(task, eps=0.1, steps=1).attacks] == one
    assert [told(member)[1] for member in standard_attack(task, eps=0.1, steps=9).attacks] == nine
    (cospgd,) = [m for m in standard_attack("segmentation", eps=0.0, steps=4).attacks if m.name == "CosPGD"]
    assert told(cospgd) == ("CosPGD", 2, None, {})


ROUNDS = {"quick": (10, 20), "standard": (25, 50, 100), "thorough": (100, 200, 400)}


@pytest.mark.parametrize("preset", ROUNDS)
def test_rounds_of_a_preset(preset: str) -> None:
    plan = preset_plan(preset, "segmentation", [0.05, 0.1], steps=7, alpha=0.5, unit_scale=1 / 1400, clip=None, seed=3)
    assert (plan[0].attack, plan[0].eps, plan[0].setting) == (None, None, "")
    begins = [(row.name, row.eps, row.setting, row.attack.eps) for row in plan[1:5] if row.attack]
    assert begins == [(n, e, "equal radius", b) for e, b in ((0.05, 70.0), (0.1, 140.0)) for n in ("Noise", "SMIA")]
    assert isinstance(plan[2].attack, SMIA)
    assert (plan[2].attack.steps, plan[2].attack.alpha) == (7, 0.5)
    rest = [(row.setting, row.eps, told(row.attack)[:2]) for row in plan[5:]]
    names = ("APGD", "APGD", "CosPGD", "Square")
    assert rest == [
        (f"round {number}", eps, (name, count // 2 if name == "CosPGD" else count))
        for number, count in enumerate(ROUNDS[preset], 1)
        for eps in (0.05, 0.1)
        for name in names
    ]
    attacks = [row.attack for row in plan if row.attack is not None]
    assert {(attack.clip, attack.seed) for attack in attacks} == {(None, 3)}
    assert all(attack.progress for attack in attacks[4:])


@pytest.mark.parametrize(
    ("gradients", "rounds"),
    [(1, [1]), (2, [1, 2]), (3, [1, 3]), (39, [19, 39]), (40, [10, 20, 40]), (41, [10, 20, 41])],
)
def test_a_quarter_is_a_round_from_ten_gradients_on(gradients: int, rounds: list[int]) -> None:
    assert FIRST == 10
    plan = preset_plan("quick", "detection", 0.1, gradients=gradients)
    found = [row.attack.steps for row in plan if row.loss == "ranking"]  # type: ignore[union-attr]
    assert found == rounds


def test_gradients_are_a_whole_number_from_one_on() -> None:
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="gradients must be None or a whole number >= 1"):
            preset_plan("quick", "detection", 0.1, gradients=wrong)
    for name, wrong in (("alpha", -0.1), ("steps", 1.5), ("steps", -1)):
        with pytest.raises(ValueError, match=f"{name} must be"):
            preset_plan("quick", "detection", 0.1, **{name: wrong})
    assert len(preset_plan("quick", "detection", 0.1, alpha=0, steps=0)) == 11
    gradients = {"paper": None, "quick": 20, "standard": 100, "thorough": 400, "radius": 20, "shifts": 8}
    assert gradients | {"frequency": 20, "blackbox": 200} == PRESETS  # the last one's are queries


@pytest.mark.parametrize(
    ("task", "loss"), [("classification", None), ("segmentation", "soft_jaccard"), ("detection", "ranking")]
)
def test_the_preset_frequency(task: str, loss: str | None) -> None:
    plan = preset_plan("frequency", task, [0.1, 0.2], unit_scale=0.01, clip=None, seed=4, gradients=12)
    names = ["Noise", "APGD", "LowFrequency(APGD, dct)", "LowFrequency(APGD, spline)", "SurvivalSMIA", "VAFA"]
    assert [(row.name, row.eps) for row in plan] == [("Clean", None), *((n, e) for e in (0.1, 0.2) for n in names)]
    assert len({row.slug for row in plan}) == 13
    for row in plan[1:]:
        assert row.attack is not None
        assert (row.attack.eps, row.attack.clip, row.attack.seed) == (row.eps * 100 if row.eps else None, None, 4)
        assert row.name == "Noise" or (row.attack.planned_gradients, row.loss) == (12, loss)


@pytest.mark.parametrize("task", ["classification", "segmentation", "detection"])
def test_the_preset_radius(task: str) -> None:
    plan = preset_plan("radius", task, 0.32, unit_scale=0.01, clip=None, seed=4)
    assert [row.eps for row in plan[1:-1]] == [e for e in (0.01, 0.02, 0.04, 0.08, 0.16, 0.32) for _ in range(2)]
    assert [row.attack.eps for row in plan[1:-1] if row.attack] == [
        e for e in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0) for _ in range(2)
    ]
    assert {type(row.attack) for row in plan[1:-1:2]} == {Noise}
    strongest, last = plan[2].attack, plan[-1]
    search = last.attack
    assert isinstance(search, CriticalRadius)
    assert (last.setting, last.eps, search.eps, search.seed, search.clip) == (
        "critical radius",
        0.32,
        32.0,
        4,
        None,
    )
    if task == "classification":
        assert isinstance(strongest, Ensemble)
        assert [told(member) for member in strongest.attacks] == [
            ("APGD", 20, None, SOLVED),
            ("APGDT", 10, None, SOLVED),
        ]
        assert strongest.stop_at == 1.0
        assert repr(search.attack) == repr(plan[-2].attack)
    else:
        first = ("APGD", 20, "soft_jaccard", {"schedule": BROAD}) if task == "segmentation" else DETECTORS[0]
        assert told(strongest)[::2] == first[::2]
        assert told(strongest)[1] == 20
        own = {"schedule": ((1.0, 0.5), SHARP)} if task == "segmentation" else {}
        assert told(search.attack) == ("APGD", 20, first[2], own)  # in one ball: a larger one would leave its start
        assert search.attack.progress


def test_the_papers_comparison() -> None:
    plan = paper_comparison([0.05, 0.1], steps=9, alpha=0.7, unit_scale=1 / 1400, clip=(-1024, 3071), seed=5)
    assert len(plan) == 1 + 2 * 10
    for start, ball in ((1, 70.0), (11, 140.0)):
        rows = plan[start : start + 10]
        found = [
            (row.name, row.setting, row.eps, getattr(row.attack, "eps", None), getattr(row.attack, "steps", None))
            for row in rows
        ]
        eps = ball / 1400
        assert found == [
            ("Noise", "equal radius", eps, ball, 0),
            ("FGSM", "equal radius", eps, ball, 1),
            *((name, "equal radius", eps, ball, 9) for name in ("BIM", "MIFGSM", "PGD", "SMIA")),
            ("SMIA", "equal gradients", eps, ball, 5),
            *(
                (name, "paper", pytest.approx(reach * eps), pytest.approx(reach * ball), 9)
                for name, reach in (("BIM", 9), ("PGD", 10), ("SMIA", 9))  # PGD begins within eps, the others do not
            ),
        ]
        assert {row.attack.alpha for row in rows if isinstance(row.attack, SMIA)} == {0.7}
        of_paper: list[Any] = [row.attack for row in rows[-3:]]
        assert [(attack.step_size, attack.keep) for attack in of_paper] == [(ball, "last")] * 3
        assert of_paper[1].start_eps == ball
    assert {row.attack.seed for row in plan if row.attack} == {5}
    few = paper_comparison(0.1, steps=0)
    assert [row.attack.steps for row in few if isinstance(row.attack, SMIA)] == [0, 1, 0]


def test_the_papers_tables() -> None:
    plan = tables_plan(0.05, steps=10, unit_scale=1 / 1400, clip=None, seed=2)
    found = [(row.name, row.setting, row.eps, getattr(row.attack, "steps", None)) for row in plan]
    three = ("BIM", "PGD", "SMIA")

    def of_paper(eps: float, count: int, setting: str) -> list[tuple[Any, ...]]:
        """As far as so many steps of eps go; PGD begins within another."""
        return [(name, setting, pytest.approx((count + (name == "PGD")) * eps), count) for name in three]

    assert found == [
        ("Clean", "", None, None),
        ("Noise", "equal radius", 0.05, 0),
        *((name, "equal radius", 0.05, 10) for name in three),
        *((name, "iterations", 0.05, count) for count in (15, 20, 25) for name in three),
        *((name, "equal radius", pytest.approx(eps), 10) for eps in (0.025, 0.075) for name in three),
        *(("SMIA", "alpha", 0.05, 10) for _ in range(2)),
        *of_paper(0.05, 10, "paper"),
        *(row for count in (15, 20, 25) for row in of_paper(0.05, count, "paper, iterations")),
        *(row for eps in (0.025, 0.075) for row in of_paper(eps, 10, "paper")),
        *(("SMIA", "paper, alpha", pytest.approx(0.5), 10) for _ in range(2)),
    ]
    alphas = [row.attack.alpha for row in plan if row.setting in ("alpha", "paper, alpha")]  # type: ignore[union-attr]
    assert alphas == [0.75, 1.25] * 2
    steps = {(row.attack.step_size, row.attack.keep) for row in plan if row.setting == "paper"}  # type: ignore[union-attr]
    assert steps == {(70.0, "last"), (35.0, "last"), (105.0, "last")}
    assert [row.attack.eps for row in plan[14:20] if row.attack] == [35.0] * 3 + [105.0] * 3
    own = tables_plan(0.05, steps=3, iterations=[3, 6], radii=[1.0, 2.0], alphas=[0, 1, 0.5], extra=[PGD])
    assert len(own) == 2 + 4 + 4 + 4 + 1 + 3 * 3 + 1  # the last ten in the paper's setting


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 20), ({"preset": "paper"}, 10), ({"preset": "paper", "steps": 4}, 4), ({"gradients": 7}, 7)],
)
def test_rows_that_drive_a_volume(options: dict[str, Any], count: int) -> None:
    rows = volume_rows(["up", "down", "up"], [0.05, 0.1], unit_scale=0.001, clip=None, **options)
    assert [(row.eps, row.loss, row.setting) for row in rows] == [
        (eps, f"volume_{way}", "equal radius") for eps in (0.05, 0.1) for way in ("up", "down")
    ]
    attacks = [row.attack for row in rows if row.attack]
    assert [(a.eps, told(a)[1]) for a in attacks] == [(e, count) for e in (50.0, 50.0, 100.0, 100.0)]
    (own,) = volume_rows(("down",), 0.05, structure=2)
    assert own.attack is not None
    assert own.attack.loss == VolumeLoss("down", 2)
    assert volume_rows(None, 0.05) == []
    for wrong in ([], "down", ["down", "left"], {"down"}):
        with pytest.raises(ValueError, match="volumes must be a list of"):
            volume_rows(wrong, 0.05)  # type: ignore[arg-type]


def test_attacks_by_themselves_become_rows() -> None:
    attacks = [PGD(eps=70.0, clip=None), Noise(eps=1e-9, clip=None)]
    rows = plan_of(attacks, 1400.0)
    assert [(row.name, row.eps, row.setting) for row in rows] == [
        ("Clean", None, ""),
        ("PGD", 0.05, "equal radius"),
        ("Noise", pytest.approx(1e-9 / 1400, rel=1e-8), "equal radius"),
    ]
    mixed = plan_of([PlannedAttack(), attacks[0]], 1400.0)
    assert [row.name for row in mixed] == ["Clean", "PGD"]
    with pytest.raises(ValueError, match="attacks must hold at least one row"):
        plan_of([], 1400.0)
    for wrong in ("PGD", attacks[0], PlannedAttack(), {1}):
        with pytest.raises(ValueError, match="attacks must be a list"):
            plan_of(wrong, 1400.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="attacks must hold attacks or rows"):
        plan_of([3], 1400.0)  # type: ignore[list-item]
    assert in_input_unit(0.05, 1 / 1400) == 70.0
    assert in_input_unit(1 / 3, 1.0) == 0.333333333


def test_a_radius_as_wide_as_the_range_is_the_widest() -> None:
    def row(eps: float, setting: str = "x", **options: Any) -> Attack | None:
        return PlannedAttack(PGD(eps=eps, clip=(-1.0, 1.0), **options), 0.1, setting).attack

    assert row(2.0) is not None
    assert row(9.0, norm="l2") is not None
    assert row(9.0, setting="paper") is not None
    with pytest.raises(ValueError, match="eps must be a radius within the valid range"):
        row(2.001)
