"""Opens a model folder: finds what the engine loads in it and describes it.

Every MLflow model whose flavor data or artifacts contain an ONNX GenAI folder is accepted, whichever flavor saved it,
and so are bare ONNX GenAI folders, pipelines of MLflow's transformers flavor and bare Hugging Face folders. Opening
only reads text files: mlflow is not imported, nothing is unpickled, no code from the model runs and no graph is loaded.
Unsuitable models are refused with a reason before the engine sees them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgechat.errors import ModelError
from edgechat.i18n.sentence import Sentence
from edgechat.models.genai_config import GENAI_CONFIG, read_genai_config
from edgechat.models.huggingface import CONFIG, read_hf_folder
from edgechat.models.mlmodel_file import MLMODEL, MLflowCard, read_mlmodel
from edgechat.models.origin import Origin
from edgechat.models.safe_walk import WITHOUT_LINKS, ModelFile, walk
from edgechat.models.sanitize import shown, size_text

TOKENIZER = "tokenizer.json"
_TEXTS = frozenset({".json", ".jinja", ".txt", ".model"})
_LARGEST_TEXT = 128_000_000
"""Bytes; tokenizers with the largest vocabularies have 35 MB."""
_NAMELESS = frozenset({"model", "artifacts"})


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model on disk that has been inspected and found usable, as far as is possible without loading it.

    Attributes:
        root: The folder the user named, resolved.
        genai: What the engine loads: the ONNX GenAI folder inside it or the root itself; for a "transformers" model the
            folder with its weights.
        name: The root's own name, which in the store is the model's name. For a folder named just "model" or
            "artifacts", as MLflow's are, the name from the author's metadata or the registry.
        mlflow: Contents of MLmodel; None for a bare folder.
        architecture: The engine's name for the model type, such as "llama".
        context_length: Context window the model was trained for, in tokens; None if unknown.
        size_bytes: Total size of the files in `genai`.
        licence: Name of the licence if the metadata has it, else "".
        quantisation: How the weights are stored if the metadata says so, else "".
        source: Where the model came from if the metadata says so, else "".
        trusted: Whether options that load native code were accepted.
        origin: Where it was pulled from; None if it was not pulled or is not in the store.
        kind: The library that runs it: "genai" is onnxruntime-genai, "transformers" requires the extra of that name.
    """

    root: Path
    genai: Path
    name: str
    mlflow: MLflowCard | None
    architecture: str
    context_length: int | None
    size_bytes: int
    licence: str = ""
    quantisation: str = ""
    source: str = ""
    trusted: bool = False
    origin: Origin | None = None
    kind: Literal["genai", "transformers"] = "genai"


def open_model(path: Path, *, trust: bool = False) -> ModelFolder:
    """Open a model folder without running anything in it.

    Args:
        path: An MLflow model folder, an ONNX GenAI folder or a Hugging Face folder. `~` is expanded.
        trust: Accept a model whose configuration loads native code.

    Raises:
        ModelError: There is no such folder, or it is not a model, is damaged or incomplete, refers to files outside
            itself, wants to load native code, or is of a kind that cannot chat.
    """
    root = _folder(path)
    try:
        str(root).encode()
    except UnicodeEncodeError:  # an old disk; the engine and MLflow accept only UTF-8
        raise ModelError(
            "Folder name is not text", Sentence("{path} is not UTF-8.", path=shown(str(path))), "Rename the folder."
        ) from None
    card: MLflowCard | None = None
    if (root / MLMODEL).is_file():
        card, candidates = read_mlmodel(root)
        found = _genai_folder(root, candidates)
        if found is None:
            return _transformers_model(root, _pipeline_folder(root, card, candidates), card)
        genai = found
    elif (root / GENAI_CONFIG).is_file():
        genai = root
    elif (root / CONFIG).is_file():
        return _transformers_model(root, root, None)
    else:
        raise ModelError(
            "Not a model folder",
            Sentence(
                "{path} has neither {mlmodel} nor {genai_config} nor {config} in it.",
                path=path,
                mlmodel=MLMODEL,
                genai_config=GENAI_CONFIG,
                config=CONFIG,
            ),
            _nearby(root)
            or "Give an MLflow model folder, or the folder of an ONNX GenAI model or of a Hugging Face model.",
        )
    # Walk before opening any file in the folder: opening a pipe or a link to a device would never return.
    files = walk(genai, root=root)
    _refuse_oversized(genai, files)
    config = read_genai_config(genai, root, trust=trust)
    if not (genai / TOKENIZER).is_file():
        raise ModelError(
            "Model folder is incomplete",
            Sentence("{tokenizer} is missing in {genai}.", tokenizer=TOKENIZER, genai=genai),
            "Copy the whole folder again, or export the model once more together with its tokenizer.",
        )
    return ModelFolder(
        root=root,
        genai=genai,
        name=_name(root, card),
        mlflow=card,
        architecture=config.architecture,
        context_length=config.context_length,
        size_bytes=_size(files),
        licence=_known(card, "licence", "license") or _licence_file(root, genai),
        quantisation=_known(card, "quantisation", "quantization"),
        source=_known(card, "source", "base_model", "source_model"),
        trusted=trust,
    )


def _transformers_model(root: Path, folder: Path, card: MLflowCard | None) -> ModelFolder:
    files = walk(folder, root=root)
    _refuse_oversized(folder, files)
    if folder != root:
        walk(root)  # the tokenizer is outside the weights folder
    found = read_hf_folder(folder)
    if not found.chat_template:
        raise ModelError(
            "Model has no chat template",
            Sentence(
                "The tokenizer in {tokenizer} does not say how a conversation is written.", tokenizer=found.tokenizer
            ),
            "Use an instruction-tuned model, or add its chat template to the folder.",
        )
    return ModelFolder(
        root=root,
        genai=folder,
        name=_name(root, card),
        mlflow=card,
        architecture=shown(found.architecture),
        context_length=found.context_length,
        size_bytes=_size(files),
        licence=_known(card, "licence", "license") or found.licence or _licence_file(root, folder),
        quantisation=_known(card, "quantisation", "quantization") or shown(found.stored_as),
        source=_known(card, "source", "base_model", "source_model"),
        kind="transformers",
    )


def _refuse_oversized(folder: Path, files: tuple[ModelFile, ...]) -> None:
    """Refuse huge text files, since the engine and its tokenizer read each of them as a whole."""
    for file in files:
        if file.path.suffix in _TEXTS and file.size > _LARGEST_TEXT:
            raise ModelError(
                "Model folder is damaged",
                Sentence(
                    "{relative} in {folder} is {size} large, which no real one is.",
                    relative=shown(file.relative),
                    folder=folder,
                    size=size_text(file.size),
                ),
                "Copy the whole folder again from where it came.",
            )


def _size(files: tuple[ModelFile, ...]) -> int:
    return sum(file.size for file in {file.path: file for file in files}.values())


def _name(root: Path, card: MLflowCard | None) -> str:
    if root.name not in _NAMELESS or card is None:
        return root.name
    return _known(card, "name") or shown(card.registered_name) or root.name


def _folder(path: Path) -> Path:
    try:
        root = path.expanduser().resolve()
        if root.is_dir():
            return root
        is_file, exists = root.is_file(), root.exists()
    except (OSError, RuntimeError, ValueError) as error:  # no home folder, circular links, NUL in the name
        raise ModelError(
            "Model not found",
            Sentence("{path} cannot be opened: {error}.", path=shown(path), error=shown(error)),
            "Check how the path is written.",
        ) from error
    if is_file:
        hint = "Give the folder itself."
        if path.name in {MLMODEL, GENAI_CONFIG, CONFIG} or path.suffix in {".onnx", ".safetensors"}:
            hint = f"Give the folder itself: {root.parent}"
        elif path.suffix == ".gguf":
            hint = f"Turn it into a model first: edgechat package {path} --out FOLDER"
        raise ModelError("Not a model folder", Sentence("{path} is a file, not a folder.", path=path), hint)
    if exists:
        raise ModelError(
            "Not a model folder",
            Sentence("{path} is neither a folder nor a file.", path=path),
            "Give a model's folder.",
        )
    raise ModelError(
        "Model not found",
        Sentence("{path} does not exist.", path=path),
        "`edgechat models list` shows the installed models.",
    )


def _genai_folder(root: Path, candidates: tuple[Path, ...]) -> Path | None:
    found = tuple(dict.fromkeys(folder for candidate in candidates for folder in _genai_children(candidate, root)))
    if not found and (root / GENAI_CONFIG).is_file():
        return root
    if len(found) > 1:
        raise ModelError(
            "Several models in one folder",
            Sentence("{root} holds {found} ONNX GenAI folders.", root=root, found=len(found)),
            Sentence("Give one of them: {found}", found=", ".join(str(folder) for folder in found)),
        )
    return found[0] if found else None


def _pipeline_folder(root: Path, card: MLflowCard, candidates: tuple[Path, ...]) -> Path:
    """Return the weights of a model saved by MLflow's transformers flavor; refuse any other model."""
    pipeline = card.pipeline
    if pipeline is not None and pipeline.adapter:
        raise ModelError(
            "Not a whole model",
            Sentence(
                "{root} holds an adapter; the model it changes is {source_name}.",
                root=root,
                source_name=shown(pipeline.source) or "not told",
            ),
            "Merge the two with merge_and_unload() of the library peft, and log the result.",
        )
    if pipeline is not None and pipeline.folder is None:
        raise ModelError(
            "Model has no weights",
            Sentence(
                "{root} was saved without its weights; it names {source_name}, which would have to be fetched.",
                root=root,
                source_name=shown(pipeline.source) or "nothing",
            ),
            "Log it again with save_pretrained=True, on a computer that has the weights.",
        )
    if pipeline is not None and pipeline.folder is not None:
        return pipeline.folder
    searched = ", ".join(shown(path.relative_to(root).as_posix()) for path in candidates[:5])
    raise ModelError(
        "Not an ONNX GenAI model",
        Sentence(
            "{root} is an MLflow model, but none of its data and artifacts holds {genai_config}{value}",
            root=root,
            genai_config=GENAI_CONFIG,
            value=f" (looked in {searched})." if searched else " (it names none).",
        ),
        "edgechat runs models in ONNX GenAI form; `edgechat package` turns others into it.",
    )


def _genai_children(candidate: Path, root: Path) -> Iterator[Path]:
    """Yield the candidate or its children that contain a genai_config.json and are inside the root."""
    if candidate.name == GENAI_CONFIG and candidate.is_file():
        candidate = candidate.parent
    if not candidate.is_dir():
        return
    if (candidate / GENAI_CONFIG).is_file():
        yield candidate
        return
    try:
        children = sorted(child.resolve() for child in candidate.iterdir() if (child / GENAI_CONFIG).is_file())
    except (OSError, RuntimeError):
        return
    for child in children:
        if not child.is_relative_to(root):
            raise ModelError(
                "Unsafe model folder",
                Sentence(
                    "{candidate} has a link in it that leads out of the model folder, to {child}.",
                    candidate=candidate,
                    child=child,
                ),
                WITHOUT_LINKS,
            )
        yield child


def _nearby(root: Path) -> str:
    """Return a hint for a user who is one folder too high."""
    try:
        marks = (MLMODEL, GENAI_CONFIG, CONFIG)
        children = sorted(c.name for c in root.iterdir() if any((c / mark).is_file() for mark in marks))
    except OSError:
        return ""
    return "Did you mean " + " or ".join(str(root / name) for name in children[:3]) + "?" if children else ""


def _known(card: MLflowCard | None, *keys: str) -> str:
    """Return the first of these keys found in the author's metadata, at its top level or below `edgechat`."""
    if card is None:
        return ""
    nested = card.metadata.get("edgechat")
    for place in (nested if isinstance(nested, Mapping) else {}, card.metadata):
        for key in keys:
            value = place.get(key)
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                return shown(value)
    return ""


def _licence_file(root: Path, genai: Path) -> str:
    for folder in dict.fromkeys((genai, root)):
        for name in ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE"):
            if (folder / name).is_file():
                return f"see {name}"
    return ""
