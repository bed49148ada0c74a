"""Tables of `fisher.py`: what holds of section 3.2 of the SMIA paper."""

from __future__ import annotations

from measured import Claims, Row, Table, cells


def scales(rows: list[Row]) -> list[dict[str, str]]:
    """Eq. 5 at three scales."""
    shown = [row for row in rows if row.get("scale") in (1e-3, 1e-1, 1.0)]
    columns = {"scale of eta'": "{scale:g}", "KL": "{kl:.3e}", "1/2 eta'^T G eta'": "{form:.3e}"}
    if any("point" in row for row in shown):
        columns = {"at the image": "{point}", **columns}
    return cells(shown, {**columns, "ratio [5 %, 95 %]": "{ratio:.4f} [{low:.3f}, {high:.3f}]"})


def holds(rows: list[Row]) -> Claims:
    """Eq. 5: for small changes."""
    yield f"{rows[0]['images']} pictures, accuracy {rows[0]['accuracy']:.3f}; medians over them.", True
    for point in dict.fromkeys(row.get("point", "clean") for row in rows if "scale" in row):
        ratio = {row["scale"]: row["ratio"] for row in rows if "scale" in row and row.get("point", "clean") == point}
        yield (
            f"At the {point} image the KL divergence is the quadratic form of the Fisher matrix: **reproduced** for "
            f"small eta' (ratio {ratio[1e-3]:.4f}).",
            abs(ratio[1e-3] - 1) < 0.01,
        )
        close = "still close" if 1 / 1.2 < ratio[1.0] < 1.2 else "not so"
        yield f"At the size that SMIA has it is {close}: the form is {ratio[1.0]:.2f} times the divergence.", True


def in_proportion(rows: list[Row]) -> Claims:
    """Eq. 8: is there a proportion?"""
    by = {row["product"]: row for row in rows}
    printed, form = by["sum 1/p"], by["the form of Eq. 5"]
    alike = printed["spread"] < 2
    yield (
        "The divergence is in proportion to the sum of 1 / p times |eta'|^2 (Eq. 8): "
        f"{'**reproduced**' if alike else 'not reproduced'}, their ratio differs by a factor of "
        f"{printed['spread']:.3g} between pictures (that to the form of Eq. 5 by {form['spread']:.3g}): Eq. 8 leaves "
        "the Jacobian out, which is another one at every image.",
        form["spread"] < printed["spread"],
    )
    yield (
        f"Nor do their gradients point the same way: the cosine is {printed['cosine']:.2f}, and "
        f"{by['1 - sum p^2']['cosine']:.2f} with the trace in the logits.",
        printed["cosine"] < 0.9,
    )


def coordinates(rows: list[Row]) -> Claims:
    """Eq. 7: the two coordinates disagree."""
    uniform, rest = rows[0], rows[1:]
    yield (
        "The trace is least at the uniform prediction in the p_i, and largest there in the logits.",
        all(uniform["inverse"] < r["inverse"] and uniform["trace"] > r["trace"] for r in rest)
        and all(abs(r["trace"] - r["numeric"]) < 1e-9 for r in rows),
    )


def moves(rows: list[Row]) -> Claims:
    """Does the term move predictions towards the uniform one?"""
    for row in rows:
        if "SMIA" in row["attack"] and row["what"] == "entropy":
            bim = next(r for r in rows if r["what"] == "entropy" and r["eps"] == row["eps"] and "BIM" in r["attack"])
            gap = row["10"] - bim["10"]
            verdict = "nearer to uniform" if gap > ALIKE else "farther from uniform" if gap < -ALIKE else "no effect"
            yield (
                f"eps {row['eps']:g}, {row['attack']}: the entropy goes from {row['0']:.3f} to {row['10']:.3f} "
                f"(DEV alone: {bim['10']:.3f}; uniform: {row['uniform']:.3f}): {verdict}.",
                True,
            )


ALIKE = 0.02  # nats
STEPS = {str(step): f"{{{step}:.3f}}" for step in range(0, 11, 2)}
TABLES = {
    "equation_5": Table(scales, where=lambda row: "scale" in row or "images" in row, claims=holds),
    "equation_7": Table(
        {
            "prediction": "{prediction}",
            "sum 1/p": "{inverse:.2f}",
            "1 - sum p^2": "{trace:.4f}",
            "entropy": "{entropy:.4f}",
        },
        where=lambda row: "prediction" in row,
        claims=coordinates,
    ),
    "equation_8": Table(
        {
            "product": "{product}",
            "spread of the ratio (95 % over 5 %)": "{spread:.3g}",
            "rank correlation": "{rank:.3f}",
            "cosine of the gradients": "{cosine:.3f}",
        },
        where=lambda row: "product" in row,
        claims=in_proportion,
    ),
    "iterations": Table(
        {"attack": "{attack}", "eps": "{eps:g}", "mean": "{what}", **STEPS},
        where=lambda row: "what" in row,
        claims=moves,
    ),
}
