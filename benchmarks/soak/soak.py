"""Long proofs with real processes: `soak.py mix cgroup long`, or some of them.

Each prints a report in Markdown; the exit status is 1 where a promise was broken. What they prove:
docs/memory.md.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import soak_long
import soak_mix
from soak_box import HEAVY, LIGHT, MIB, Box, build
from soak_cgroup import MemoryGroup, NoGroup, memory_group
from soak_proc import held
from soak_report import Proof, mib
from soak_script import script
from soak_server import Server

REQUESTS = 1000
CLIENTS = 12
KILLS = 30
SEED = 1
ROUNDS = 10
REQUESTS_A_ROUND = 1000
CACHE_BYTES = 32 * MIB
"""Room in the cgroup for mapped weights: of the largest model at a time. Without it nothing fails,
but each pass is read from disk.
"""
KERNEL_BYTES = 16 * MIB
"""Room for page tables, stacks, sockets, and what a server grows."""


def mix(folder: Path) -> list[Proof]:
    """The mix of requests under the router's own budget."""
    box = build(folder, HEAVY)
    outcome = _mixed(box)
    found = soak_mix.proofs(outcome)
    print(soak_mix.report(outcome, found))
    return found


def _mixed(box: Box, group: Path | None = None) -> soak_mix.Outcome:
    asks = script(box.models, REQUESTS, SEED)
    return soak_mix.run(box, asks, clients=CLIENTS, kills=KILLS, seed=SEED, group=group)


def cgroup(folder: Path) -> list[Proof]:
    """The same mix under a limit of the kernel's, just above budget and server."""
    box = build(folder, HEAVY)
    with Server(box) as server:
        server_bytes = held(server.pid).anonymous_bytes
    limit_bytes = box.budget_bytes + server_bytes + CACHE_BYTES + KERNEL_BYTES
    try:
        with memory_group() as group:
            group.limit(limit_bytes)
            box.forget_pages()
            outcome = _mixed(box, group.path)
            found = [_no_kill(group), *soak_mix.proofs(outcome)]
            print(_limits(box, server_bytes, limit_bytes, group))
    except NoGroup as error:
        print(f"Not proven: no memory cgroup can be made here. {error}")
        return []
    print(soak_mix.report(outcome, found))
    return found


def _no_kill(group: MemoryGroup) -> Proof:
    return Proof("the kernel kills nobody", group.kills == 0, f"oom_kill {group.kills}")


def _limits(box: Box, server_bytes: int, limit_bytes: int, group: MemoryGroup) -> str:
    peak = "not told" if group.peak_bytes is None else f"{mib(group.peak_bytes)} MiB"
    weights = sum(box.file_of(model.name).stat().st_size for model in box.models)
    return (
        f"The group's limit: {mib(limit_bytes)} MiB = budget {mib(box.budget_bytes)} + server "
        f"{mib(server_bytes)} + {mib(CACHE_BYTES)} of page cache + {mib(KERNEL_BYTES)} for the "
        f"kernel. Its peak: {peak}. The model files have {mib(weights)} MiB.\n"
    )


def long(folder: Path) -> list[Proof]:
    """Many short requests."""
    box = build(folder, LIGHT, room_for_all=True)
    outcome = soak_long.run(box, rounds=ROUNDS, requests_a_round=REQUESTS_A_ROUND)
    found = soak_long.proofs(outcome)
    print(soak_long.report(outcome, found))
    return found


SOAKS: Mapping[str, Callable[[Path], list[Proof]]] = {"mix": mix, "cgroup": cgroup, "long": long}


def main() -> None:
    """Run the soaks that are named, and say whether all their promises held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("soaks", nargs="+", choices=SOAKS, metavar="SOAK", help=", ".join(SOAKS))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all blocks are left, tidily
    broken: list[Proof] = []
    for name in parser.parse_args().soaks:
        print(f"## soak-{name}\n", flush=True)
        with tempfile.TemporaryDirectory(prefix="modelrouter-soak-") as folder:
            broken += [proof for proof in SOAKS[name](Path(folder)) if not proof.holds]
        print(flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
