"""The mix: a script of everything at once against a real server, its workers killed at random.

Two promises are held against what was seen: the budget is never exceeded, and no request is lost.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soak_asking import BROKEN, HUNG, LEFT, WHOLE, End
from soak_box import Box
from soak_crowd import Crowd
from soak_kills import PHASES, Killer
from soak_proc import Held
from soak_report import Proof, mib, table, verdict
from soak_script import Ask
from soak_server import Server
from soak_watch import Peaks, Watch

DIED_IN_LOAD = "while it loaded the model"
EXPECTED_LOG = "the worker was ended by signal 9 (SIGKILL)"
SHOWN = 10


@dataclass(frozen=True)
class Outcome:
    """All that was seen of one mix."""

    box: Box
    asks: Sequence[Ask]
    ends: Sequence[End]
    peaks: Peaks
    most: dict[str, Held]
    most_charged_bytes: int
    kills: Counter[str]
    still_busy: Sequence[str]
    left_behind: Sequence[int]
    log: Sequence[str]
    workers: int
    seconds: float

    @property
    def lost(self) -> list[End]:
        """The ends that no request of their kind may have."""
        return [end for end in self.ends if end.is_lost]

    @property
    def seeded_texts(self) -> list[list[str]]:
        """The answers to each question with a seed that was answered more than once."""
        texts = defaultdict(list)
        for end in self.ends:
            if end.ask.seeded and end.name == WHOLE:
                texts[end.ask.seeded].append(end.said)
        return [said for said in texts.values() if len(said) > 1]

    @property
    def odd_lines(self) -> list[str]:
        """Lines of the server's log that do not tell of a kill."""
        return [line for line in self.log if EXPECTED_LOG not in line]

    @property
    def deaths(self) -> Counter[str]:
        """How many requests a worker's death ended, by what the worker was at."""
        return Counter(_phase(end) for end in self.ends if end.name == "worker_died")


def _phase(end: End) -> str:
    if DIED_IN_LOAD in end.said:
        return "load"
    return "decode" if end.had_text else "prefill"


def run(
    box: Box,
    asks: Sequence[Ask],
    *,
    clients: int,
    kills: int,
    seed: int,
    group: Path | None = None,
) -> Outcome:
    """Work the script off with so many clients and kills, and return what was seen."""
    with Server(box, group) as server, Watch(box, server.pid) as watch:
        crowd = Crowd(server.url, asks, clients)
        with Killer(server, crowd, watch, kills, seed) as killer:
            crowd.work()
        still_busy = server.still_busy()
    return Outcome(
        box=box,
        asks=asks,
        ends=crowd.ends,
        peaks=watch.peaks,
        most={name: watch.most(name) for name in box.charges},
        most_charged_bytes=watch.most_charged_bytes(),
        kills=Counter(killer.done),
        still_busy=still_busy,
        left_behind=server.left_behind,
        log=server.log,
        workers=len(watch.workers),
        seconds=crowd.seconds,
    )


def proofs(outcome: Outcome) -> list[Proof]:
    """Return the promises, and whether they were kept."""
    return [
        _budget(outcome),
        _ledger(outcome),
        _charges(outcome),
        _lost(outcome),
        _killed(outcome),
        _slots(outcome),
        _seeds(outcome),
        _quiet(outcome),
    ]


def _budget(outcome: Outcome) -> Proof:
    peaks, budget_bytes = outcome.peaks, outcome.box.budget_bytes
    return Proof(
        "the workers never hold more than the budget",
        not peaks.violations and peaks.samples > 0,
        f"{len(peaks.violations)} of {peaks.samples:,} samples above {mib(budget_bytes)} MiB; "
        f"most {mib(peaks.held_bytes)}, margin {mib(budget_bytes - peaks.held_bytes)}",
    )


def _ledger(outcome: Outcome) -> Proof:
    budget_bytes = outcome.box.budget_bytes
    return Proof(
        "the workers alive together are never charged more than the budget",
        0 < outcome.most_charged_bytes <= budget_bytes,
        f"most {mib(outcome.most_charged_bytes)} of {mib(budget_bytes)} MiB",
    )


def _charges(outcome: Outcome) -> Proof:
    charges = outcome.box.charges.items()
    margins = {name: charge - outcome.most[name].anonymous_bytes for name, charge in charges}
    name = min(margins, key=margins.__getitem__)
    return Proof(
        "no worker holds more than its model is charged, pins apart",
        margins[name] >= 0,
        f"the least margin is {mib(margins[name])} MiB, of {name}",
    )


def _killed(outcome: Outcome) -> Proof:
    return Proof(
        "workers were killed in load, prefill and decode",
        all(outcome.kills[phase] for phase in PHASES),
        f"{outcome.kills.total()} workers, which ended {outcome.deaths.total()} requests",
    )


def _lost(outcome: Outcome) -> Proof:
    numbers = {end.ask.number for end in outcome.ends}
    ends, asks = len(outcome.ends), len(outcome.asks)
    names = Counter(end.name for end in outcome.ends)
    return Proof(
        "each request ends exactly once, whole or with an error that it may have",
        not outcome.lost and ends == len(numbers) == asks,
        f"{ends:,} ends of {asks:,} requests; {len(outcome.lost)} lost, "
        f"of which {names[HUNG]} hung and {names[BROKEN]} broken",
    )


def _slots(outcome: Outcome) -> Proof:
    return Proof(
        "who leaves or dies keeps no slot, and the server no worker",
        not outcome.still_busy and not outcome.left_behind,
        f"{len(outcome.still_busy)} models busy afterwards, "
        f"{len(outcome.left_behind)} workers left behind",
    )


def _seeds(outcome: Outcome) -> Proof:
    asked_again = outcome.seeded_texts
    changed = sum(len(set(said)) > 1 for said in asked_again)
    return Proof(
        "a question with a seed has one answer, whoever else is asking",
        bool(asked_again) and not changed,
        f"{changed} of {len(asked_again)} questions had more than one; "
        f"they were answered {sum(map(len, asked_again))} times",
    )


def _quiet(outcome: Outcome) -> Proof:
    said = "; ".join(outcome.odd_lines[:SHOWN])
    return Proof(
        "the server's log tells of the kills and of nothing else",
        not outcome.odd_lines,
        f"{len(outcome.log)} lines, {len(outcome.odd_lines)} of something else {said}".rstrip(),
    )


def report(outcome: Outcome, found: Sequence[Proof]) -> str:
    """Return the mix as Markdown."""
    parts = [_head(outcome), verdict(found), _lost_ones(outcome)]
    parts += [_ends(outcome), _memory(outcome), _kills(outcome)]
    return "\n\n".join(part for part in parts if part)


def _lost_ones(outcome: Outcome) -> str:
    """Return the first of the requests that were lost."""
    return "\n".join(
        f"- lost: {end.ask.number}, {end.ask.kind}: {end.name} {end.said[:200]}"
        for end in outcome.lost[:SHOWN]
    )


def _head(outcome: Outcome) -> str:
    peaks = outcome.peaks
    at_once = max(map(len, peaks.together), default=0)
    return (
        f"{len(outcome.asks):,} requests in {outcome.seconds:.0f} s; {outcome.workers} workers "
        f"were started, at most {at_once} lived at a time. {peaks.samples:,} samples, the longest "
        f"gap {peaks.longest_gap_seconds * 1000:.0f} ms, {peaks.torn} made again. "
        f"The server itself held at most {mib(peaks.server_bytes)} MiB."
    )


def _ends(outcome: Outcome) -> str:
    counts = Counter((end.ask.kind, end.name) for end in outcome.ends)
    names = sorted({name for _, name in counts}, key=lambda name: (name not in {WHOLE, LEFT}, name))
    kinds = list(dict.fromkeys(ask.kind for ask in sorted(outcome.asks, key=lambda a: a.kind)))
    rows = [[kind, *(counts[kind, name] or "" for name in names)] for kind in kinds]
    totals = [sum(counts[kind, name] for kind in kinds) for name in names]
    return table(("request", *names), [*rows, ["all", *totals]])


def _memory(outcome: Outcome) -> str:
    rows = []
    for name, charge in outcome.box.charges.items():
        most = outcome.most[name]
        margin = charge - most.anonymous_bytes
        rows.append((name, *map(mib, (charge, most.anonymous_bytes, margin, most.locked_bytes))))
    head = ("model", "charged, MiB", "held at most, MiB", "margin, MiB", "pinned at most, MiB")
    return table(head, rows)


def _kills(outcome: Outcome) -> str:
    rows = [(phase, outcome.kills[phase], outcome.deaths[phase]) for phase in PHASES]
    return table(("kill -9 in", "workers", "requests ended by it"), rows)
