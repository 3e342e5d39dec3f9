"""The engine over a real worker: answers, cancelled answers, and models that cannot be loaded.

The model is the tiny one; its answers mean nothing and are the same every time.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from talking import ENDLESS, answer, failure, first_text, started, submit

from modelrouter.engine.process import Engine
from modelrouter.errors import LoadFailed, PromptTooLong, RequestError
from modelrouter.generation import Usage
from modelrouter.registry import ModelSpec


@pytest.fixture
async def engine(tiny_spec: ModelSpec) -> AsyncIterator[Engine]:
    """The tiny model, loaded."""
    async with started(tiny_spec) as engine:
        yield engine


# ---- answers ------------------------------------------------------------------------------------


async def test_a_load_tells_its_progress(tiny_spec: ModelSpec) -> None:
    """Fractions rise to 1, then the engine knows its context."""
    fractions: list[float] = []
    engine = await Engine.start(tiny_spec, fractions.append)
    await engine.stop()
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert engine.context_tokens == 512


async def test_text_streams_and_ends_with_done(engine: Engine) -> None:
    """Deltas, then one Done with the counts, then nothing more."""
    stream = submit(engine)
    text, end = await answer(stream)
    assert text
    assert end.finish == "length"
    assert end.usage == Usage(prompt_tokens=5, completion_tokens=8, cached_tokens=0)
    assert end.timings.prefill_seconds > 0
    assert end.timings.decode_seconds > 0
    assert [event async for event in stream] == []


async def test_more_requests_than_slots(engine: Engine) -> None:
    """Eight at once on two slots give what each gives alone."""
    prompts = [f"{'def read(self) ' * number}{number}" for number in range(8)]
    alone = [(await answer(submit(engine, prompt)))[0] for prompt in prompts]
    together = await asyncio.gather(*(answer(submit(engine, prompt)) for prompt in prompts))
    assert [text for text, _ in together] == alone
    assert len(set(alone)) > 4


async def test_a_stop_string_ends_the_answer(engine: Engine) -> None:
    """The answer is cut where the string would begin, and the end says which it was."""
    text, _ = await answer(submit(engine))
    stop = text[3:5]
    cut, end = await answer(submit(engine, stop=("never", stop)))
    assert cut == text[: text.index(stop)]
    assert (end.finish, end.stopped_by) == ("stop", stop)
    _, uncut = await answer(submit(engine))
    assert uncut.stopped_by is None


async def test_a_prompt_that_is_too_long(engine: Engine) -> None:
    """It is refused with the numbers, and the engine goes on."""
    error = await failure(answer(submit(engine, "0" * 600)))
    assert isinstance(error, PromptTooLong)
    assert error.message == (
        "the prompt has 600 tokens; the model's context holds 512, "
        "and the answer needs at least one of them"
    )
    assert error.hint is not None
    assert await answer(submit(engine))


async def test_an_empty_prompt(engine: Engine) -> None:
    """The caller is told, not the worker ended."""
    error = await failure(answer(submit(engine, "")))
    assert type(error) is RequestError
    assert error.message == "the prompt has no tokens"


async def test_text_that_cannot_be_sent_is_not_waited_for(engine: Engine) -> None:
    """A request that never went out leaves nothing behind in the engine."""
    with pytest.raises(UnicodeEncodeError):
        submit(engine, stop=("\ud800",))
    assert engine._streams == {}


# ---- cancelling ---------------------------------------------------------------------------------


async def test_a_cancelled_answer_frees_its_slot(long_spec: ModelSpec) -> None:
    """Of two answers of thousands of tokens one is given up; a third request takes its place."""
    async with started(long_spec) as engine:
        talkers = [submit(engine, text, max_tokens=None, sampling=ENDLESS) for text in "ab"]
        for talker in talkers:
            await first_text(talker)
        waiting = submit(engine, "c")
        talkers[0].cancel()
        await answer(waiting)
        await first_text(talkers[1])
        assert [event async for event in talkers[0]] == []
        assert talkers[1]._events.qsize() < 2000  # it has a token in every pass, of 4,000
        talkers[1].cancel()


async def test_a_cancelled_prompt_stops_in_prefill(long_spec: ModelSpec) -> None:
    """The rest of a long prompt is not worked through for nobody."""
    async with started(replace(long_spec, slots=1)) as engine:
        text = "0123456789" * 400
        submit(engine, text).cancel()
        _, end = await answer(submit(engine, text[:1000]))
        assert end.usage.prompt_tokens == 1000
        assert end.usage.cached_tokens < 900


async def test_cancelling_twice_and_after_the_end(engine: Engine) -> None:
    """Only the first call does something, and none of it harms the others."""
    stream, other = submit(engine), submit(engine, "other")
    await answer(stream)
    stream.cancel()
    stream.cancel()
    other.cancel()
    other.cancel()
    assert [event async for event in other] == []
    assert await answer(submit(engine))
    assert engine._streams == {}


def anonymous_bytes(pid: int) -> int:
    """Return the memory of a process that no file backs."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon:"))


async def test_a_worker_stays_inside_its_footprint(engine: Engine, tiny_spec: ModelSpec) -> None:
    """What the budget is charged covers what the process really took."""
    await answer(submit(engine))
    assert anonymous_bytes(engine.pid) <= tiny_spec.footprint.total_bytes


# ---- loads that fail ----------------------------------------------------------------------------


def with_file(spec: ModelSpec, path: Path, content: bytes) -> ModelSpec:
    """Return the spec with another file in the place of its own."""
    path.write_bytes(content)
    return with_path(spec, path)


def beginning(spec: ModelSpec) -> bytes:
    """Return the bytes of a spec's file but for the last of its weights."""
    return spec.facts.path.read_bytes()[:-10_000]


def with_path(spec: ModelSpec, path: Path) -> ModelSpec:
    """Return the spec as if its file had been at `path` when the catalogue was made."""
    return replace(spec, facts=replace(spec.facts, path=path))


async def last_words(spec: ModelSpec) -> str:
    """Return what llama.cpp said before a load failed."""
    error = await failure(Engine.start(spec))
    assert isinstance(error, LoadFailed)
    what, _, words = error.message.partition("; its last words: ")
    assert what == f"tiny: llama.cpp could not load {spec.facts.path}"
    return words


async def test_a_file_that_became_another(tiny_spec: ModelSpec, tmp_path: Path) -> None:
    """The catalogue read a model's header here; llama.cpp's own words tell what is there now."""
    spec = with_file(tiny_spec, tmp_path / "notes.gguf", b"buy milk")
    assert "invalid magic characters: 'buy '" in await last_words(spec)


async def test_a_file_that_was_cut_short(tiny_spec: ModelSpec, tmp_path: Path) -> None:
    """A download that stopped half-way is told from a broken program."""
    spec = with_file(tiny_spec, tmp_path / "cut.gguf", beginning(tiny_spec))
    assert "is not within the file bounds" in await last_words(spec)


async def test_last_words_of_any_length(tiny_spec: ModelSpec) -> None:
    """A worker that has very much to say is heard out, and the end of it is quoted."""
    words = await last_words(with_path(tiny_spec, Path("x" * 200_000)))
    assert 1000 < len(words) <= 5000
