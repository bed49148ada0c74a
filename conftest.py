"""What pytest leaves out where an SDK is not installed: modules that cannot be imported without it."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("holoscan") else ["monai_smia/adapters/monai_deploy/*"]
