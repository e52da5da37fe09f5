"""`edgechat package`: turns any supported source into an MLflow model folder, all or nothing.

The source is inspected, converted if necessary, saved by the flavor, opened once as a check, and only then given its
final name. The source is never modified.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgechat.convert.gguf.converter import check_gguf
from edgechat.errors import ModelError, StorageError
from edgechat.flavor import DATA, save_model
from edgechat.i18n.sentence import Sentence
from edgechat.models.folder import ModelFolder, open_model
from edgechat.models.genai_config import GENAI_CONFIG
from edgechat.models.manifest import ensure_intact, folder_digest
from edgechat.models.mlmodel_file import MLMODEL
from edgechat.models.sanitize import shown
from edgechat.runtime import paths
from edgechat.runtime.progress import FractionCallback

if TYPE_CHECKING:
    from edgechat.convert.gguf.converter import ConversionReport
    from edgechat.convert.huggingface import BuildReport

Metadata = dict[str, str | int | float]

_PRESERVED = ("architecture", "quantisation", "licence", "parameters", "context_length", "source", "source_name")
"""Metadata that an already packaged model keeps."""

_CONVERTED, _SAVED = 0.85, 0.97


@dataclass(frozen=True, slots=True)
class Source:
    """Something that can be packaged.

    Attributes:
        kind: "genai": an ONNX GenAI folder. "gguf": a GGUF file. "huggingface": a Hugging Face folder. Folders may be
            bare or inside an MLflow model.
        path: The folder or file itself.
        metadata: Metadata of the enclosing MLflow model.
    """

    kind: Literal["genai", "gguf", "huggingface"]
    path: Path
    metadata: Mapping[str, object] = field(default_factory=dict)


def find_source(path: Path, *, trust: bool = False) -> Source:
    """Determine what a path contains.

    Args:
        path: A folder or a file.
        trust: Accept a model that loads native code.

    Raises:
        ModelError: There is nothing there, or nothing that can be packaged.
        ConvertError: It is a GGUF file that cannot be converted.
    """
    path = paths.expand_user(path)
    if path.is_file() and path.suffix.lower() == ".gguf":
        check_gguf(path)
        return Source("gguf", path.resolve())
    if path.is_dir() and not any((path / name).is_file() for name in (MLMODEL, GENAI_CONFIG)):
        files = sorted(path.glob("*.gguf"))
        if len(files) == 1:
            return find_source(files[0])
        if files:
            names = ", ".join(shown(file.name) for file in files[:5])
            raise ModelError(
                "Several GGUF files", Sentence("{path} holds {names}.", path=path, names=names), "Give one of them."
            )
    model = open_model(path, trust=trust)
    ensure_intact(model.root)
    if model.kind == "transformers":
        return Source("huggingface", model.root)
    return Source("genai", model.genai, model.mlflow.metadata if model.mlflow is not None else {})


def package(
    source: Source,
    out: Path,
    *,
    name: str | None = None,
    link: bool = False,
    on_progress: FractionCallback | None = None,
) -> ModelFolder:
    """Package a source as an MLflow model folder.

    Args:
        source: The result of `find_source`.
        out: The folder to write; must be missing or empty.
        name: Name of the model; defaults to the folder's name.
        link: Hard-link an ONNX GenAI folder's weights instead of copying them, where the file system supports it.
        on_progress: Called with a fraction from 0 to 1 and a short phrase.

    Returns:
        The model, opened.

    Raises:
        ModelError: `out` is taken, or the result is not usable.
        ConvertError: The source cannot be converted.
        StorageError: There is not enough space, or the folder cannot be written; nothing is left behind.
    """
    notify = on_progress or (lambda fraction, words: None)
    out = paths.expand_user(out).absolute()
    if out.resolve().is_relative_to(source.path.resolve()):
        raise ModelError(
            "Folder is inside the source",
            Sentence("{out} lies in {path}.", out=out, path=source.path),
            "Give another folder to --out.",
        )
    with _staging(out) as folder:
        genai = folder / DATA
        if source.kind == "genai":
            notify(0.0, "reading")
            metadata = _metadata_of(source)
            save_model(source.path, folder, metadata={**metadata, "name": name or out.name}, weights=_weights(link))
        else:
            report = _convert(source, genai, lambda fraction, words: notify(fraction * _CONVERTED, words))
            metadata = metadata_of(report, source.path.name)
            notify(_CONVERTED, "saving")
            save_model(genai, folder, metadata={**metadata, "name": name or out.name}, weights="move")
        notify(_SAVED, "checking")
        open_model(folder, trust=True)
    return open_model(out, trust=True)


def metadata_of(report: BuildReport | ConversionReport, source_name: str) -> Metadata:
    """Return a converted model's metadata, based on the conversion report."""
    known: dict[str, str | int | float | None] = {
        "architecture": report.architecture,
        "quantisation": report.quantisation,
        "parameters": report.parameters,
        "context_length": report.context_length,
        "source": source_name,
        "source_name": report.name,
        "source_sha256": report.source_sha256,
        "licence": report.licence,
    }
    return {key: value for key, value in known.items() if value is not None}


def _weights(link: bool) -> Literal["link", "copy"]:
    return "link" if link else "copy"


def _metadata_of(source: Source) -> Metadata:
    from edgechat.convert.onnx_inspect import quantisation_of

    model = open_model(source.path, trust=True)
    metadata: Metadata = {"architecture": model.architecture, "source": source.path.name}
    if model.context_length:
        metadata["context_length"] = model.context_length
    if quantisation := quantisation_of(source.path):
        metadata["quantisation"] = quantisation
    preserved = {key: source.metadata.get(key) for key in _PRESERVED}
    metadata.update({key: value for key, value in preserved.items() if isinstance(value, str | int | float)})
    # Describes the files being packaged, whatever they were made from.
    return {**metadata, "source_sha256": folder_digest(source.path)}


def _convert(source: Source, target: Path, on_progress: FractionCallback) -> BuildReport | ConversionReport:
    if source.kind == "huggingface":
        from edgechat.convert.huggingface import convert_hf

        return convert_hf(source.path, target, on_progress=on_progress)
    from edgechat.convert.gguf.converter import convert_gguf

    return convert_gguf(source.path, target, on_progress=on_progress)


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """Provide a folder next to `out` that is renamed to it if the block ends without an error."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ModelError("Folder is taken", Sentence("{out} already exists.", out=out), "Give another folder to --out.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.{os.getpid()}.", dir=out.parent))
    except OSError as error:
        raise StorageError(
            "Model cannot be written",
            Sentence("{filename}: {strerror}.", filename=error.filename or out, strerror=error.strerror or error),
            "Give another folder.",
        ) from error
    try:
        folder.chmod(0o755)  # unlike other temporary folders, this one is to be shared
        yield folder
        with suppress(FileNotFoundError):
            out.rmdir()
        folder.rename(out)
    except OSError as error:
        raise StorageError(
            "Model cannot be written",
            Sentence("{filename}: {strerror}.", filename=error.filename or out, strerror=error.strerror or error),
            "Free some space, or give another folder.",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(out: Path) -> None:
    """Remove what a killed run left for the same folder."""
    import psutil

    for leftover in out.parent.glob(f".{out.name}.*"):
        owner = re.fullmatch(re.escape(f".{out.name}.") + r"(\d+)\.\w+", leftover.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            shutil.rmtree(leftover, ignore_errors=True)
