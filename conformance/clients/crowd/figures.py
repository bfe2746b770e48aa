"""What the figures must not exceed. The bounds of time are wide: machines that test are busy."""

from harness import check, equal, holds
from setting import DEADLINE

KIB, MIB = 2**10, 2**20
# Of resident memory for each idle connection: 512 bytes of state, and what allocators and tables round it up to.
IDLE_BYTES = 3 * KIB
# Bytes for each slow reader: a queue is filled up to 256 KiB, and read and send buffers are about as large.
READER_BYTES = 768 * KIB
# Seconds, whatever the crowd does.
MEDIAN, P99 = 0.05, 0.5


@check("idle connections cost little memory, and stay")
def _(setting):
    each = (setting.idle["rss"] - setting.alone["rss"]) / setting.idle_connections
    holds(each < IDLE_BYTES, f"{each:.0f} bytes for each of {setting.idle_connections} idle connections")
    equal(setting.alive, setting.idle_connections, "idle connections that are still open")


@check("idle connections cost no time")
def _(setting):
    more = setting.idle["cpu"] - setting.alone["cpu"]
    holds(more < 0.15, f"{more * 100:.0f} % more of a core with idle connections")


@check("dripping senders are cut off at their deadline")
def _(setting):
    equal(setting.left, 0, f"senders left {DEADLINE + 3} s later")
    for what, drips in setting.drips.items():
        holds(len(drips.ends) >= len(drips.crowd), f"{len(drips.ends)} ends of dripping {what}")
        told = {told for _, told in drips.ends}
        holds(told <= {b"HTTP/1.1 408", b""}, f"dripping {what} were told {told}")
        refused = sum(told != b"" for _, told in drips.ends) / len(drips.ends)
        holds(refused > 0.95, f"only {refused * 100:.0f} % of dripping {what} were told why")
        early, late = min(drips.ends)[0], max(drips.ends)[0]
        holds(DEADLINE - 1 <= early and late <= DEADLINE + 3, f"dripping {what} were put up with for {early} to {late} s")


@check("dripping senders cost little memory")
def _(setting):
    more = setting.dripping["rss"] - setting.idle["rss"]
    holds(more < 32 * MIB, f"{more / MIB:.1f} MiB more")


@check("slow readers cost no more than their queues, and are served")
def _(setting):
    count = sum(len(one.crowd) for one in setting.readers)
    more = setting.slow["rss"] - setting.dripping["rss"]
    holds(more < count * READER_BYTES, f"{more / MIB:.1f} MiB more for {count} readers")
    equal([one.cut for one in setting.readers], [0, 0], "readers that were cut off")
    holds(all(one.bytes > 2 * KIB * len(one.crowd) for one in setting.readers), "readers that got little")


@check("a slow backend is waited for")
def _(setting):
    equal(setting.waiters.faults, 0, "answers that are not 200")
    holds(setting.waiters.answers > 3 * len(setting.waiters.crowd), f"{setting.waiters.answers} answers")


@check("everybody else is served, and soon")
def _(setting):
    for step in setting.steps:
        equal(step["faults"], [], step["what"])
        holds(step["requests"] > 100, f"{step['what']}: {step['requests']} requests")
        holds(step["median"] < MEDIAN, f"{step['what']}: a median of {step['median'] * 1e3:.1f} ms")
        holds(step["p99"] < P99, f"{step['what']}: a p99 of {step['p99'] * 1e3:.1f} ms")
