"""Python's `websockets` and `aiohttp` against `brolly demo` and `brolly dev`."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import harness  # noqa: E402

import calls, client, echoes, expiry, frames, gzipped, order, reconnect, sessions, slow  # noqa: E401, E402, F401
import squeezed, terminated, tunnel, with_aiohttp  # noqa: E401, E402, F401
from setting import Setting  # noqa: E402

chosen = harness.options()
setting = Setting(chosen)
try:
    code = harness.main("python", setting, chosen.only)
finally:
    setting.close()
sys.exit(code)
