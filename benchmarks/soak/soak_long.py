"""The long run: thousands of short requests over connections that are kept alive, and whether
anything grows.

The server is measured when all is quiet, between rounds: memory, threads, files, workers.
"""

import http.client
import json
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from soak_box import Box
from soak_proc import held, open_files, threads, workers_of
from soak_report import Proof, mib, table, verdict
from soak_server import Server

CONNECTIONS = 8
MOST_TOKENS = 4
POOL_THREADS = min(32, (os.cpu_count() or 1) + 4)
"""asyncio's own pool starts a thread when none is idle, up to so many."""

GROWTH = 0.05
QUESTIONS = 50
TIMEOUT_SECONDS = 60.0
PATH = "/v1/chat/completions"
HEADERS = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Measured:
    """The server after so many requests, while nobody asks anything. Bytes are anonymous memory;
    `files` are those on disk.
    """

    requests: int
    seconds: float
    server_bytes: int
    workers_bytes: int
    workers: int
    threads: int
    open_files: int
    files: int


@dataclass(frozen=True)
class Outcome:
    """All that was seen of a long run."""

    rounds: Sequence[Measured]
    failures: Sequence[str]
    left_behind: Sequence[int]
    log: Sequence[str]

    @property
    def requests_per_second(self) -> float:
        """The rate over all rounds, without the pauses in between."""
        return sum(each.requests for each in self.rounds[-1:]) / sum(
            each.seconds for each in self.rounds
        )


class Client:
    """One connection that is kept alive."""

    def __init__(self, address: str, models: Sequence[str], seed: int) -> None:
        """Ask the server at `address`, "host:port", for these models."""
        self._connection = http.client.HTTPConnection(address, timeout=TIMEOUT_SECONDS)
        self._models = models
        self._chance = random.Random(seed)

    def ask(self, count: int) -> list[str]:
        """Ask so often, one after the other; return what went wrong."""
        return [said for _ in range(count) if (said := self._ask_once()) is not None]

    def _ask_once(self) -> str | None:
        body = self._body()
        self._connection.request("POST", PATH, json.dumps(body), HEADERS)
        with self._connection.getresponse() as response:
            answer = response.read()
        is_whole = b"data: [DONE]" in answer if body["stream"] else b'"finish_reason"' in answer
        if response.status == http.client.OK and is_whole:
            return None
        return f"{response.status} {answer[-300:]!r}"

    def _body(self) -> dict[str, Any]:
        """A new question, or one of a few with a seed, which the cache may answer."""
        chance = self._chance
        is_new = chance.random() < 0.5
        number = chance.randrange(10**9) if is_new else chance.randrange(QUESTIONS)
        return {
            "model": chance.choice(self._models),
            "messages": [{"role": "user", "content": f"What is on line {number}?"}],
            "max_tokens": chance.randint(1, MOST_TOKENS),
            "stream": chance.random() < 0.5,
            "seed": None if is_new else 1,
        }

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def run(box: Box, *, rounds: int, requests_a_round: int) -> Outcome:
    """Ask rounds of requests over all connections, and measure after each."""
    measured: list[Measured] = []
    failures: list[str] = []
    share = requests_a_round // CONNECTIONS
    with Server(box) as server:
        address, models = server.url.removeprefix("http://"), list(box.charges)
        clients = [Client(address, models, seed) for seed in range(CONNECTIONS)]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for number in range(1, rounds + 1):
                started = time.monotonic()
                for said in pool.map(Client.ask, clients, [share] * CONNECTIONS):
                    failures += said
                seconds = time.monotonic() - started
                measured.append(_measure(server, number * share * CONNECTIONS, seconds))
        for client in clients:
            client.close()
    return Outcome(measured, failures, server.left_behind, server.log)


def _measure(server: Server, requests: int, seconds: float) -> Measured:
    workers = workers_of(server.pid)
    return Measured(
        requests=requests,
        seconds=seconds,
        server_bytes=held(server.pid).anonymous_bytes,
        workers_bytes=sum(held(pid).total_bytes for pid in workers),
        workers=len(workers),
        threads=threads(server.pid),
        open_files=open_files(server.pid),
        files=server.box.files(),
    )


def proofs(outcome: Outcome) -> list[Proof]:
    """Return the promises, and whether they were kept."""
    first, last = outcome.rounds[0], outcome.rounds[-1]
    server, workers = _growth(outcome, "server_bytes"), _growth(outcome, "workers_bytes")
    counts = ("workers", "open_files", "files")
    grown = [name for name in counts if getattr(last, name) > getattr(first, name)]
    numbers = ", ".join(
        f"{name.replace('_', ' ')} {getattr(first, name)} to {getattr(last, name)}"
        for name in counts
    )
    return [
        Proof(
            "all requests are answered",
            not outcome.failures,
            f"{last.requests:,} asked, {len(outcome.failures)} failed, "
            f"{outcome.requests_per_second:.0f}/s {'; '.join(outcome.failures[:3])}".rstrip(),
        ),
        Proof(
            f"the server grows by no more than {GROWTH:.0%}",
            server <= GROWTH,
            f"{mib(first.server_bytes)} to {mib(last.server_bytes)} MiB: {server:+.1%}",
        ),
        Proof(
            f"nor do its workers by more than {GROWTH:.0%}",
            workers <= GROWTH,
            f"{mib(first.workers_bytes)} to {mib(last.workers_bytes)} MiB: {workers:+.1%}",
        ),
        Proof("nothing piles up", not grown, numbers),
        Proof(
            "threads come and go within their pool",
            last.threads <= first.threads + POOL_THREADS,
            f"{first.threads} to {last.threads}",
        ),
        Proof(
            "nothing is left behind, and nothing complained of",
            not outcome.left_behind and not outcome.log,
            f"{len(outcome.left_behind)} workers, {len(outcome.log)} lines of log",
        ),
    ]


def _growth(outcome: Outcome, name: str) -> float:
    """Return by which share a figure is larger at the end than after the first round."""
    first: int = getattr(outcome.rounds[0], name)
    last: int = getattr(outcome.rounds[-1], name)
    return last / first - 1


def report(outcome: Outcome, found: Sequence[Proof]) -> str:
    """Return the run as Markdown."""
    head = ("requests", "server, MiB", "workers, MiB", "threads", "open files", "files", "per s")
    rows = []
    share = outcome.rounds[0].requests
    for each in outcome.rounds:
        sizes = mib(each.server_bytes), mib(each.workers_bytes)
        counts = each.threads, each.open_files, each.files
        rows.append((f"{each.requests:,}", *sizes, *counts, f"{share / each.seconds:.0f}"))
    return f"{CONNECTIONS} connections.\n\n{verdict(found)}\n\n{table(head, rows)}"
