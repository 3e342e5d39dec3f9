"""Tools that a model may have called, and the calls: OpenAI's function tools in our words.

A tool's parameters and a call's arguments stay JSON text: nobody here looks inside them.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from modelrouter.errors import RequestError
from modelrouter.formats import MOST_DEPTH, depth_of

MOST_TOOLS: Final = 128
NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")

Calling = Literal["auto", "none", "required"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask its caller to run; `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: str = '{"type":"object","properties":{}}'

    def __post_init__(self) -> None:
        """Refuse a name that could be mistaken for something else in a prompt."""
        if not NAME.fullmatch(self.name):
            raise RequestError(
                "a tool's name has 1 to 128 letters, digits and any of _.:/-, "
                f"got {self.name[:60]!r}"
            )

    @classmethod
    def of(cls, name: str, description: str | None, parameters: Any) -> "Tool":
        """Return a tool as a client describes it; no parameters are an object without any."""
        if parameters is None:
            return cls(name, description or "")
        if not isinstance(parameters, dict):
            raise RequestError(f"the parameters of the tool {name} are not a JSON schema")
        if depth_of(parameters) > MOST_DEPTH:
            raise RequestError(
                f"the parameters of the tool {name} nest deeper than {MOST_DEPTH} levels"
            )
        return cls(name, description or "", json.dumps(parameters, ensure_ascii=False))


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model asks for; `arguments` is a JSON object as text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of a request, and whether one must be called; `only` names the one that must."""

    tools: tuple[Tool, ...] = ()
    calling: Calling = "auto"
    only: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no answer could satisfy."""
        names = [tool.name for tool in self.tools]
        if len(names) > MOST_TOOLS:
            raise RequestError(f"{len(names)} tools are too many: {MOST_TOOLS} may be")
        if len(set(names)) < len(names):
            raise RequestError("two tools have the same name")
        if self.only is not None and self.only not in names:
            raise RequestError(f'tool_choice names "{self.only}", which is none of the tools')
        if self.calling == "required" and not self.tools:
            raise RequestError("tool_choice wants a tool to be called, and there are no tools")

    @property
    def shown(self) -> tuple[Tool, ...]:
        """The tools that the model is told of: none where none may be called."""
        return () if self.calling == "none" else self.tools

    @property
    def forced(self) -> tuple[Tool, ...]:
        """The tools of which one must be called; empty where none must be."""
        if self.calling != "required":
            return ()
        return tuple(tool for tool in self.tools if self.only in {None, tool.name})


NO_TOOLS: Final = Toolbox()
