"""Networks in a file as victims: TorchScript, programs of torch.export, ONNX."""

from __future__ import annotations

from monai_smia.adapters.model_file.evaluation import model_evaluation
from monai_smia.adapters.model_file.reading import load_network

__all__ = ["load_network", "model_evaluation"]
