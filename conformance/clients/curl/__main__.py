"""curl, and raw sockets where curl is too polite, against `brolly dev` and `brolly demo`."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import harness  # noqa: E402

import files, topics, streams, proxy, faults, messages, deadlines, commands, lifecycle, readme, barium  # noqa: E401, E402, F401
from setting import Setting  # noqa: E402

chosen = harness.options()
setting = Setting(chosen)
try:
    code = harness.main("curl", setting, chosen.only)
finally:
    setting.close()
sys.exit(code)
