"""``python -m monai_smia``."""

from monai_smia.cli import main

raise SystemExit(main())
