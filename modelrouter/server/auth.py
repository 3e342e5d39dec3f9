"""Who may ask: the API keys, where they are written, and which addresses need one."""

import ipaddress
import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelrouter.errors import ConfigError

KEY_HEADERS = ("x-api-key", "api-key")
"""Anthropic's and Azure's headers; OpenAI's is `authorization`."""


class Keys:
    """The keys that open the door; with none, it is open to everybody, whatever key they bring."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Ask for one of `keys`."""
        self._keys = [key.encode() for key in keys]

    def __bool__(self) -> bool:
        """True where one is asked for."""
        return bool(self._keys)

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Tell whether one of the headers carries a key; it takes the same time for any wrong one.

        All are compared with all: stopping at the first that fits would tell which it was.
        """
        given = [_bearer(headers.get("authorization")), *(headers.get(h, "") for h in KEY_HEADERS)]
        found = [secrets.compare_digest(g.encode(), key) for g in given for key in self._keys]
        return not self._keys or any(found)


def _bearer(header: str | None) -> str:
    scheme, _, key = (header or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def read_keys(path: Path) -> list[str]:
    """Return the keys in a file, one a line; empty lines and those that begin with # are none.

    ConfigError where others could read them too, where there are none, and for a key that no HTTP
    header can carry.
    """
    try:
        with path.open(encoding="utf-8") as file:
            _refuse_open_file(path, os.fstat(file.fileno()).st_mode)
            lines = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"the API keys in {path} cannot be read: {reason}") from error
    keys = {number: line for number, line in enumerate(lines, 1) if line and line[0] != "#"}
    for number, key in keys.items():
        if not is_sendable(key):
            raise ConfigError(f"{path}:{number}: a key is made of printable ASCII, without blanks")
    if not keys:
        raise ConfigError(f"{path} holds no API key", hint="write one in it, on a line of its own")
    return list(keys.values())


def _refuse_open_file(path: Path, mode: int) -> None:
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            f"others can read the API keys in {path}: its mode is {stat.S_IMODE(mode):04o}",
            hint=f"chmod 600 {path}",
        )


def is_sendable(key: str) -> bool:
    """Tell whether an HTTP header can carry the key."""
    return key.isascii() and key.isprintable() and " " not in key


def refuse_open_door(host: str, keys: Keys) -> None:
    """Raise ConfigError where anybody on a network could use the models."""
    if not keys and not _is_loopback(host):
        raise ConfigError(
            f"{host} can be reached by other machines, and no API key is set",
            hint="set MODELROUTER_API_KEY or server.api_keys_file, or listen on 127.0.0.1",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
