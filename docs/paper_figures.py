"""Makes docs/paper_figures/*.png: figures 1 and 2 of the SMIA paper on the synthetic cases of the three bundles.

python docs/paper_figures.py  # or: python docs/paper_figures.py ct_lung_segmentation
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

OVERLAYS = {"endoscopic_artefact_detection": ["artefacts"]}  # the paper's setting
OPTIONS = {
    "ct_lung_segmentation": [],
    "fundus_dr_grading": ["--eps", "$1/255", "--case", "1"],  # at the paper's eps no decision changes
    "endoscopic_artefact_detection": ["--frame_count", "1"],
}
COLORS = 256  # of a picture in the repository


def main() -> None:
    """Run the documented commands, and keep the pictures with few colors."""
    docs = Path(__file__).resolve().parent
    for name in sys.argv[1:] or OPTIONS:
        bundle = docs.parent / "bundles" / name
        configs = [
            str(bundle / "configs" / f"{config}.yaml")
            for config in ("attack_eval", *OVERLAYS.get(name, []), "paper_figures")
        ]
        with TemporaryDirectory() as folder:
            for figure in ("figure_1", "figure_2"):
                command = [sys.executable, "-m", "monai.bundle", "run", figure, "--config_file", str(configs)]
                command += ["--bundle_root", str(bundle), "--output_dir", folder, *OPTIONS[name]]
                subprocess.run(command, check=True)
                made = Image.open(Path(folder) / f"{figure}.png").convert("RGB")
                path = docs / "paper_figures" / f"{name}_{figure}.png"
                path.parent.mkdir(exist_ok=True)
                made.quantize(COLORS).save(path, optimize=True)


if __name__ == "__main__":
    main()
