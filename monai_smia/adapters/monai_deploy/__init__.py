"""Attack, degradation and shift steps of MONAI Deploy applications (needs the extra ``deploy``)."""

from __future__ import annotations

try:
    import monai.deploy.core  # noqa: F401
except ImportError as error:
    raise ImportError("monai-deploy-app-sdk is not installed: pip install 'monai_smia[deploy]'") from error

from monai_smia.adapters.monai_deploy.attack import AttackOperator
from monai_smia.adapters.monai_deploy.degradation import DegradationOperator
from monai_smia.adapters.monai_deploy.report import RobustnessReportOperator
from monai_smia.adapters.monai_deploy.shift import ShiftOperator

__all__ = ["AttackOperator", "DegradationOperator", "RobustnessReportOperator", "ShiftOperator"]
