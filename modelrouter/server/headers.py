"""What of an HTTP request's headers the policy may see: tags, and all but the secrets.

It knows no dialect: every one of them reads its headers here.
"""

from collections.abc import Mapping

TAGS_HEADER = "x-modelrouter-tags"

SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"}
)


def tags_in(headers: Mapping[str, str]) -> frozenset[str]:
    """Return the words between the commas of the tags' header."""
    words = (word.strip() for word in headers.get(TAGS_HEADER, "").split(","))
    return frozenset(word for word in words if word)


def public_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers by lower-case name, without those that carry keys."""
    return {
        name.lower(): value for name, value in headers.items() if name.lower() not in SECRET_HEADERS
    }
