"""A hole's path through a whole app: which model fills it, by which layout, and what is kept.

`filler` has the markers of Qwen2.5-Coder, `plain` is the same file without them.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from modelrouter.app import App
from modelrouter.config import find_config
from modelrouter.errors import ModelRouterError, NotOffered, RequestError
from modelrouter.formats import AnswerFormat
from modelrouter.generation import Usage
from modelrouter.reply import Reply
from modelrouter.types import Extra, Hole, Message, Request

MODELS_TOML = """\
version = 1
policy = "test"
[budget]
ram = "1GiB"
reserve = "0MiB"
[models.plain]
path = {path}
context = 512
threads = 1
fim = "none"
[models.filler]
path = {path}
context = 512
threads = 1
[roles]
code = {code}
"""

POLICY = """\
description = "Everything goes to code."
without_fim = "{without_fim}"
[otherwise]
use = ["code"]
when_full = "wait"
"""

HOLE = Hole("def read(self", "):\n    return self.value\n", (Extra("a.py", "import os\n"),))


def opened(folder: Path, model: Path, *code: str, without_fim: str = "continue") -> App:
    """Return an app whose role `code` has these models."""
    (folder / "policies").mkdir()
    (folder / "policies" / "test.toml").write_text(POLICY.format(without_fim=without_fim))
    file = folder / "models.toml"
    file.write_text(MODELS_TOML.format(path=json.dumps(str(model)), code=json.dumps(code)))
    return App.open(find_config(file))


def filling(hole: Hole = HOLE, **settings: Any) -> Request:
    """Return a completion of a few tokens, always the same ones."""
    given = {"max_tokens": 8, "sampling": {"temperature": 0}, **settings}
    return Request(hole=hole, task="completion", **given)


async def answered(app: App, request: Request) -> Reply:
    """Return the reply once it is whole."""
    async with app.router.ask(request) as reply:
        async for _ in reply:
            pass
    return reply


async def test_a_hole_is_code_and_goes_to_the_model_in_its_own_layout(
    tmp_path: Path, tiny_gguf: Path
) -> None:
    """The decision is the policy's; the layout is the chosen model's, and the reply says which."""
    async with opened(tmp_path, tiny_gguf, "plain") as app:
        plain = await answered(app, filling())
        filler = await answered(app, filling(model="filler"))
    assert (plain.model, plain.fim) == ("plain", "none")
    assert (filler.model, filler.fim) == ("filler", "qwen2.5-coder")
    assert plain.route.prediction.field == "code"
    assert filler.usage is not None
    assert plain.usage is not None
    assert filler.usage.prompt_tokens > plain.usage.prompt_tokens


async def test_a_policy_may_pass_over_models_that_do_not_fill_in(
    tmp_path: Path, tiny_gguf: Path
) -> None:
    """The next model is taken; where there is none, the caller is told."""
    async with opened(tmp_path, tiny_gguf, "plain", "filler", without_fim="refuse") as app:
        reply = await answered(app, filling())
    assert reply.model == "filler"
    assert [s.facts["model"] for s in reply.trace.steps if s.name == "pass over"] == ["plain"]


@pytest.mark.parametrize("named", [None, "code", "plain"])
async def test_a_policy_may_refuse_to_go_on_instead(
    tmp_path: Path, tiny_gguf: Path, named: str | None
) -> None:
    """Also where the request names the role or the model itself, as editors' settings do. The
    message begins with llama.cpp's words, which clients show.
    """
    async with opened(tmp_path, tiny_gguf, "plain", without_fim="refuse") as app:
        with pytest.raises(
            NotOffered, match=r"^Infill is not supported by this model: plain has no"
        ):
            await answered(app, filling(model=named))


@pytest.mark.parametrize("model", ["plain", "filler"])
async def test_a_hole_may_be_held_to_a_form(tmp_path: Path, tiny_gguf: Path, model: str) -> None:
    """What is filled in keeps to it, with markers and without."""
    form = AnswerFormat("gbnf", 'root ::= "return " [a-c]')
    async with opened(tmp_path, tiny_gguf, "filler") as app:
        reply = await answered(app, filling(model=model, max_tokens=32, answer_format=form))
    assert reply.text in {"return a", "return b", "return c"}


async def test_a_form_is_compiled_once_for_all_candidates(tmp_path: Path, tiny_gguf: Path) -> None:
    """A bad one is told before any candidate is looked at, and no model is loaded for it."""
    form = AnswerFormat.of_schema({"type": "object", "not": {}})
    async with opened(tmp_path, tiny_gguf, "plain", "filler") as app:
        with pytest.raises(RequestError, match="JSON schema cannot be used") as refused:
            await answered(app, Request((Message("user", "Hi"),), answer_format=form))
        assert not any(model.state == "ready" for model in app.scheduler.status().models)
    assert refused.value.trace is not None
    assert [step.name for step in refused.value.trace.steps] == ["classify", "decide"]


async def test_a_warm_up_makes_the_next_prompt_short(tmp_path: Path, tiny_gguf: Path) -> None:
    """It answers nothing, is never kept, and what it read is not read again."""
    async with opened(tmp_path, tiny_gguf, "filler") as app:
        for _ in range(2):
            warm = await answered(app, filling(max_tokens=0))
            assert (warm.text, warm.finish, warm.cache_use) == ("", "length", "bypass")
        reply = await answered(app, filling())
    assert reply.usage is not None
    assert reply.usage.cached_tokens == reply.usage.prompt_tokens - 1
    assert warm.route.decision.rule == reply.route.decision.rule


async def test_a_warm_up_makes_room_for_whoever_comes(tmp_path: Path, tiny_gguf: Path) -> None:
    """Its slot is the only one: it ends where it is, also while its worker does not listen."""
    async with opened(tmp_path, tiny_gguf, "filler") as app:
        await answered(app, filling(max_tokens=1))
        pid = app.scheduler.status().of("filler").pid
        worker = psutil.Process(pid)
        worker.suspend()
        async with app.router.ask(filling(Hole("x = 1\n" * 60, ""), max_tokens=0)) as warm:
            second = asyncio.create_task(answered(app, filling()))
            assert [text async for text in warm] == []
        worker.resume()
        assert (await second).finish == "length"
    assert warm.usage == Usage(0, 0, 0)


async def test_a_warm_up_stands_behind_everybody_in_line(tmp_path: Path, tiny_gguf: Path) -> None:
    """Who comes later and waits for an answer has the slot before it."""
    ended = []

    async def ask(name: str, request: Request) -> None:
        await answered(app, request)
        ended.append(name)

    async with opened(tmp_path, tiny_gguf, "filler") as app, asyncio.TaskGroup() as tasks:
        await answered(app, filling(max_tokens=1))
        worker = psutil.Process(app.scheduler.status().of("filler").pid)
        worker.suspend()
        for n, (name, tokens) in enumerate({"first": 8, "warm-up": 0, "asked": 8}.items()):
            tasks.create_task(ask(name, filling(Hole(name, "x"), max_tokens=tokens)))
            while (place := app.scheduler.status().of("filler")).active + place.waiting <= n:
                await app.scheduler.news()
        worker.resume()
    assert ended == ["first", "asked", "warm-up"]


async def test_an_empty_warm_up_is_no_error(tmp_path: Path, tiny_gguf: Path) -> None:
    """An editor warms up an empty file too, whichever model it meets."""
    async with opened(tmp_path, tiny_gguf, "filler") as app:
        for model in ("filler", "plain"):
            empty = filling(Hole("", ""), max_tokens=0, model=model)
            assert (await answered(app, empty)).text == ""


async def test_a_hole_is_found_again_in_the_cache(tmp_path: Path, tiny_gguf: Path) -> None:
    """All of it is in the key, and the layout is told from there too."""
    other = (
        Hole(HOLE.prefix, HOLE.suffix),
        Hole(HOLE.prefix, HOLE.suffix + " ", HOLE.extras),
        Hole(HOLE.prefix, HOLE.suffix, (Extra("b.py", "import os\n"),)),
    )
    async with opened(tmp_path, tiny_gguf, "filler") as app:
        uses = [(await answered(app, filling(hole))).cache_use for hole in (HOLE, HOLE, *other)]
        again = await answered(app, filling())
    assert uses == ["miss", "hit", "miss", "miss", "miss"]
    assert again.fim == "qwen2.5-coder"


async def test_an_answer_cut_by_its_time_is_not_kept(tmp_path: Path, tiny_gguf: Path) -> None:
    """It says nothing about what the model would have said; a whole one is for all."""
    async with opened(tmp_path, tiny_gguf, "filler") as app:
        cut = await answered(app, filling(answer_seconds=1e-9))
        whole = await answered(app, filling(answer_seconds=60))
        hurried = filling(prompt_seconds=1e-9, answer_seconds=1e-9)
        assert (await answered(app, hurried)).cache_use == "hit"
    assert (cut.finish, whole.cache_use) == ("length", "miss")
    assert cut.usage is not None
    assert cut.usage.completion_tokens == 1
    assert whole.text.startswith(cut.text)


async def test_who_has_more_time_does_not_share_a_cut_answer(
    tmp_path: Path, tiny_gguf: Path
) -> None:
    """The same question at the same moment is asked once, but not for two lengths of time."""
    async with opened(tmp_path, tiny_gguf, "filler") as app:
        cut, whole = await asyncio.gather(
            answered(app, filling(answer_seconds=1e-9)), answered(app, filling())
        )
    assert cut.usage is not None
    assert whole.usage is not None
    assert (cut.usage.completion_tokens, whole.usage.completion_tokens) == (1, 8)


async def test_a_long_file_fits_any_context(tmp_path: Path, tiny_gguf: Path) -> None:
    """Nobody is refused for the length of the file that the cursor is in."""
    text = "    for i in range(len(lines)):  # 3.14159, 2.71828\n" * 900
    async with opened(tmp_path, tiny_gguf, "filler") as app:
        reply = await answered(app, filling(Hole(text, text, (Extra("a.py", text),))))
    assert reply.usage is not None
    assert reply.usage.prompt_tokens <= 512 - 8


async def test_a_hole_is_no_conversation(tmp_path: Path, tiny_gguf: Path) -> None:
    """The empty list of messages that it has in common with all others is not remembered."""
    async with opened(tmp_path, tiny_gguf, "filler") as app:
        await answered(app, filling())
        assert not app.router._conversations._models
        with pytest.raises(ModelRouterError):
            await answered(app, filling(model="nobody"))
