"""Reads and writes a trained classifier: plain arrays, and the manifest that vouches for them.

It knows nothing of prompts. Nothing is unpickled or used that its manifest does not vouch for.
"""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelrouter.classifier.features import SETTINGS, WIDTH, Floats
from modelrouter.errors import ConfigError

FORMAT: Final = 2
MANIFEST_NAME: Final = "manifest.json"
ARRAYS_NAME: Final = "weights.npz"
SHIPPED: Final = Path(__file__).parent / "artifact"

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
    manifest_file, arrays_file = folder / MANIFEST_NAME, folder / ARRAYS_NAME
    fields, expected_sha256 = _read_manifest(manifest_file)
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


def write_artifact(folder: Path, artifact: Artifact, facts: Mapping[str, object]) -> None:
    """Write arrays and manifest, each whole or not at all; `facts` are added to the manifest.

    The arrays come first: a stop between the two leaves a pair that `read_artifact` refuses.
    """
    buffer = io.BytesIO()
    np.savez(
        buffer,
        weights=artifact.weights[:-1].astype(np.float16),
        bias=artifact.bias[:-1].astype(np.float32),
    )
    data = buffer.getvalue()
    manifest = {
        "format": FORMAT,
        "fields": list(artifact.fields),
        "features": SETTINGS,
        "arrays_sha256": hashlib.sha256(data).hexdigest(),
        **facts,
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    _write_whole(folder / ARRAYS_NAME, data)
    _write_whole(folder / MANIFEST_NAME, text.encode())


def _with_last_field(array: Floats) -> Floats:
    """Return the array with the row that the file leaves out: the one that makes all sum to 0."""
    return np.concatenate([array, -array.sum(axis=0, keepdims=True)])


def _write_whole(file: Path, data: bytes) -> None:
    partial = file.with_name(f".{file.name}.partial")
    partial.write_bytes(data)
    partial.replace(file)


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
    if not isinstance(sha256, str):
        raise _refusal(file, f"arrays_sha256: expected a text, got {sha256!r:.80}")
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
