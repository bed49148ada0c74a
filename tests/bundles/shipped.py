"""The bundles of this repository: their configs, parsed or as workflows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow

BUNDLES = Path(__file__).parents[2] / "bundles"


@dataclass(frozen=True)
class Shipped:
    """One of them, by the name of its folder."""

    name: str

    @property
    def root(self) -> Path:
        return BUNDLES / self.name

    def configs(self, *names: str) -> list[str]:
        return [str(self.root / "configs" / f"{name}.yaml") for name in names]

    def metadata(self) -> dict[str, Any]:
        return json.loads((self.root / "configs" / "metadata.json").read_text())

    def parser(self, *names: str, **override: Any) -> ConfigParser:
        """The configs laid over each other, as ``--config_file``."""
        parser = ConfigParser()
        parser.read_config(self.configs(*names))
        parser.update({"bundle_root": str(self.root), **override})
        return parser

    def workflow(self, *names: str, workflow_type: str = "infer", **override: Any) -> ConfigWorkflow:
        """What ``python -m monai.bundle run`` makes of the configs, initialized."""
        flow = ConfigWorkflow(self.configs(*names), workflow_type=workflow_type, bundle_root=str(self.root), **override)
        flow.initialize()
        return flow


CT = Shipped("ct_lung_segmentation")
FUNDUS = Shipped("fundus_dr_grading")
ENDOSCOPY = Shipped("endoscopic_artefact_detection")
