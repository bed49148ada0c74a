"""A bundle under attack, or the tables of the SMIA paper on it: runs ``monai.bundle run`` and keeps its summary.

    python benchmarks/bundle_runs.py ct_lung_segmentation attack_eval --preset paper --dataset_dir CT
    python benchmarks/bundle_runs.py endoscopic_artefact_detection paper_tables+artefacts --frames_dir ENDOSCOPY
    python benchmarks/bundle_runs.py endoscopic_artefact_detection attack_eval --dataset_dir ENDOSCOPY

The second word is the id that runs, and with ``+`` further configs laid over ``attack_eval.yaml``. What follows
goes to ``monai.bundle run`` as it is. The one row of the results file is ``summary.json``. With ``--keep FOLDER`` the
run's own folder stays, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from bundle_tables import TABLES as TABLES  # for `documents.py`
from measured import ROOT, add_save, save

DATA = ("--dataset_dir", "--frames_dir")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", choices=sorted(path.name for path in (ROOT / "bundles").iterdir()))
    parser.add_argument("run", help="attack_eval or paper_tables, + configs")
    parser.add_argument("--keep", type=Path, help="folder of the run; without it, one that is removed")
    add_save(parser)
    arguments, overrides = parser.parse_known_args()
    bundle = ROOT / "bundles" / arguments.bundle
    run, *further = arguments.run.split("+")
    configs = [str(bundle / "configs" / f"{name}.yaml") for name in dict.fromkeys(["attack_eval", run, *further])]
    given = dict(zip(overrides[::2], overrides[1::2], strict=True))
    shipped = "model_artefacts.pt" if "artefacts" in further else "model.pt"
    weights = Path(given.get("--weights", bundle / "models" / shipped))
    with nullcontext(arguments.keep) if arguments.keep else tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "monai.bundle", "run", run, "--config_file", str(configs)]
        command += ["--bundle_root", str(bundle), "--output_dir", str(output), *overrides]
        subprocess.run(command, check=True)
        summary = json.loads((Path(output) / "summary.json").read_text(encoding="utf-8"))
    data = [given[name] for name in DATA if name in given]
    save(arguments.save, [summary], seeds=[int(given.get("--seed", 0))], weights=[weights], data=data)


if __name__ == "__main__":
    main()
