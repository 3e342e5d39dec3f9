"""Which headers of a request the policy may see."""

from modelrouter.server.headers import SECRET_HEADERS, public_headers, tags_in


def test_tags_stand_between_commas() -> None:
    """Blanks around a word do not count, and neither do empty words."""
    assert tags_in({"x-modelrouter-tags": " night , batch,, "}) == {"night", "batch"}
    assert tags_in({}) == frozenset()


def test_no_rule_sees_a_key() -> None:
    """Headers come by lower-case name; those that carry secrets do not come."""
    headers = {name.title(): "secret" for name in SECRET_HEADERS} | {"User-Agent": "zed"}
    assert public_headers(headers) == {"user-agent": "zed"}
