"""The shape of models.toml: which keys there are and what each may say.

It reads no file and knows no place on disk; one value is looked at without the others' files.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from modelrouter.config.quantities import Duration, PositiveSize, Ram, Size
from modelrouter.config.table import Name, Names, Table, Text
from modelrouter.diagnose import suggestion
from modelrouter.gguf.fim import BY_NAME, Family, Order
from modelrouter.types import SAMPLING_RANGES, Drafts, KvType, Sampling

DEFAULT_POLICY = "balanced"

MOST_TOKENS = 2**31 - 1
"""llama.cpp counts tokens in 32 bits."""

PACKAGE_FILE = re.compile(r"package:(?P<package>[A-Za-z]\w*)/(?P<file>.+)")
HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s?#@*]+")

_LIST = Field(strict=False)
"""Strict pydantic takes no list for a tuple; what is in the list stays strict."""


def _path(value: str) -> str:
    if value.startswith("package:") and not PACKAGE_FILE.fullmatch(value):
        raise ValueError('expected "package:NAME/FILE"')
    return value


class Budget(Table):
    """`[budget]`: the memory that models may use. `ram` None means what is found at start."""

    ram: Ram | None = None
    reserve_bytes: Size = Field(default=2**30, alias="reserve")


def _host_name(value: str) -> str:
    if not HOST_NAME.fullmatch(value):
        raise ValueError("expected a host's name alone, without scheme, port or path")
    return value.lower()


def _origin(value: str) -> str:
    if not ORIGIN.fullmatch(value):
        raise ValueError('expected a web page\'s scheme and host: "https://chat.example.org"')
    return value.lower()


class Server(Table):
    """`[server]`: where to listen, who may come in, and how much and how long.

    `hosts` are names that requests may call this server by, besides addresses and localhost;
    `origins` are the web pages that may use it.
    """

    host: Text = "127.0.0.1"
    port: int = Field(default=8012, ge=0, le=65535)
    hosts: Annotated[tuple[Annotated[Text, AfterValidator(_host_name)], ...], _LIST] = ()
    origins: Annotated[tuple[Annotated[Text, AfterValidator(_origin)], ...], _LIST] = ()
    api_keys_file: Text | None = None
    max_body_bytes: PositiveSize = Field(default=2**24, alias="max_body")
    max_connections: int = Field(default=512, ge=8, le=65536)
    stop_within_seconds: Duration = Field(default=5.0, alias="stop_within")
    max_waiting: int = Field(default=64, ge=1)
    max_wait_seconds: Duration | None = Field(default=None, alias="max_wait")


class Cache(Table):
    """`[cache]`: answers kept on disk. `directory` None means the user's cache folder."""

    enabled: bool = True
    directory: Text | None = None
    size_bytes: PositiveSize = Field(default=2**30, alias="size")


def _sampling(name: str) -> Any:
    low, high = SAMPLING_RANGES[name]
    return Field(getattr(Sampling(), name), ge=low, le=high)


class SamplingTable(Table):
    """`[models.NAME.sampling]`: what requests of this model start from; types.Sampling's keys."""

    temperature: float = _sampling("temperature")
    top_k: int = _sampling("top_k")
    top_p: float = _sampling("top_p")
    min_p: float = _sampling("min_p")
    repeat_penalty: float = _sampling("repeat_penalty")
    frequency_penalty: float = _sampling("frequency_penalty")
    presence_penalty: float = _sampling("presence_penalty")
    seed: int | None = _sampling("seed")

    def to_sampling(self) -> Sampling:
        """Return the same as the value that requests carry."""
        return Sampling(**self.model_dump())


def _range(value: object) -> tuple[int, int]:
    ends = value if isinstance(value, list) and len(value) == 2 else [value, value]
    least, most = (end if type(end) is int else None for end in ends)
    if least is None or most is None:
        raise ValueError("expected a whole number, or the least and the most: [2048, 8192]")
    if least > most:
        raise ValueError(f"the least comes first: [{most}, {least}]")
    return least, most


def _within(low: int, high: int) -> AfterValidator:
    def check(value: tuple[int, int]) -> tuple[int, int]:
        if not low <= value[0] <= value[1] <= high:
            raise ValueError(f"must be from {low:,} to {high:,}")
        return value

    return AfterValidator(check)


NO_FIM = "none"


def _fim_family(value: str) -> str:
    known = [*BY_NAME, NO_FIM]
    if value not in known:
        raise ValueError(f"no such family{suggestion(value, known)}; there are {', '.join(known)}")
    return value


class FimTable(Table):
    """`[models.NAME.fim_markers]`: the markers of a model that no family of ours is like."""

    prefix: Text
    suffix: Text
    middle: str = ""
    repository: str = ""
    file: str = ""
    order: Order = "prefix-first"

    def to_family(self) -> Family:
        """Return the same as a family."""
        return Family("models.toml", **self.model_dump())


class ModelEntry(Table):
    """`[models.NAME]`: where a model's file is and how it runs.

    `context` counts tokens for each slot; None is the model's own training context, which the
    registry knows. It and `slots` are the least and the most that will do; a single number is
    both. `batch` counts tokens a step. `drafts` None means prompt lookup for mapped models that can
    go back to an earlier token, off for the others. None leaves `kv_type` to the registry, the
    number of `threads` to the engine. `fim` is a family of fill-in-the-middle markers, or "none";
    without it and `fim_markers` the file says it.
    """

    path: Annotated[Text, AfterValidator(_path)]
    residency: Literal["resident", "mapped"] = "mapped"
    context: (
        Annotated[tuple[int, int], PlainValidator(_range), _within(256, MOST_TOKENS)] | None
    ) = None
    slots: Annotated[tuple[int, int], PlainValidator(_range), _within(1, 64)] = (1, 1)
    kv_type: KvType | None = None
    drafts: Drafts | None = None
    threads: int | None = Field(default=None, ge=1, le=1024)
    batch: int = Field(default=512, ge=32, le=MOST_TOKENS)
    sampling: SamplingTable = SamplingTable()
    fim: Annotated[str, AfterValidator(_fim_family)] | None = None
    fim_markers: FimTable | None = None

    @model_validator(mode="after")
    def _has_one_way(self) -> Self:
        if self.fim is not None and self.fim_markers is not None:
            raise ValueError('"fim" names a family and "fim_markers" another: give one of them')
        return self


class ModelsFile(Table):
    """models.toml as a whole. A role lists models in order of preference."""

    version: Literal[1]
    policy: Text = DEFAULT_POLICY
    budget: Budget = Budget()
    server: Server = Server()
    cache: Cache = Cache()
    models: Annotated[Mapping[Name, ModelEntry], Field(min_length=1)]
    roles: Mapping[Name, Names] = {}
