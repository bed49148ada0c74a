"""The figures of the SMIA paper (Qi et al., ICLR 2021) as published: percentages, and Var as it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monai_smia.records import CLEAN

EAD = ("iou", "map")  # the metrics of Tables 2 to 4


def _rows(columns: str, rows: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Every row by column; a row of clean images lacks the last ones, which are of perturbations."""
    found = {name: dict(zip(columns.split(), values, strict=False)) for name, values in rows.items()}
    return {name: {**row, **_score(row)} for name, row in found.items()}


def _score(row: Mapping[str, float]) -> dict[str, float]:
    """The EAD challenge's own score, which the paper does not give: it follows from the two that it does."""
    return {"ead": round(0.6 * row["map"] + 0.4 * row["iou"], 2)} if {"map", "iou"} <= row.keys() else {}


def named(figures: Sequence[float]) -> dict[str, float]:
    """IoU and mAP of Tables 2 to 4 by their metric, with the EAD challenge's score.

    Example:
        >>> named((22.86, 43.36))
        {'iou': 22.86, 'map': 43.36, 'ead': 35.16}
    """
    row = dict(zip(EAD, figures, strict=True))
    return {**row, **_score(row)}


TABLE_1 = {
    "COVID-19": _rows(
        "accuracy jaccard cos",
        {CLEAN: (87.82, 93.57), "DEV": (69.16, 83.66, 60.00), "DEV + STA": (60.82, 79.18, 63.21)},
    ),
    "EAD-2019": _rows(
        "iou map cos", {CLEAN: (22.86, 43.36), "DEV": (6.82, 17.28, 64.98), "DEV + STA": (4.8, 3.47, 68.54)}
    ),
    "APTOS-2019": _rows("accuracy cos", {CLEAN: (81.82,), "DEV": (69.35, 90.34), "DEV + STA": (57.37, 95.46)}),
}
TABLE_2 = {  # EAD-2019, by iterations
    "FGSM": {15: (5.46, 14.64), 20: (5.19, 13.94), 25: (4.97, 13.03)},
    "PGD": {15: (4.79, 13.40), 20: (4.11, 11.90), 25: (3.94, 10.42)},
    "DAG": {15: (3.51, 1.02), 20: (2.28, 0.03), 25: (1.45, 0.01)},
    "SMIA": {15: (1.02, 0.24), 20: (0.50, 0.02), 25: (0.11, 0.01)},
}
TABLE_3 = {  # EAD-2019, by epsilon as a multiple of 0.01
    "FGSM": {0.5: (12.03, 26.65), 1.0: (6.82, 17.28), 1.5: (5.27, 13.52)},
    "PGD": {0.5: (11.49, 22.89), 1.0: (6.48, 16.36), 1.5: (3.49, 10.73)},
    "DAG": {0.5: (11.28, 14.94), 1.0: (7.62, 2.71), 1.5: (2.86, 1.44)},
    "SMIA": {0.5: (11.34, 15.92), 1.0: (4.8, 3.47), 1.5: (1.18, 3.25)},
}
TABLE_4 = {0.0: (6.82, 17.28), 0.75: (5.94, 12.18), 1.0: (4.80, 3.47), 1.25: (4.93, 4.05)}  # EAD-2019, by alpha
TABLE_6 = {
    "COVID-19": _rows("accuracy jaccard var", {
        CLEAN: (87.82, 93.57), "FGSM": (69.16, 83.66, 0.087), "PGD": (69.40, 83.69, 0.081),
        "DAG": (68.96, 90.87, 0.054), "SMIA": (60.82, 79.18, 0.001),
    }),
    "EAD-2019": _rows("iou map var", {
        CLEAN: (22.86, 43.36), "FGSM": (6.82, 17.28, 0.062), "PGD": (6.48, 16.36, 0.086),
        "DAG": (7.62, 2.71, 0.059), "SMIA": (4.80, 3.47, 0.019),
    }),
    "APTOS-2019": _rows("accuracy var", {
        CLEAN: (81.28,), "FGSM": (69.35, 0.052), "PGD": (67.46, 0.126),
        "DeepFool": (68.23, 0.073), "SMIA": (57.37, 0.023),
    }),
    "Kaggle-DR": _rows("accuracy fpr var", {
        CLEAN: (75.64, 18.18), "FGSM": (58.91, 25.56, 0.064), "PGD": (56.89, 26.09, 0.085),
        "DeepFool": (56.57, 27.01, 0.069), "SMIA": (51.26, 27.80, 0.041),
    }),
}  # fmt: skip
