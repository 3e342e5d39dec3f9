"""What is not a whole, matching artifact is refused by name, never used."""

import hashlib
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrouter.classifier import Classifier
from modelrouter.classifier.artifact import (
    SHIPPED,
    Artifact,
    files_of,
    read_artifact,
    write_artifact,
)
from modelrouter.classifier.features import WIDTH
from modelrouter.errors import ConfigError

HINT = "train it again; installing modelrouter again brings the shipped one back"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the shipped artifact to be damaged."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "artifact"))


def refusal(folder: Path) -> str:
    """Return the message with which the artifact in `folder` is refused, the folder left out."""
    with pytest.raises(ConfigError) as caught:
        Classifier.load(folder)
    assert caught.value.hint == HINT
    said = caught.value.message.replace(str(folder), "FOLDER")
    return re.sub(r"weights-[0-9a-f]{12}\.npz", "weights-HASH.npz", said)


def edit_manifest(folder: Path, **changes: Any) -> None:
    """Change top-level entries of the manifest."""
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def plant(folder: Path, data: bytes) -> None:
    """Replace the arrays, and make the manifest vouch for them."""
    sha256 = hashlib.sha256(data).hexdigest()
    (folder / f"weights-{sha256[:12]}.npz").write_bytes(data)
    edit_manifest(folder, arrays_sha256=sha256)


def archive(**arrays: Any) -> bytes:
    """Return the bytes of an .npz file; objects in it are pickled."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


def single_array() -> bytes:
    """Return the bytes of an .npy file: one array without a name."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(2))
    return buffer.getvalue()


def garbled_archive() -> bytes:
    """Return a compressed .npz file with a hole in its data."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, weights=np.arange(1_000), bias=np.arange(2))
    data = buffer.getvalue()
    return data[:200] + bytes(100) + data[300:]


def test_the_shipped_artifact_is_small(folder: Path) -> None:
    """What is shipped stays within 4 MB."""
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 4_000_000


def test_the_manifest_says_where_the_weights_come_from(folder: Path) -> None:
    """Sources with their hashes, library versions and scores stand in the manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["fields"] == ["code", "general"]
    assert all(len(source["sha256"]) == 64 for source in manifest["sources"])
    assert {"numpy", "scikit-learn", "scipy"} <= manifest["libraries"].keys()
    assert 0.5 < manifest["held_out"]["accuracy"] <= 1


def test_a_flipped_byte_is_refused(folder: Path) -> None:
    """Arrays that differ by one bit are not the arrays that were trained."""
    [file] = folder.glob("weights-*.npz")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    found = hashlib.sha256(data).hexdigest()[:12]
    expected = json.loads((folder / "manifest.json").read_text())["arrays_sha256"][:12]
    assert refusal(folder) == (
        f"classifier FOLDER/weights-HASH.npz: its SHA-256 is {found}..., "
        f"the manifest says {expected}..."
    )


@pytest.mark.parametrize("name", ["manifest.json", "weights-HASH.npz"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    """Each of the two files is needed."""
    [file] = folder.glob(name.replace("HASH", "*"))
    file.unlink()
    assert refusal(folder) == f"classifier FOLDER/{name}: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 1}, "format 1, this version reads 3"),
        ({"features": None}, "features: expected an object, got NoneType"),
        ({"fields": ["code"]}, "fields: expected two or more different names, got ['code']"),
        (
            {"fields": ["code", "code"]},
            "fields: expected two or more different names, got ['code', 'code']",
        ),
        ({"arrays_sha256": 7}, "arrays_sha256: expected 64 hex digits, got 7"),
        (
            {"arrays_sha256": "/../../secret"},
            "arrays_sha256: expected 64 hex digits, got '/../../secret'",
        ),
    ],
)
def test_a_manifest_of_another_kind_is_refused(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    """The message says what the manifest holds and what was expected."""
    edit_manifest(folder, **changes)
    assert refusal(folder) == f"classifier FOLDER/manifest.json: {message}"


def test_weights_for_other_features_are_refused(folder: Path) -> None:
    """Weights trained on other feature settings would mean nothing here."""
    features = json.loads((folder / "manifest.json").read_text())["features"]
    edit_manifest(folder, features=features | {"head_characters": 500})
    assert refusal(folder) == (
        "classifier FOLDER/manifest.json: features.head_characters: 500, this version computes 3000"
    )


def test_weights_for_other_structure_name_what_differs(folder: Path) -> None:
    """Of two long lists the message names only the entries that differ."""
    features = json.loads((folder / "manifest.json").read_text())["features"]
    structure = [*features["structure"][1:], "rhymes"]
    edit_manifest(folder, features=features | {"structure": structure})
    assert refusal(folder) == (
        "classifier FOLDER/manifest.json: features.structure: "
        "differs from this version's in fenced code, rhymes"
    )


def test_a_manifest_that_is_not_json_is_refused(folder: Path) -> None:
    """A broken manifest is a clear error, not a traceback."""
    (folder / "manifest.json").write_text("{")
    assert refusal(folder).startswith("classifier FOLDER/manifest.json: not JSON: ")


def test_more_fields_than_weights_are_refused(folder: Path) -> None:
    """The shape of the arrays must be what the manifest's fields need."""
    edit_manifest(folder, fields=["code", "general", "law"])
    assert refusal(folder) == (
        f"classifier FOLDER/weights-HASH.npz: weights has shape 1 x {WIDTH:,}, "
        f"the manifest's fields need 2 x {WIDTH:,}"
    )


def test_a_planted_pickle_is_refused_and_not_run(folder: Path, tmp_path: Path) -> None:
    """An object array is refused even where the manifest vouches for its bytes."""
    plant(folder, archive(weights=np.array([Bomb(tmp_path / "exploded")]), bias=np.zeros(2)))
    assert refusal(folder) == (
        "classifier FOLDER/weights-HASH.npz: not the arrays of a classifier: "
        "Object arrays cannot be loaded when allow_pickle=False"
    )
    assert not (tmp_path / "exploded").exists()


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        """Aim at `file`."""
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        """Make unpickling call Path.touch."""
        return (Path.touch, (self.file,))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a zip",
        single_array(),
        archive(weights=np.zeros((2, WIDTH))),
        archive(bias=np.zeros(2))[:-30],
        garbled_archive(),
    ],
    ids=["empty", "text", "a single array", "no bias", "cut off", "garbled"],
)
def test_a_file_that_holds_no_weights_is_refused(folder: Path, data: bytes) -> None:
    """Whatever the bytes are, the error names the file and what it is not."""
    plant(folder, data)
    assert refusal(folder).startswith(
        "classifier FOLDER/weights-HASH.npz: not the arrays of a classifier: "
    )


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    """A NaN would make every score NaN; it is caught at the door."""
    plant(folder, archive(weights=np.full((1, WIDTH), np.nan), bias=np.zeros(1)))
    assert refusal(folder) == (
        "classifier FOLDER/weights-HASH.npz: it holds weights that are not finite numbers"
    )


def made_up(*fields: str) -> Artifact:
    """Return an artifact of these three fields whose weights mean nothing."""
    weights = np.outer([1, 2, -3], np.ones(WIDTH)).astype(np.float32)
    return Artifact(fields, weights, np.array([0.5, -1, 0.5], np.float32))


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Writing and loading gives the same fields, whatever their names and number."""
    written = made_up("code", "law", "medicine")
    write_artifact(tmp_path / "new", written, {}, b"a plot")
    read = read_artifact(tmp_path / "new")
    assert read.fields == written.fields
    assert read.weights.tolist() == written.weights.tolist()
    assert read.bias.tolist() == written.bias.tolist()
    files = {file.name for file in (tmp_path / "new").iterdir()}
    assert files == files_of(tmp_path / "new") | {"manifest.json"}
    assert len(files) == 3


def test_weights_are_read_row_by_row(tmp_path: Path) -> None:
    """However they lay in memory when they were written: taking columns of others is slow."""
    written = made_up("code", "law", "medicine")
    columns = Artifact(written.fields, np.asfortranarray(written.weights), written.bias)
    write_artifact(tmp_path / "new", columns, {}, b"a plot")
    read = read_artifact(tmp_path / "new")
    assert read.weights.flags.c_contiguous
    assert read.weights.tolist() == written.weights.tolist()


def test_a_write_that_fails_leaves_the_artifact_that_was_there(folder: Path) -> None:
    """Arrays and plot are on the disk when the manifest cannot be: they go, and the old stay."""
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    in_the_way = folder / f".manifest.json.{os.getpid()}.partial"
    in_the_way.mkdir()
    with pytest.raises(OSError, match=re.escape(in_the_way.name)):
        write_artifact(folder, made_up("code", "law", "medicine"), {}, b"a plot")
    in_the_way.rmdir()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert Classifier.load(folder).fields == ("code", "general")


def test_a_manifest_cannot_name_files_elsewhere(folder: Path, tmp_path: Path) -> None:
    """What an artifact replaces is named by hashes, so nothing outside the folder is removed."""
    (folder / "weights-").mkdir()
    (tmp_path / "precious.npz").write_text("mine")
    edit_manifest(folder, arrays_sha256="/../../precious"[:13])
    assert not any(name.startswith("weights") for name in files_of(folder))
    write_artifact(folder, made_up("code", "law", "medicine"), {}, b"a plot")
    assert (tmp_path / "precious.npz").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '"arrays_sha256"', '{"arrays_sha256": []}'])
def test_a_manifest_that_names_nothing_has_no_files(tmp_path: Path, text: str) -> None:
    """A folder with a broken manifest can be trained into again."""
    (tmp_path / "manifest.json").write_text(text)
    assert files_of(tmp_path) == set()
