"""Thousands of clients that are idle, dripping or slow, and what that costs everybody else."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import harness  # noqa: E402

import figures  # noqa: E402, F401
from setting import Setting  # noqa: E402

chosen = harness.options()
setting = Setting(chosen)
try:
    code = harness.main("crowd", setting, chosen.only)
    setting.report(chosen.artefacts / "crowd.md")
finally:
    setting.close()
sys.exit(code)
