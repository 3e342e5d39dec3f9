"""`modelrouter route`: where a prompt would go and why, without an answer."""

import json
import sys
from typing import Any

from modelrouter.cli import options
from modelrouter.cli.prompt import messages
from modelrouter.client import find_server
from modelrouter.config import ConfigSource, find_config
from modelrouter.types import Request


def route(
    prompt: options.Prompt = None,
    *,
    model: options.Model = None,
    system: options.System = None,
    tag: options.Tags = None,
    as_json: options.AsJson = False,
    policy: options.Policy = None,
    config: options.Config = None,
) -> None:
    """Explain which model a question would go to, without asking it."""
    request = Request(messages(prompt, system), model=model, tags=frozenset(tag or ()))
    source = find_config(config)
    server = find_server(source, policy)
    explanation = _route_here(request, source, policy) if server is None else server.route(request)
    if as_json:
        sys.stdout.write(json.dumps(explanation, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(explanation)) + "\n")


def _route_here(request: Request, source: ConfigSource, policy: str | None) -> dict[str, Any]:
    from modelrouter.app import App
    from modelrouter.trace import Trace

    app = App.open(source, policy)
    trace = Trace()
    explanation = app.router.route(request, trace).to_json()
    return {**explanation, "elapsed_ms": round(trace.elapsed_ms(), 3)}


def _lines(explanation: dict[str, Any]) -> list[str]:
    second = explanation["runner_up"]
    lines = [
        f"field     {explanation['field']} {explanation['confidence']:.2f}",
        f"runner-up {second} {explanation['scores'][second]:.2f}",
        f"because   {_reasons(explanation['features'])}",
        f'rule      "{explanation["rule"]}" of {explanation["policy"]}, {explanation["when_full"]}',
    ]
    if explanation["task"] != "chat":
        lines.insert(0, f"task      {explanation['task']}")
    if explanation["stays"]:
        lines.append(f"stays     {explanation['stays']}")
    for number, candidate in enumerate(explanation["candidates"], 1):
        lines.append(f"{number:<9} {_candidate(candidate)}")
    lines += [f"skipped   {each['model']}: {each['reason']}" for each in explanation["skipped"]]
    return [*lines, f"took      {explanation['elapsed_ms']:.1f} ms"]


def _candidate(candidate: dict[str, Any]) -> str:
    """Return a candidate's name, how it came in, and how it stands."""
    role = f" ({candidate['role']})" if candidate["role"] else ""
    said = [candidate["state"]]
    if not candidate["fits"]:
        said.append("does not fit the budget")
    if candidate["waiting"]:
        said.append(f"{candidate['waiting']} waiting")
    if (seconds := candidate["first_token_seconds"]) is not None:
        said.append(f"begins in about {seconds:.1f} s")
    if (seconds := candidate["answer_seconds"]) is not None:
        said.append(f"done in about {seconds:.0f} s")
    return f"{candidate['model']}{role}: {', '.join(said)}"


def _reasons(features: list[dict[str, Any]]) -> str:
    said = [f"{feature['text']!r} {feature['weight']:+.2f}" for feature in features]
    return ", ".join(said) or "nothing in the prompt says so"
