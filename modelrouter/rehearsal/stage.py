"""The stage: a model file of random weights, beside the models of models.toml, for as long as it is
needed.

It knows files, disks and settings; nothing runs here. Whatever happens, the file goes.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from modelrouter import synthetic
from modelrouter.app import App
from modelrouter.classifier import Classifier
from modelrouter.config import ConfigSource, ModelEntry, Settings, load
from modelrouter.errors import CapacityError, NeverFits, RequestError
from modelrouter.memory.sizes import in_words
from modelrouter.registry import LEAST_CONTEXT_TOKENS
from modelrouter.synthetic import Geometry
from modelrouter.types import KvType

PREFIX = "modelrouter-rehearsal-"
MODEL_FILE = "model.gguf"
LOCK_FILE = "lock"


@dataclass(frozen=True, slots=True)
class Part:
    """A model to be rehearsed that is not there: its shape, and how it is to run.

    `context_tokens` and `slots` are the most; the plan may narrow them. `kv_type` None leaves it to
    the registry.
    """

    geometry: str
    quantization: str
    context_tokens: int = 1024
    slots: int = 4
    kv_type: KvType | None = None

    @property
    def shape(self) -> Geometry:
        """The geometry; RequestError for a name that is none."""
        return synthetic.geometry_named(self.geometry)

    @property
    def model(self) -> str:
        """What the model is called here; no model of models.toml can have a name with blanks."""
        return f"{self.geometry} ({self.quantization})"

    @property
    def n_bytes(self) -> int:
        """The size of its file; RequestError where the quantization does not fit the geometry."""
        return synthetic.planned_bytes(self.shape, self.quantization, name=self.geometry)

    def entry(self, path: Path) -> ModelEntry:
        """Return what models.toml would say of it."""
        tokens = min(self.context_tokens, self.shape.context_length)
        return ModelEntry.model_validate(
            {
                "path": str(path),
                "context": [min(tokens, LEAST_CONTEXT_TOKENS), tokens],
                "slots": [1, self.slots],
                "kv_type": self.kv_type,
            }
        )


class Stage:
    """A folder of its own for the part's file, inside this box's settings. Made by `staged`."""

    def __init__(self, part: Part, source: ConfigSource, folder: Path) -> None:
        """Check all that can be known before anything of size is written.

        Raises RequestError for an impossible part, NeverFits and CapacityError for a budget or a
        disk that is too small.
        """
        self.part = part
        self.n_bytes = part.n_bytes
        self.folder = folder.parent
        self._path = folder / MODEL_FILE
        self._classifier = Classifier.load()
        settings = load(source, fields=self._classifier.fields)
        self._settings = _undrafted(settings, {part.model: part.entry(self._path)})
        synthetic.write_hollow(self._path, part.shape, part.quantization, name=part.geometry)
        self.plan = App(self._settings, self._classifier)
        """The app as it will be, to be asked and not to be entered: its file is hollow."""
        self.plan.results.close()
        self._refuse_what_never_fits()
        refuse_small_disk(self.folder, self.n_bytes)

    @property
    def free_bytes(self) -> int:
        """What the disk has free."""
        return shutil.disk_usage(self._path.parent).free

    def write(self, progress: Callable[[int, int], None]) -> App:
        """Write the file, `progress` hears how much of how much; return the app that has it.

        CapacityError where the disk is full all the same.
        """
        part = self.part
        synthetic.write(
            self._path, part.shape, part.quantization, name=part.geometry, progress=progress
        )
        with self._path.open("rb+") as file:
            os.fsync(file.fileno())  # what is still to be written would slow what is read next
        os.utime(self._path, (0, 0))  # the same file each time, to all that is kept of models
        return App(self._settings, self._classifier)

    def _refuse_what_never_fits(self) -> None:
        model = self.part.model
        if (refusal := self.plan.scheduler.never_fits(model)) is None:
            return
        spec = self.plan.catalogue.specs[model]
        needs = spec.footprint
        parts = (
            f"{in_words(needs.kv_bytes)} for a context of {spec.context_tokens:,} tokens, "
            f"{in_words(needs.compute_bytes)} for passes, "
            f"{in_words(spec.window_bytes)} to read through, "
            f"{in_words(needs.output_bytes + needs.worker_bytes)} for the rest"
        )
        raise NeverFits(
            f"{refusal.message}; however little of it is pinned, it takes {parts}",
            hint="raise budget.ram, make fewer models resident, or rehearse a smaller geometry",
        )


@contextmanager
def staged(part: Part, source: ConfigSource, folder: Path) -> Iterator[Stage]:
    """Set the stage in a folder of its own inside `folder`; it is removed with the block.

    RequestError where nothing can be written there.
    """
    with _workspace(folder) as own:
        yield Stage(part, source, own)


def refuse_small_disk(folder: Path, n_bytes: int) -> None:
    """Raise CapacityError where a file of `n_bytes` does not fit into the folder's disk."""
    free_bytes = shutil.disk_usage(folder).free
    if n_bytes > free_bytes:
        missing = in_words(n_bytes - free_bytes)
        raise CapacityError(
            f"the file would take {in_words(n_bytes)}, and the disk of {folder} has "
            f"{in_words(free_bytes)} free",
            hint=f"free {missing}, name a folder on another disk (--folder), or rehearse a "
            "smaller geometry or quantization",
        )


def own_app(source: ConfigSource) -> App:
    """Return the app in which a model of models.toml is rehearsed, with its own file."""
    classifier = Classifier.load()
    return App(_undrafted(load(source, fields=classifier.fields), {}), classifier)


def _undrafted(settings: Settings, more: Mapping[str, ModelEntry]) -> Settings:
    """Add models, and have no model draft: then each token of an answer is a pass of its own."""
    models = {
        name: entry.model_copy(update={"drafts": "off"})
        for name, entry in {**settings.models_file.models, **more}.items()
    }
    return replace(settings, models_file=settings.models_file.model_copy(update={"models": models}))


@contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    """Make a folder inside `folder` that is locked while it is used, and remove it in the end.

    What a rehearsal has left that was killed is not locked any more: it goes first.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        own = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
    except OSError as error:
        raise RequestError(
            f"nothing can be written into {folder}: {error.strerror or error}",
            hint="name another folder with --folder",
        ) from error
    try:
        with (own / LOCK_FILE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for other in folder.glob(f"{PREFIX}*"):
                if other != own:
                    _remove_abandoned(other)
            yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove another rehearsal's folder where nobody holds its lock."""
    try:
        with (folder / LOCK_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return  # somebody works in it, or has not locked it yet
