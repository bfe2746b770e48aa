"""Checks, and how they are run and reported. Used by every suite that is written in Python.

A suite is a folder with a `__main__.py` that imports its files and calls `main`. A file defines checks:

    @check("what holds")
    def _(setting):
        equal(setting.dev.curl("/").status, 200)

`setting` is whatever the suite hands to `main`; checks run one after the other, but those marked `waits=True`, which
mostly wait for a deadline, run beside them from the start. A check may be an `async def`.
"""

import argparse
import asyncio
import concurrent.futures
import inspect
import os
import pathlib
import shutil
import signal
import sys
import threading
import time
import traceback

CLIENTS = pathlib.Path(__file__).resolve().parent
CHECKS = []
# Seconds after which an `async def` has hung.
ASYNC_LIMIT = 90
_PRINTING = threading.Lock()


class Check:
    def __init__(self, group, what, run, waits):
        self.name = f"{group}: {what}"
        self.run = run
        self.waits = waits


def check(what, waits=False):
    def register(run):
        group = pathlib.Path(run.__code__.co_filename).stem
        CHECKS.append(Check(group, what, run, waits))
        return run

    return register


def options():
    """What the runner says: the binary to test, where to put logs and pictures, which checks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--artefacts", required=True, type=pathlib.Path)
    parser.add_argument("--only", default="", help="run the checks whose names contain this")
    chosen = parser.parse_args()
    chosen.artefacts = chosen.artefacts.resolve()
    shutil.rmtree(chosen.artefacts, ignore_errors=True)
    chosen.artefacts.mkdir(parents=True)
    return chosen


def main(suite, setting, only=""):
    """Runs the checks: 0 if all passed, 1 if not. A TERM ends what was started, and then this process."""

    def end(*_):
        setting.close()
        os._exit(143)

    signal.signal(signal.SIGTERM, end)
    chosen = [one for one in CHECKS if only in one.name]
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(max_workers=32) as pool:
        waiting = [pool.submit(_run, one, setting) for one in chosen if one.waits]
        passed = [_run(one, setting) for one in chosen if not one.waits]
        passed += [one.result() for one in waiting]
    failed = passed.count(False)
    took = time.monotonic() - started
    print(f"{suite} on {setting.binary.name}: {len(passed)} checks in {took:.1f} s")
    print(f"{suite}: {passed.count(True)} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


def _run(one, setting):
    started = time.monotonic()
    try:
        if inspect.iscoroutinefunction(one.run):
            asyncio.run(asyncio.wait_for(one.run(setting), ASYNC_LIMIT))
        else:
            one.run(setting)
        trouble = None
    except Exception as error:  # whatever it is, it is the result of this check
        trouble = _describe(error)
    with _PRINTING:
        mark = "ok  " if trouble is None else "FAIL"
        print(f"  {mark} {one.name} ({time.monotonic() - started:.2f} s)", flush=True)
        if trouble:
            print("       " + trouble.replace("\n", "\n       "), flush=True)
    return trouble is None


def _describe(error):
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if str(CLIENTS) in frame.filename and frame.filename != __file__]
    places = [f"{pathlib.Path(frame.filename).relative_to(CLIENTS)}:{frame.lineno} {frame.line}" for frame in ours]
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    return "\n".join([f"{kind}{error}"[:2000], *places])


def fail(note):
    raise AssertionError(note)


def equal(actual, expected, note=""):
    if actual != expected:
        fail(f"{note + ': ' if note else ''}got {_short(actual)}, expected {_short(expected)}")


def one_of(actual, expected, note=""):
    if actual not in expected:
        fail(f"{note + ': ' if note else ''}got {_short(actual)}, expected one of {expected}")


def holds(condition, note):
    if not condition:
        fail(note)


def contains(text, part, note=""):
    if part not in text:
        fail(f"{note + ': ' if note else ''}{_short(part)} is not in {_short(text)}")


def lacks(text, part, note=""):
    if part in text:
        fail(f"{note + ': ' if note else ''}{_short(part)} is in {_short(text)}")


def eventually(condition, within=5.0, note="it never came true"):
    """Waits until `condition()` is truthy and returns it."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            fail(f"{note} (waited {within} s)")
        time.sleep(0.02)


def _short(value):
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:400]} … {text[-150:]} ({len(text)} characters)"


if not sys.version_info >= (3, 11):
    sys.exit("these checks need Python 3.11 or later")
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
