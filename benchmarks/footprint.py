"""Predicted memory beside a real worker's: a zoo of geometries, weight types and settings.

Each model is written with random weights, its footprint is told without loading it, by llama.cpp's
account and by the formula; then a worker loads it and answers prompts that fill every slot's
context. Measured is what nobody can take back: anonymous and locked memory, as the kernel counts it
(/proc/PID/smaps_rollup). The weights of mapped models are in none of the figures.
"""

import asyncio
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from modelrouter import synthetic
from modelrouter.engine.footprints import measured
from modelrouter.engine.process import Engine
from modelrouter.generation import Generation, Piece
from modelrouter.gguf import read_facts
from modelrouter.memory.footprint import Footprint
from modelrouter.memory.process import held_bytes
from modelrouter.registry import Catalogue, ModelSpec
from modelrouter.synthetic import Geometry
from modelrouter.types import KvType, Sampling

MIB = 2**20
ALLOWED_BYTES, ALLOWED_SHARE = 16 * MIB, 0.03

GEOMETRIES: Mapping[str, Geometry] = {
    "MHA": Geometry(8, 1024, 2816, 16, 16, 8192, 32_000),
    "GQA": Geometry(8, 1024, 2816, 16, 4, 8192, 32_000, tied_embeddings=True),
    "MQA": Geometry(8, 1024, 2816, 16, 1, 8192, 128_256),
    "window": Geometry(12, 1024, 2816, 16, 4, 8192, 32_000, sliding_window=256),
    "experts": Geometry(4, 1024, 1024, 16, 4, 8192, 32_000, 8, 2),
    "wide": Geometry(2, 4096, 14_336, 32, 8, 8192, 128_256),
}
QUANTIZATIONS = ("Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "F16")
KV_TYPES: tuple[KvType, ...] = ("f16", "q8_0", "q4_0")
SLOTS = (1, 2, 4, 8)


class Case(NamedTuple):
    """A model of the zoo with its settings; `rows` are a pass's, and each slot's context."""

    geometry: str
    quantization: str
    is_resident: bool
    kv_type: KvType
    slots: int
    rows: int = 512


def zoo() -> Iterator[Case]:
    """Yield every geometry with every weight type; the settings take turns."""
    yield Case("wide", "Q4_K", is_resident=True, kv_type="f16", slots=2, rows=1024)
    yield Case("wide", "Q8_0", is_resident=False, kv_type="q8_0", slots=1, rows=2048)
    models = itertools.product([name for name in GEOMETRIES if name != "wide"], QUANTIZATIONS)
    for number, (geometry, quantization) in enumerate(models):
        turn = number + number // len(QUANTIZATIONS)
        is_resident, kv_type = turn % 4 != 3, KV_TYPES[turn % len(KV_TYPES)]
        yield Case(geometry, quantization, is_resident, kv_type, SLOTS[number % len(SLOTS)])


def spec_of(case: Case, path: Path) -> ModelSpec:
    """Return the spec of a case, whose file is at `path`, with the formula's footprint.

    Nothing is drafted: the logits of drafted rows are charged, and held only once drafts ride.
    """
    facts = read_facts(path)
    return ModelSpec(
        name=f"{case.geometry} {case.quantization}",
        facts=facts,
        is_resident=case.is_resident,
        context_tokens=case.rows,
        slots=case.slots,
        batch_rows=case.rows,
        kv_type=case.kv_type,
        threads=None,
        sampling=Sampling(),
    )


def account(spec: ModelSpec) -> Footprint:
    """Return the footprint that llama.cpp tells."""
    found = Catalogue({spec.name: (spec,)}, {spec.name: spec}, {}, {})
    return measured(found).specs[spec.name].footprint


async def most_bytes(spec: ModelSpec) -> int:
    """Load the model, fill all its slots, and return the most that its worker then held."""
    engine = await Engine.start(spec)
    answers = [_most_while_answering(engine, spec, str(number)) for number in range(spec.slots)]
    most = max(await asyncio.gather(*answers))
    await engine.stop()
    return most


async def _most_while_answering(engine: Engine, spec: ModelSpec, begin: str) -> int:
    """Ask with a prompt that leaves room for a few tokens; look whenever something comes."""
    piece = Piece(begin + " read" * (spec.context_tokens - 24), special=False)  # a token each
    most = 0
    async for _ in engine.submit(Generation((piece,), spec.sampling, 16)):
        most = max(most, held_bytes(engine.pid))
    return most


def row(case: Case, told: Footprint, formula: Footprint, taken: int) -> str:
    """Return a case's line of the table."""
    off = taken - told.total_bytes
    kind = "resident" if case.is_resident else "mapped"
    figures = (
        told.plain_bytes,
        told.repacked_bytes,
        told.kv_bytes,
        told.compute_bytes + told.output_bytes,
        told.worker_bytes,
        told.total_bytes,
        formula.total_bytes,
        taken,
    )
    cells = " | ".join(f"{figure / MIB:.1f}" for figure in figures)
    size = f"{case.slots} x {case.rows:,}"
    what = f"| {case.geometry} | {case.quantization} | {kind} | {case.kv_type} | {size} "
    return f"{what}| {cells} | {off / MIB:+.1f} | {off / told.total_bytes:+.1%} |"


HEADINGS = (
    "geometry", "weights", "residency", "KV type", "slots", "plain", "repacked", "KV", "compute",
    "worker", "told", "formula", "measured", "off", "",
)  # fmt: skip


async def main() -> None:
    """Print the table, and the worst of it."""
    worst_bytes, worst_share, is_within = 0, 0.0, True
    print(f"MiB; {os.cpu_count()} processors")
    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * 5}{'--:|' * (len(HEADINGS) - 5)}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        path = Path(folder, "model.gguf")
        for case in zoo():
            synthetic.write(path, GEOMETRIES[case.geometry], case.quantization)
            spec = spec_of(case, path)
            told = account(spec)
            taken = await most_bytes(spec)
            print(row(case, told, spec.footprint, taken), flush=True)
            off, allowed = abs(taken - told.total_bytes), ALLOWED_SHARE * told.total_bytes
            worst_bytes = max(worst_bytes, off)
            worst_share = max(worst_share, off / told.total_bytes)
            is_within &= told.origin == "llama.cpp" and off <= max(ALLOWED_BYTES, allowed)
    print(f"\nworst: {worst_bytes / MIB:.1f} MiB, {worst_share:.1%}")
    sys.exit(0 if is_within else "a prediction is off by more than 3% and 16 MiB")


asyncio.run(main())
