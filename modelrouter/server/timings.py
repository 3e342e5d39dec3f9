"""How long an answer took, in the object that llama.cpp's clients read."""

from modelrouter.generation import Timings, Usage
from modelrouter.trace import Fact


def timings(usage: Usage, times: Timings) -> dict[str, Fact]:
    """Return tokens, milliseconds and paces; `prompt_n` tokens were read anew, `cache_n` were not.

    An answer from the result cache took no time at all, and has no pace.
    """
    return {
        "cache_n": usage.cached_tokens,
        **_pace("prompt", usage.prompt_tokens - usage.cached_tokens, times.prefill_seconds),
        **_pace("predicted", usage.completion_tokens, times.decode_seconds),
    }


def _pace(what: str, tokens: int, seconds: float) -> dict[str, Fact]:
    return {
        f"{what}_n": tokens,
        f"{what}_ms": round(seconds * 1000, 3),
        f"{what}_per_token_ms": round(seconds * 1000 / tokens, 3) if tokens else 0.0,
        f"{what}_per_second": round(tokens / seconds, 3) if seconds else 0.0,
    }
