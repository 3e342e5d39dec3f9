"""The performance: a model loaded beside the resident ones, pinned, asked alone and in company.

It goes through the same scheduler and engine as every request. It knows no file that was written
for it, and says nothing to anybody but how far it is.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from modelrouter.app import App
from modelrouter.classifier.progress import Progress
from modelrouter.errors import UnknownModel, did_you_mean
from modelrouter.generation import Done, Generation, Piece
from modelrouter.memory.process import read_bytes
from modelrouter.memory.speeds import Speed
from modelrouter.registry import ModelSpec
from modelrouter.rehearsal.decoding import decoded, ended
from modelrouter.rehearsal.findings import Box, Decoding, Findings, Prefill
from modelrouter.rehearsal.outlook import measure, outlook, speeds_of
from modelrouter.types import Sampling

WORD = " read"
"""A token in most vocabularies, and in a synthetic one."""

FIRST_PROMPT_TOKENS = 32
MOST_PROMPT_TOKENS = 512
FEWEST_TOKENS, MOST_TOKENS = 4, 64

PART_SECONDS = 15.0
"""About how long each part may take: that many tokens are decoded, within the bounds above."""

GREEDY = Sampling(temperature=0)

QUIET_SECONDS = 3.0
"""A pin that has not grown for so long has come to its end."""
LOOK_SECONDS = 0.1


def perform(
    app: App, model: str, written_seconds: float | None, progress: Progress, kept_in: Path
) -> Findings:
    """Run a model of the app's and return what was found; `kept_in` is where speeds are kept.

    Raises whatever keeps the model from running: UnknownModel, BadModelFile, NeverFits, LoadFailed,
    WorkerDied.
    """
    spec = _usable(app, model)
    if (refusal := app.scheduler.never_fits(model)) is not None:
        raise refusal
    progress("measuring memory, disk and CPU", 0, 0)
    known = measure([spec], kept_in)
    return asyncio.run(Performance(app, spec, progress, known).run(written_seconds))


class Performance:
    """One model's rehearsal, from the load to the last answer."""

    def __init__(
        self, app: App, spec: ModelSpec, progress: Progress, known: Mapping[str, Speed]
    ) -> None:
        """Prepare to run `spec` in the app; `known` are this box's speeds."""
        self._app = app
        self._scheduler = app.scheduler
        self._spec = spec
        self._progress = progress
        self._known = known
        self._asked = 0

    async def run(self, written_seconds: float | None) -> Findings:
        """Run it and return what was found."""
        spec, expected = self._spec, outlook(self._app, self._spec.name, self._known)
        async with self._app:
            load_seconds = await self._load()
            pin_seconds = await self._pin()
            prefill, pass_seconds = await self._read_prompts()
            tokens = _between(FEWEST_TOKENS, PART_SECONDS / pass_seconds, MOST_TOKENS)
            alone, from_disk = await self._decode_alone(tokens)
            together = await self._decode_together(tokens) if spec.slots > 1 else None
            return Findings(
                model=spec.name,
                file_bytes=sum(file.n_bytes for file in spec.facts.files),
                weights_bytes=spec.facts.weights_bytes,
                written_seconds=written_seconds,
                footprint_bytes=spec.charged_bytes,
                context_tokens=spec.context_tokens,
                slots=spec.slots,
                is_narrowed=spec.is_narrowed,
                is_resident=spec.is_resident,
                load_seconds=load_seconds,
                pin_seconds=pin_seconds,
                pinned_bytes=0 if spec.is_resident else self._pinned_bytes,
                touched_bytes=expected.one.touched_bytes,
                streamed_bytes=expected.one.streamed_bytes,
                predicted_seconds=expected.pace.seconds,
                alone=alone,
                together=together,
                prefill=prefill,
                read_bytes=from_disk,
                box=self._box(),
            )

    async def _load(self) -> float:
        """Load the resident models, then the one that is rehearsed; return its seconds."""
        model = self._spec.name
        residents = [name for name, spec in self._app.catalogue.specs.items() if spec.is_resident]
        for name in [*(name for name in residents if name != model), model]:
            async with self._telling_of_load(name):
                began = time.monotonic()
                await self._scheduler.load(name)
        return time.monotonic() - began

    @asynccontextmanager
    async def _telling_of_load(self, model: str) -> AsyncIterator[None]:
        """Tell how far the model's load is for as long as the block lasts."""

        async def tell() -> None:
            while True:
                share = self._scheduler.status().of(model).loaded_share
                done, total = (0, 0) if share is None else (round(share * 100), 100)
                self._progress(f"loading {model}", done, total)
                await self._scheduler.news()

        telling = asyncio.create_task(tell())
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.wait([telling])

    @property
    def _pinned_bytes(self) -> int:
        return self._scheduler.pinned_bytes  # of all models: residents have nothing to pin

    async def _pin(self) -> float:
        """Wait until as much is pinned as the plan has, or no more is; return the seconds."""
        share = next(s for s in self._app.plan.shares if s.wish.model == self._spec.name)
        began = grown_at = time.monotonic()
        before = self._pinned_bytes
        while before < share.pinned_bytes and time.monotonic() - grown_at < QUIET_SECONDS:
            self._progress("pinning its weights", before, share.pinned_bytes)
            await asyncio.sleep(LOOK_SECONDS)
            if self._pinned_bytes != before:
                before, grown_at = self._pinned_bytes, time.monotonic()
        return grown_at - began

    async def _read_prompts(self) -> tuple[Prefill, float]:
        """Read a short prompt, then one as long as its speed allows; return the larger one's time,
        and about how long a pass takes.
        """
        self._progress("reading prompts", 0, 0)
        short = await self._ask("first" + WORD * FIRST_PROMPT_TOKENS, 3)
        prefill = _prefill(short)
        passes = max(1, short.usage.completion_tokens - 1)
        pass_seconds = max(1e-6, short.timings.decode_seconds / passes)
        room = min(MOST_PROMPT_TOKENS, self._spec.context_tokens - FIRST_PROMPT_TOKENS)
        tokens = _between(0, prefill.tokens_per_second * PART_SECONDS, room)
        if tokens > 2 * FIRST_PROMPT_TOKENS:
            prefill = _prefill(await self._ask("second" + WORD * tokens, 1))
        return prefill, pass_seconds

    async def _decode_alone(self, tokens: int) -> tuple[Decoding, int | None]:
        """Decode one answer at a time; return that, and what a token had read from disk."""
        pid = self._scheduler.status().of(self._spec.name).pid
        before, asked = None if pid is None else read_bytes(pid), self._asked
        self._progress("decoding alone", 0, 0)
        passes, seconds = await decoded(self._ask, tokens, "alone")
        after = None if pid is None else read_bytes(pid)
        from_disk = None
        if before is not None and after is not None:
            from_disk = (after - before) // (passes + self._asked - asked)  # a prompt is a pass too
        return Decoding(1, passes, seconds / passes), from_disk

    async def _decode_together(self, tokens: int) -> Decoding:
        """Decode as many answers at once as there are slots."""
        slots = self._spec.slots
        self._progress(f"decoding {slots} at once", 0, 0)
        answers = await asyncio.gather(
            *(decoded(self._ask, tokens, f"{slot} of many") for slot in range(slots))
        )
        passes, seconds = (sum(part) for part in zip(*answers, strict=True))
        return Decoding(slots, int(passes), seconds / passes)

    async def _ask(self, text: str, max_tokens: int) -> Done:
        """Have a prompt answered, with a slot of the scheduler's."""
        self._asked += 1
        async with self._scheduler.lease(self._spec.name) as lease:
            pieces = (Piece(text, special=False),)
            return await ended(lease.generate(Generation(pieces, GREEDY, max_tokens)))

    def _box(self) -> Box:
        box = speeds_of(self._spec, self._known)
        assert box.memory is not None  # it was measured for this very model
        return Box(
            memory=box.memory.bytes_per_second,
            disk=None if box.disk is None else box.disk.bytes_per_second,
            decoding=None if box.decoding is None else box.decoding.bytes_per_second,
            budget_bytes=self._app.budget.models_bytes,
            resident_bytes=self._app.plan.resident_bytes,
        )


def _usable(app: App, model: str) -> ModelSpec:
    specs, unusable = app.catalogue.specs, app.catalogue.unusable
    if model in unusable:
        raise unusable[model]
    if model not in specs:
        raise UnknownModel(
            f'no model "{model}" in models.toml; there are {", ".join(specs)}',
            hint=did_you_mean(model, list(specs)),
        )
    return specs[model]


def _prefill(done: Done) -> Prefill:
    tokens = done.usage.prompt_tokens - done.usage.cached_tokens
    return Prefill(tokens, done.timings.prefill_seconds)


def _between(least: int, value: float, most: int) -> int:
    return max(least, min(most, int(value)))
