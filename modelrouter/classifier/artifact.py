"""Reads and writes a trained classifier: plain arrays, and the manifest that vouches for them.

It knows nothing of prompts. Nothing is unpickled or used that its manifest does not vouch for.
"""

import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

import numpy as np
from numpy.typing import NDArray

from modelrouter.classifier.features import SETTINGS, WIDTH, Floats
from modelrouter.errors import ConfigError

FORMAT: Final = 3
MANIFEST_NAME: Final = "manifest.json"
SHIPPED: Final = Path(__file__).parent / "artifact"

NAMES: Final = {"arrays_sha256": "weights-{}.npz", "plot_sha256": "reliability-{}.png"}
"""The files beside the manifest, named after their hashes, which it has under these keys."""

_SHA256 = re.compile(r"[0-9a-f]{64}")

_NOT_ARRAYS = (
    ValueError,
    KeyError,
    TypeError,
    OSError,
    EOFError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy raises for an .npz that is cut, garbled, of another make, or holds objects."""

_HINT = "train it again; installing modelrouter again brings the shipped one back"


@dataclass(frozen=True, slots=True)
class Artifact:
    """Weights (fields x WIDTH) and bias (fields), calibrated: their softmax is the scores.

    Over the fields they sum to 0, so the file leaves out the last field's.
    """

    fields: tuple[str, ...]
    weights: Floats
    bias: Floats


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the scores of each row of logits (the last axis is the fields); a row sums to 1."""
    powers = np.exp((logits - logits.max(axis=-1, keepdims=True)).astype(np.float64))
    scores: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return scores


def read_artifact(folder: Path) -> Artifact:
    """Return the artifact in `folder`; ConfigError names the file and what differs."""
    fields, expected_sha256 = _read_manifest(folder / MANIFEST_NAME)
    arrays_file = folder / _name("arrays_sha256", expected_sha256)
    data = _read_bytes(arrays_file)
    found_sha256 = hashlib.sha256(data).hexdigest()
    if found_sha256 != expected_sha256:
        raise _refusal(
            arrays_file,
            f"its SHA-256 is {found_sha256[:12]}..., the manifest says {expected_sha256[:12]}...",
        )
    arrays = _read_arrays(arrays_file, data)
    _check_shape(arrays_file, "weights", arrays["weights"].shape, (len(fields) - 1, WIDTH))
    _check_shape(arrays_file, "bias", arrays["bias"].shape, (len(fields) - 1,))
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise _refusal(arrays_file, "it holds weights that are not finite numbers")
    return Artifact(fields, _with_last_field(arrays["weights"]), _with_last_field(arrays["bias"]))


def files_of(folder: Path) -> set[str]:
    """Return the names of the files that the manifest in `folder` stands for: none without one."""
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
        hashes = {key: manifest[key] for key in NAMES if key in manifest}
    except (OSError, ValueError, TypeError, RecursionError):
        return set()
    return {_name(key, found) for key, found in hashes.items() if _is_sha256(found)}


def check_folder(folder: Path) -> None:
    """Refuse, before any work is done for it, a folder that cannot be written into."""
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not nearest.is_dir():
        raise ConfigError(f"{folder} cannot be a folder: {nearest} is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder} cannot be written into: no permission for {nearest}")


def write_artifact(
    folder: Path, artifact: Artifact, facts: Mapping[str, object], plot: bytes
) -> None:
    """Write arrays, plot (a PNG) and manifest: all of them or none; `facts` join the manifest.

    Arrays and plot have their hashes in their names, so they lie beside those of the artifact that
    was there. Renaming the manifest exchanges the one for the other: whatever stops the writing
    before that, the folder holds the artifact it held.
    """
    contents = {"arrays_sha256": _archive(artifact), "plot_sha256": plot}
    hashes = {key: hashlib.sha256(data).hexdigest() for key, data in contents.items()}
    manifest = {
        "format": FORMAT,
        "fields": list(artifact.fields),
        "features": SETTINGS,
        **hashes,
        **facts,
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    new = {_name(key, hashes[key]): data for key, data in contents.items()}
    folder.mkdir(parents=True, exist_ok=True)
    before = files_of(folder)
    try:
        for name, data in new.items():
            _write_whole(folder / name, data)
        _write_whole(folder / MANIFEST_NAME, text.encode())
    finally:  # whichever of the two the manifest stands for now stays, and the other goes
        for name in (before | new.keys()) - files_of(folder):
            (folder / name).unlink(missing_ok=True)


def _name(key: str, sha256: str) -> str:
    return NAMES[key].format(sha256[:12])


def _is_sha256(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _archive(artifact: Artifact) -> bytes:
    """Return the arrays as the bytes of an .npz file."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        weights=artifact.weights[:-1].astype(np.float16),
        bias=artifact.bias[:-1].astype(np.float32),
    )
    return buffer.getvalue()


def _with_last_field(array: Floats) -> Floats:
    """Return the array with the row that the file leaves out: the one that makes all sum to 0.

    Its rows are contiguous: numpy would copy others whole to take a few columns of them.
    """
    return np.ascontiguousarray(np.concatenate([array, -array.sum(axis=0, keepdims=True)]))


def _write_whole(file: Path, data: bytes) -> None:
    """Write a file that is there whole, on the disk too, or not at all."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _read_manifest(file: Path) -> tuple[tuple[str, ...], str]:
    """Return the fields and the arrays' expected SHA-256, once all else in the manifest fits."""
    try:
        manifest: Any = json.loads(_read_bytes(file))
    except (ValueError, RecursionError) as error:
        raise _refusal(file, f"not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise _refusal(file, f"expected an object, got {type(manifest).__name__}")
    if manifest.get("format") != FORMAT:
        raise _refusal(file, f"format {manifest.get('format')}, this version reads {FORMAT}")
    _check_settings(file, manifest.get("features"))
    sha256 = manifest.get("arrays_sha256")
    if not _is_sha256(sha256):
        raise _refusal(file, f"arrays_sha256: expected 64 hex digits, got {sha256!r:.80}")
    return _checked_fields(file, manifest.get("fields")), sha256


def _check_settings(file: Path, settings: object) -> None:
    if not isinstance(settings, dict):
        raise _refusal(file, f"features: expected an object, got {type(settings).__name__}")
    for key in sorted(SETTINGS.keys() | settings.keys()):
        found, expected = settings.get(key), SETTINGS.get(key)
        if found != expected:
            raise _refusal(file, f"features.{key}: {_difference(found, expected)}")


def _difference(found: object, expected: object) -> str:
    if isinstance(found, list) and isinstance(expected, list):
        odd = sorted(set(map(str, found)) ^ set(map(str, expected)))
        return f"differs from this version's in {', '.join(odd) or 'its order'}"
    return f"{found!r:.60}, this version computes {expected!r:.60}"


def _checked_fields(file: Path, fields: object) -> tuple[str, ...]:
    names = [name for name in fields if isinstance(name, str)] if isinstance(fields, list) else []
    if len(set(names)) < 2 or names != fields or len(set(names)) != len(names):
        raise _refusal(file, f"fields: expected two or more different names, got {fields!r:.80}")
    return tuple(names)


def _read_arrays(file: Path, data: bytes) -> dict[str, Floats]:
    """Return `weights` and `bias` as float32; pickled objects are refused, not run."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {name: archive[name].astype(np.float32) for name in ("weights", "bias")}
    except _NOT_ARRAYS as error:
        raise _refusal(file, f"not the arrays of a classifier: {error}") from error


def _check_shape(file: Path, name: str, found: Sequence[int], expected: Sequence[int]) -> None:
    if tuple(found) != tuple(expected):
        raise _refusal(
            file, f"{name} has shape {_by(found)}, the manifest's fields need {_by(expected)}"
        )


def _by(shape: Sequence[int]) -> str:
    return " x ".join(f"{size:,}" for size in shape) or "a single number"


def _read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _refusal(file, f"cannot be read: {error.strerror}") from error


def _refusal(file: Path, what: str) -> ConfigError:
    return ConfigError(f"classifier {file}: {what}", hint=_HINT)
