"""The figures of the SMIA paper (Qi et al., ICLR 2021) as published: percentages, and Var as it is there."""

from __future__ import annotations

TABLE_1 = {
    "COVID-19": {
        "Clean": {"accuracy": 87.82, "jaccard": 93.57},
        "DEV": {"accuracy": 69.16, "jaccard": 83.66, "cos": 60.00},
        "DEV + STA": {"accuracy": 60.82, "jaccard": 79.18, "cos": 63.21},
    },
    "EAD-2019": {
        "Clean": {"iou": 22.86, "map": 43.36},
        "DEV": {"iou": 6.82, "map": 17.28, "cos": 64.98},
        "DEV + STA": {"iou": 4.8, "map": 3.47, "cos": 68.54},
    },
    "APTOS-2019": {
        "Clean": {"accuracy": 81.82},
        "DEV": {"accuracy": 69.35, "cos": 90.34},
        "DEV + STA": {"accuracy": 57.37, "cos": 95.46},
    },
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
    "COVID-19": {
        "Clean": {"accuracy": 87.82, "jaccard": 93.57},
        "FGSM": {"accuracy": 69.16, "jaccard": 83.66, "var": 0.087},
        "PGD": {"accuracy": 69.40, "jaccard": 83.69, "var": 0.081},
        "DAG": {"accuracy": 68.96, "jaccard": 90.87, "var": 0.054},
        "SMIA": {"accuracy": 60.82, "jaccard": 79.18, "var": 0.041},
    },
    "EAD-2019": {
        "Clean": {"iou": 22.86, "map": 43.36},
        "FGSM": {"iou": 6.82, "map": 17.28, "var": 0.062},
        "PGD": {"iou": 6.48, "map": 16.36, "var": 0.086},
        "DAG": {"iou": 7.62, "map": 2.71, "var": 0.059},
        "SMIA": {"iou": 4.8, "map": 3.47, "var": 0.001},
    },
    "APTOS-2019": {
        "Clean": {"accuracy": 81.28},
        "FGSM": {"accuracy": 69.35, "var": 0.052},
        "PGD": {"accuracy": 67.46, "var": 0.126},
        "DeepFool": {"accuracy": 68.23, "var": 0.073},
        "SMIA": {"accuracy": 57.37, "var": 0.019},
    },
    "Kaggle-DR": {
        "Clean": {"accuracy": 75.64, "fpr": 18.18},
        "FGSM": {"accuracy": 58.91, "var": 0.064, "fpr": 25.56},
        "PGD": {"accuracy": 56.89, "var": 0.085, "fpr": 26.09},
        "DeepFool": {"accuracy": 56.57, "var": 0.069, "fpr": 27.01},
        "SMIA": {"accuracy": 51.26, "var": 0.023, "fpr": 27.80},
    },
}
