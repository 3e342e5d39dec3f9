"""Who may ask: the API key, and which addresses need one."""

import ipaddress
import secrets

from fastapi import HTTPException, Request

from modelrouter.errors import ConfigError


class KeyCheck:
    """A dependency that refuses requests without the key, where there is one."""

    def __init__(self, api_key: str | None) -> None:
        """Ask for `api_key`; None lets everybody in, with any key or none."""
        self._api_key = api_key

    def __call__(self, request: Request) -> None:
        """Compare the key in constant time; 401 where it is missing or another."""
        if self._api_key is None:
            return
        given = request.headers.get("x-api-key") or _bearer(request.headers.get("authorization"))
        if not secrets.compare_digest(given.encode(), self._api_key.encode()):
            raise HTTPException(401, "this server needs its API key: Authorization: Bearer KEY")


def _bearer(header: str | None) -> str:
    scheme, _, key = (header or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def refuse_open_door(host: str, api_key: str | None) -> None:
    """Raise ConfigError where anybody on a network could use the models."""
    if api_key is None and not _is_loopback(host):
        raise ConfigError(
            f"{host} can be reached by other machines, and no API key is set",
            hint="set MODELROUTER_API_KEY, or listen on 127.0.0.1",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
