"""`modelrouter ask`: the answer to stdout as it is generated, which model and why to stderr.

It asks the server that runs on this machine, or walks the same path in this process.
"""

import json
import sys
from contextlib import closing
from typing import Annotated, Any

import typer

from modelrouter.cli import options
from modelrouter.cli.prompt import messages
from modelrouter.cli.waiting import WaitLine, show_wait
from modelrouter.client import RemoteAnswer, find_server
from modelrouter.config import ConfigSource, find_config
from modelrouter.errors import RequestError
from modelrouter.types import Request, SamplingOverrides


def ask(
    prompt: options.Prompt = None,
    *,
    model: options.Model = None,
    system: options.System = None,
    tag: options.Tags = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(help="End the answer after this many tokens.", show_default=False),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 is the likeliest answer.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Make the answer repeatable.", show_default=False)
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Give up after this many seconds.", show_default=False)
    ] = None,
    stream: Annotated[bool, typer.Option(help="Print the answer as it comes.")] = True,
    cache: Annotated[bool, typer.Option(help="Use an answer given before.")] = True,
    as_json: options.AsJson = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Print every step.")] = False,
    policy: options.Policy = None,
    config: options.Config = None,
) -> None:
    """Ask a question; the model that suits it answers."""
    if max_tokens is not None and max_tokens < 1:  # 0 is a warm-up, which a person cannot ask for
        raise RequestError(f"max_tokens must be at least 1, got {max_tokens}")
    sampling: SamplingOverrides = {}
    if temperature is not None:
        sampling["temperature"] = temperature
    if seed is not None:
        sampling["seed"] = seed
    request = Request(
        messages(prompt, system),
        model=model,
        max_tokens=max_tokens,
        sampling=sampling,
        use_cache=cache,
        seconds=timeout,
        tags=frozenset(tag or ()),
    )
    source = find_config(config)
    server = find_server(source, policy)
    with closing(WaitLine()) as line:
        page = Page(line, as_json=as_json, is_streamed=stream and not as_json, is_verbose=verbose)
        if server is None:
            page.note(f"no server runs for {source.path}; answering in this process")
            _answer_here(request, source, policy, page)
        else:
            page.note(f"asking the server at {server.url}")
            _print_answer(server.ask(request, line.show), page)


def _answer_here(request: Request, source: ConfigSource, policy: str | None, page: "Page") -> None:
    """Walk the path in this process."""
    import asyncio

    from modelrouter.app import App

    async def answer() -> None:
        watching: list[asyncio.Task[None]] = []

        def watch(ticket: int) -> None:
            watching.append(asyncio.create_task(show_wait(app.scheduler, ticket, page.line)))

        async with App.open(source, policy) as app, app.router.ask(request, watch) as reply:
            async for text in reply:
                page.add(text)
            page.end(reply.to_json())

    asyncio.run(answer())


def _print_answer(answer: RemoteAnswer, page: "Page") -> None:
    for text in answer:
        page.add(text)
    page.end(answer.explanation)


class Page:
    """What the person sees."""

    def __init__(
        self, line: WaitLine, *, as_json: bool, is_streamed: bool, is_verbose: bool
    ) -> None:
        """Print text as it comes where `is_streamed`, else all at the end; `line` until then."""
        self.line = line
        self._as_json = as_json
        self._is_streamed = is_streamed
        self._is_verbose = is_verbose
        self._text = ""

    def note(self, text: str) -> None:
        """Say something about the work, where the person wants to know."""
        if self._is_verbose:
            sys.stderr.write(f"{text}\n")

    def add(self, text: str) -> None:
        """Take the next piece of the answer."""
        self.line.close()
        self._text += text
        if self._is_streamed:
            sys.stdout.write(text)
            sys.stdout.flush()

    def end(self, explanation: dict[str, Any]) -> None:
        """Print the rest, and the line that says which model answered and why."""
        self.line.close()
        if self._as_json:
            sys.stdout.write(
                json.dumps({"text": self._text, **explanation}, ensure_ascii=False) + "\n"
            )
            return
        if not self._is_streamed:
            sys.stdout.write(self._text)
        if not self._text.endswith("\n"):
            sys.stdout.write("\n")
        sys.stdout.flush()
        for step in explanation["trace"] if self._is_verbose else ():
            sys.stderr.write(f"{step.pop('at_ms'):10.1f} ms  {step.pop('step')}  {_facts(step)}\n")
        sys.stderr.write(f"{_summary(explanation)}\n")


def _facts(step: dict[str, Any]) -> str:
    return " ".join(f"{name}={json.dumps(fact, ensure_ascii=False)}" for name, fact in step.items())


def _summary(explanation: dict[str, Any]) -> str:
    """Return the line under an answer: field and confidence, rule, model, tokens, time, cache."""
    tokens = explanation["usage"]["completion_tokens"]
    parts = [
        f"{explanation['field']} {explanation['confidence']:.2f}",
        f'rule "{explanation["rule"]}"',
        explanation["model"],
        f"{tokens} tokens, {explanation['seconds']:.1f} s",
    ]
    if explanation["cache"] == "hit":
        parts.append("from the cache")
    if explanation["finish"] == "length":
        parts.append("cut off at the limit")
    return " · ".join(parts)
