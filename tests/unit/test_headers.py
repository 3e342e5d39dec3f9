"""Which headers of a request the policy may see, and what those of an answer tell."""

from modelrouter.server.headers import SECRET_HEADERS, path_headers, public_headers, tags_in
from modelrouter.trace import Trace


def test_tags_stand_between_commas() -> None:
    """Blanks around a word do not count, and neither do empty words."""
    assert tags_in({"x-modelrouter-tags": " night , batch,, "}) == {"night", "batch"}
    assert tags_in({}) == frozenset()


def test_no_rule_sees_a_key() -> None:
    """Headers come by lower-case name; those that carry secrets do not come."""
    headers = {name.title(): "secret" for name in SECRET_HEADERS} | {"User-Agent": "zed"}
    assert public_headers(headers) == {"user-agent": "zed"}


def test_a_path_tells_as_much_as_it_has_come_to() -> None:
    """The headers of a refused request: who was asked last, and the waits of all, added up."""
    trace = Trace()
    assert path_headers(trace) == {}
    trace.note("classify", field="code", confidence=0.5)
    trace.note("decide", rule="nächtlich", policy="p")
    trace.note("refused", model="small", code="slots_busy", waited_ms=1.25)
    trace.note("refused", model="large", code="queue_full", waited_ms=2.0)
    assert path_headers(trace) == {
        "x-modelrouter-confidence": "0.5000",
        "x-modelrouter-rule": "n%C3%A4chtlich",
        "x-modelrouter-model": "large",
        "x-modelrouter-queue-ms": "3.2",
    }
