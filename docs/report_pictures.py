"""Makes docs/report_*.png: the CT bundle's report on three synthetic thoraxes, on screens light and dark, and printed.

python docs/report_pictures.py  # needs Chromium and pdftoppm (poppler)
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from monai.bundle import ConfigParser

from monai_smia.attacks import BIM, PGD, SMIA, Noise
from monai_smia.data import write_ct_phantoms
from monai_smia.evaluation import PlannedAttack

QUIETLY = (  # draws the page, and asks nothing of a network
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


SIZES = {"desktop": (1280, 1300), "phone": (390, 1300)}
SCHEMES = {"": [], "_dark": ["--blink-settings=preferredColorScheme=0"]}


def main() -> None:
    """Evaluate, then photograph the page at both widths and in both schemes, and print it."""
    docs = Path(__file__).parent
    bundle = docs.parent / "bundles" / "ct_lung_segmentation"
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None or shutil.which("pdftoppm") is None:
        raise SystemExit("needs Chromium and pdftoppm on the path.")
    plan = [PlannedAttack()]
    for eps, radius in ((0.02, 28.0), (0.05, 70.0)):
        options = {"eps": radius, "clip": (-1024.0, 3071.0), "progress": False}
        attacks = [Noise(**options), *(attack(steps=3, **options) for attack in (BIM, PGD, SMIA))]
        plan += [PlannedAttack(attack, eps, "equal radius") for attack in attacks]
    with TemporaryDirectory() as folder:
        ct = write_ct_phantoms(Path(folder) / "ct", 3, size=(80, 80, 32), spacing=(3.0, 3.0, 6.0), seed=2000)
        parser = ConfigParser()
        parser.read_config(bundle / "configs" / "attack_eval.yaml")
        parser.update({"bundle_root": str(bundle), "output_dir": folder, "dataset_dir": str(ct), "split": None})
        parser["attacks"] = plan
        network = parser.get_parsed_content("network")
        network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
        parser.get_parsed_content("evaluation").run()
        page = (Path(folder) / "report.html").as_uri()
        quietly = [browser, *QUIETLY, f"--user-data-dir={folder}/profile"]
        for name, (width, height) in SIZES.items():
            for scheme, switches in SCHEMES.items():
                picture = f"--screenshot={docs / f'report_{name}{scheme}.png'}"
                subprocess.run([*quietly, f"--window-size={width},{height}", *switches, picture, page], check=True)
        printed = f"{folder}/report.pdf"
        subprocess.run([*quietly, "--no-pdf-header-footer", f"--print-to-pdf={printed}", page], check=True)
        first = ["-f", "1", "-singlefile", "-r", "100", "-png", printed, str(docs / "report_print")]
        subprocess.run(["pdftoppm", *first], check=True)


if __name__ == "__main__":
    main()
