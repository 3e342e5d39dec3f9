"""Footprints as llama.cpp tells them, and as real workers then take them.

Measured is what nobody can take back: a worker's anonymous and locked memory while it answers
prompts that fill the contexts of all its slots.
"""

import asyncio
import os
import shutil
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from talking import started

from modelrouter import synthetic
from modelrouter.engine.footprints import measured
from modelrouter.engine.process import Engine
from modelrouter.errors import ConfigError
from modelrouter.generation import Generation, Piece
from modelrouter.memory.footprint import Footprint
from modelrouter.memory.process import held_bytes
from modelrouter.registry import Catalogue, ModelSpec
from modelrouter.synthetic import Geometry

MIB = 2**20

GROUPED = Geometry(4, 512, 1536, 8, 2, 4096, 128_256, tied_embeddings=True)
WINDOW = Geometry(6, 512, 1536, 8, 1, 4096, 4096, sliding_window=128)
WIDE_HEADS = Geometry(4, 512, 1536, 8, 2, 4096, 4096, key_length=128)
EXPERTS = Geometry(2, 512, 512, 8, 8, 4096, 4096, 8, 2)


def catalogue_of(*specs: ModelSpec) -> Catalogue:
    """Return a catalogue of these models, each with one way to run."""
    ladders = {spec.name: (spec,) for spec in specs}
    return Catalogue(ladders, {spec.name: spec for spec in specs}, {}, {})


def told(spec: ModelSpec) -> Footprint:
    """Return the model's footprint as a start would have it."""
    return measured(catalogue_of(spec)).specs[spec.name].footprint


# ---- asking llama.cpp, and remembering ----------------------------------------------------------


def test_llama_cpp_is_asked(tiny_spec: ModelSpec) -> None:
    """The account takes the formula's place, and says so; the context agrees to the byte."""
    account = told(tiny_spec)
    assert tiny_spec.footprint.origin == "formula"
    assert account.origin == "llama.cpp"
    assert account.kv_bytes == tiny_spec.footprint.kv_bytes
    assert account.mapped_bytes == 0
    assert account.plain_bytes >= tiny_spec.facts.weights_bytes


def test_weights_of_a_mapped_model_stay_out_of_the_total(tiny_spec: ModelSpec) -> None:
    """They are told apart, as many as the file has."""
    mapped = told(replace(tiny_spec, is_resident=False))
    assert mapped.weights_bytes == 0
    assert mapped.mapped_bytes == tiny_spec.facts.weights_bytes


def spoiled(spec: ModelSpec) -> ModelSpec:
    """Put garbage in the place of the model's file, after its header was read."""
    spec.facts.path.write_bytes(b"garbage")
    return spec


@pytest.fixture
def own_spec(tiny_spec: ModelSpec, tmp_path: Path) -> ModelSpec:
    """The tiny model in a file of the test's own."""
    path = tmp_path / "own.gguf"
    shutil.copy(tiny_spec.facts.path, path)
    return replace(tiny_spec, facts=replace(tiny_spec.facts, path=path))


def test_a_file_is_asked_about_once(own_spec: ModelSpec) -> None:
    """What was told is known at the next start: no probe reads the file again."""
    first = told(own_spec)
    assert told(spoiled(own_spec)) == first


def test_a_model_that_moved_is_known(own_spec: ModelSpec, tmp_path: Path) -> None:
    """Neither the file's place nor the number of threads is part of what is remembered."""
    first = told(own_spec)
    elsewhere = replace(own_spec.facts, path=tmp_path / "nowhere.gguf")
    assert told(replace(own_spec, facts=elsewhere, threads=7)) == first


def test_whatever_changes_the_footprint_is_asked_about(own_spec: ModelSpec) -> None:
    """Another file or another setting is not answered with what was told of this one."""
    told(own_spec)
    spoiled(own_spec)
    others = [
        replace(own_spec, facts=replace(own_spec.facts, fingerprint="0" * 32)),
        replace(own_spec, is_resident=False),
        replace(own_spec, context_tokens=1024),
        replace(own_spec, slots=3),
        replace(own_spec, batch_rows=64),
        replace(own_spec, kv_type="q8_0"),
    ]
    named = [replace(other, name=str(number)) for number, other in enumerate(others)]
    specs = measured(catalogue_of(own_spec, *named)).specs
    origins = [spec.footprint.origin for spec in specs.values()]
    assert origins == ["llama.cpp", *["formula"] * 6]


def test_the_formula_where_llama_cpp_gives_no_account(own_spec: ModelSpec) -> None:
    """A file that llama.cpp cannot read has the formula's footprint, and the others their own."""
    good = replace(own_spec, name="good", facts=own_spec.facts)
    path = own_spec.facts.path.with_name("bad.gguf")
    bad = spoiled(
        replace(own_spec, name="bad", facts=replace(own_spec.facts, path=path, fingerprint=""))
    )
    specs = measured(catalogue_of(bad, good)).specs
    assert list(specs) == ["bad", "good"]
    assert specs["bad"] == bad
    assert specs["good"].footprint.origin == "llama.cpp"


def test_probes_that_take_too_long_are_given_up(tiny_spec: ModelSpec) -> None:
    """A start does not wait for them, and the next one asks again."""
    found = catalogue_of(tiny_spec)
    assert measured(found, seconds=0).specs == found.specs
    assert told(tiny_spec).origin == "llama.cpp"


def test_a_damaged_memory_is_written_anew(own_spec: ModelSpec) -> None:
    """Damage costs one question."""
    first = told(own_spec)
    (file,) = Path(os.environ["XDG_CACHE_HOME"]).rglob("footprints.json")
    file.write_bytes(file.read_bytes()[:-10])
    again = told(own_spec)
    assert replace(again, worker_bytes=0) == replace(first, worker_bytes=0)
    assert told(spoiled(own_spec)) == again


def test_every_way_to_run_a_model_is_asked_about(own_spec: ModelSpec) -> None:
    """Each spec of a ladder gets its own account, and as if it were asked about alone, to 1 MiB.

    The file is opened once for all; what one context leaves behind is not counted to the next.
    """
    shapes = [(4096, 8), (4096, 2), (1024, 2), (256, 1)]
    ladder = tuple(
        replace(own_spec, context_tokens=tokens, slots=slots) for tokens, slots in shapes
    )
    together = measured(replace(catalogue_of(own_spec), ladders={"tiny": ladder}))
    assert together.specs["tiny"] == together.ladders["tiny"][0]
    for spec, asked in zip(ladder, together.ladders["tiny"], strict=True):
        facts = [replace(spec.facts, fingerprint=str(turn) * 32) for turn in range(3)]
        alone = [told(replace(spec, facts=each)) for each in facts]
        exact = replace(asked.footprint, worker_bytes=0)
        assert all(replace(each, worker_bytes=0) == exact for each in alone)
        worker_bytes = statistics.median(each.worker_bytes for each in alone)
        assert abs(worker_bytes - asked.footprint.worker_bytes) < MIB


def test_the_rest_of_the_catalogue_stays(tiny_spec: ModelSpec) -> None:
    """Roles, and the models that cannot be used with their reasons."""
    found = replace(
        catalogue_of(tiny_spec),
        unusable={"gone": ConfigError("no such file")},
        roles={"code": ("gone", "tiny")},
    )
    exact = measured(found)
    assert (exact.unusable, exact.roles) == (found.unusable, found.roles)
    assert exact.reasons == {"tiny": None, "gone": "no such file"}


# ---- what a worker takes ------------------------------------------------------------------------


async def most_while_answering(engine: Engine, spec: ModelSpec, begin: str) -> int:
    """Ask with a prompt that leaves room for a few tokens; look whenever something comes."""
    piece = Piece(begin + " read" * (spec.context_tokens - 24), special=False)  # a token each
    most = 0
    async for _ in engine.submit(Generation((piece,), spec.sampling, 16)):
        most = max(most, held_bytes(engine.pid))
    return most


@pytest.mark.parametrize(
    ("geometry", "quantization", "settings"),
    [
        (GROUPED, "Q4_K", {"residency": "resident", "slots": 2}),
        (EXPERTS, "Q8_0", {"residency": "mapped", "slots": 4, "kv_type": "q8_0"}),
        (WINDOW, "Q4_0", {"residency": "resident", "slots": 3, "kv_type": "q4_0"}),
        (WINDOW, "Q6_K", {"residency": "resident", "slots": 1}),
        (WIDE_HEADS, "Q4_K", {"residency": "mapped", "slots": 2}),
        (GROUPED, "Q4_K", {"residency": "mapped", "slots": 4, "drafts": "off"}),
        (EXPERTS, "F16", {"residency": "mapped", "slots": 2, "context": 1024, "batch": 1024}),
    ],
)
async def test_a_worker_takes_what_was_told(
    geometry: Geometry,
    quantization: str,
    settings: dict[str, str | int],
    tmp_path: Path,
    make_spec: Callable[..., ModelSpec],
) -> None:
    """Within 3% or 16 MiB, and never more than was told."""
    path = tmp_path / "model.gguf"
    synthetic.write(path, geometry, quantization)
    spec = make_spec(path, **{"context": 512, **settings})
    footprint = told(spec)
    async with started(spec) as engine:
        answers = [most_while_answering(engine, spec, str(slot)) for slot in range(spec.slots)]
        most = max(await asyncio.gather(*answers))
    allowed = max(16 * MIB, 0.03 * footprint.total_bytes)
    assert footprint.total_bytes - allowed <= most <= footprint.total_bytes
