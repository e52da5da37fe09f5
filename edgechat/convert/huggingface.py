"""Converts a Hugging Face folder to an ONNX GenAI folder with onnxruntime-genai's own model builder.

The builder is a script: it prints, holds the GIL, needs memory for the whole model and can crash. So it runs in a
    separate
process (`convert.huggingface_child`), which ends with this one. The result is int4, requantised from the weights,
unlike the exact weights of `convert.gguf`. Nothing is downloaded, and no code from the model runs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from edgechat.errors import ConvertError, ModelError, StorageError
from edgechat.i18n.sentence import Sentence
from edgechat.models.huggingface import HfFolder, hf_folder_in, read_hf_folder
from edgechat.runtime import paths
from edgechat.runtime.extras import install_command
from edgechat.runtime.opt_outs import OPT_OUTS
from edgechat.runtime.progress import FractionCallback
from edgechat.runtime.regular_files import open_regular

QUANTISATION = "int4 block 32, accuracy 4"
_OPTIONS = ("int4_block_size=32", "int4_accuracy_level=4", "prune_lm_head=true")

_NEEDED = ("torch", "transformers", "onnx_ir", "onnxruntime", "tqdm")

# What the builder reads of a folder; pickles and code are excluded, so they cannot be read by mistake.
_TAKEN = ("*.json", "*.jinja", "*.model", "*.txt")
# Fractions of the total time: hashing, loading, the layers, and writing.
_HASHED, _LOADED, _READ = 0.05, 0.15, 0.7
_LAYER = re.compile(r"Reading layer (\d+)")
_KILLED = -9


@dataclass(frozen=True)
class BuildReport:
    """The result of a conversion; same fields as `gguf.ConversionReport`.

    Attributes:
        architecture: `model_type` of the source, such as "llama".
        parameters: Number of weights.
        quantisation: How the result stores them.
        context_length: Context window in tokens; None if the source does not say.
        name: The source folder's name.
        licence: From the source's model card; None if it does not say.
        source_sha256: Digest of the safetensors file in hexadecimal; if there are several, that of the lines
            `sha256sum` prints for them, sorted by name.
        bytes_written: Size of the folder.
    """

    architecture: str
    parameters: int
    quantisation: str
    context_length: int | None
    name: str
    licence: str | None
    source_sha256: str
    bytes_written: int


def convert_hf(source: Path, target: Path, *, on_progress: FractionCallback | None = None) -> BuildReport:
    """Write an ONNX GenAI folder with int4 weights.

    Args:
        source: A Hugging Face folder, or an MLflow model folder saved by the transformers flavor. It is not modified.
        target: The folder to write; must be missing or empty. It appears only once it is complete.
        on_progress: Called with a fraction from 0 to 1 and a short phrase.

    Raises:
        ConvertError: The source is incomplete, has an unsupported architecture, contains pickles or code, the libraries
            are missing, or the builder failed.
        StorageError: The target cannot be written, or the disk is full.
    """
    report = on_progress or _ignore
    source, target = source.absolute(), target.absolute()
    _require_builder()
    try:
        found = read_hf_folder(hf_folder_in(source) or source)
    except ModelError as error:
        raise ConvertError(error.title, error.message, error.hint) from error
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConvertError(
            "Model cannot be written",
            Sentence("{target} already exists.", target=target),
            "Choose a folder that does not yet.",
        )
    with _workplace(target) as place:
        report(0.0, "reading")
        digest = _digest(found.weight_files)
        report(_HASHED, "loading")
        _gather(found, place / "source")
        _build(place, source, found.layers, report)
        written = sum(path.stat().st_size for path in (place / "out").iterdir())
        with suppress(FileNotFoundError):
            target.rmdir()  # an empty folder, onto which only POSIX can rename
        (place / "out").rename(target)
    report(1.0, "done")
    return BuildReport(
        architecture=found.architecture,
        parameters=found.parameters,
        quantisation=QUANTISATION,
        context_length=found.context_length,
        name=source.name,
        licence=found.licence,
        source_sha256=digest,
        bytes_written=written,
    )


def _require_builder() -> None:
    if getattr(sys, "frozen", False):
        raise ConvertError(
            "This edgechat cannot convert the model",
            "The packaged edgechat does not carry the model builder.",
            "Convert it with `edgechat package` on a computer with Python, and copy the folder.",
        )
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConvertError(
            "Conversion needs the extra convert-hf",
            Sentence("Not installed: {missing}.", missing=", ".join(missing)),
            install_command("convert-hf"),
        )


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """Provide a temporary folder next to the target, removed when the block ends."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # On the same file system, so that weights can be linked and the result renamed.
        place = Path(tempfile.mkdtemp(prefix=".edgechat-building-", dir=target.parent))
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        yield place
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _unwritable(target: Path, error: OSError) -> StorageError:
    return StorageError(
        "Model cannot be written",
        Sentence("{filename}: {strerror}.", filename=error.filename or target, strerror=error.strerror or error),
    )


def _gather(found: HfFolder, to: Path) -> None:
    """Collect weights, configuration and tokenizer in one folder, where the builder expects them."""
    to.mkdir()
    # The weights folder comes last, because its config.json is the model's.
    files = [path for folder in (found.tokenizer, found.weights) for pattern in _TAKEN for path in folder.glob(pattern)]
    for path in {path.name: path for path in (*files, *found.weight_files)}.values():
        _share(path.resolve(), to / path.name)


def _share(path: Path, to: Path) -> None:
    try:
        os.link(path, to)
    except OSError:  # another file system, or one without hard links
        try:
            to.symlink_to(path)
        except OSError:
            shutil.copyfile(path, to)


def _build(place: Path, source: Path, layers: int, report: FractionCallback) -> None:
    out = place / "out"
    command = [
        # -P: a folder named torch in the working directory must have no effect. -u: output line by line.
        *(paths.interpreter(), "-P", "-u", "-m", "edgechat.convert.huggingface_child", str(os.getpid())),
        *("-i", str(place / "source"), "-o", str(out), "-c", str(place / "cache")),
        *("-p", "int4", "-e", "cpu", "--extra_options", *_OPTIONS),
    ]
    log = place / "log"
    with log.open("wb") as errors:
        # If the system cannot end it with this process, it exits when its standard input closes.
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **OPT_OUTS, "PYTHONIOENCODING": "utf-8:replace"},
            cwd=place,
        )
        try:
            assert child.stdout is not None
            for line in child.stdout:
                layer = _LAYER.search(line.decode("utf-8", "replace"))
                if layer is not None and layers:
                    done = min(layers, int(layer[1]) + 1)
                    report(_LOADED + (_READ - _LOADED) * done / layers, f"layer {done} of {layers}")
                elif line.startswith(b"Saving ONNX"):
                    report(_READ, "quantising and writing")
            code = child.wait()
        finally:
            child.kill()
            child.communicate()
    if code != 0 or not (out / "genai_config.json").is_file():
        raise _failure(source, code, log)


def _failure(source: Path, code: int, log: Path) -> ModelError | StorageError:
    """Explain the builder's failure from its last output."""
    # Progress bars overwrite one another with carriage returns.
    lines = [line.strip() for line in re.split(r"[\r\n]+", log.read_text("utf-8", "replace")[-20_000:]) if line.strip()]
    last = lines[-1][:400] if lines else f"exit code {code}"
    if code == _KILLED:
        return ConvertError(
            "Conversion was ended by the system",
            "The model builder was killed, most likely because memory ran out.",
            "It needs about three times the size of the weights; close other programs or use another computer.",
        )
    if "[Errno 28]" in last or "[Errno 27]" in last or "No space left" in last:
        return StorageError(
            "Disk is full", Sentence("The converted model could not be written: {last}.", last=last), "Free some space."
        )
    if "trust_remote_code" in " ".join(lines[-3:]):
        return ConvertError(
            "Model refused",
            Sentence("{source_name} needs code that does not come with transformers.", source_name=source),
            "edgechat runs the code of no model; use one that the library knows by itself.",
        )
    if last.startswith("NotImplementedError") or "does not recognize this architecture" in " ".join(lines):
        return ConvertError(
            "Unsupported architecture",
            Sentence("onnxruntime-genai's model builder does not know the model in {source_name}.", source_name=source),
            "Llama, Phi, Qwen, Gemma, Mistral and SmolLM models are among those it knows.",
        )
    return ConvertError(
        "Conversion failed",
        Sentence("onnxruntime-genai's model builder ended with: {lines}", lines=" | ".join(lines[-3:])[-800:] or last),
    )


def _digest(files: tuple[Path, ...]) -> str:
    digests = []
    for path in files:
        with open_regular(path) as opened:
            digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
    if len(digests) == 1:
        return digests[0]
    lines = "".join(f"{digest}  {path.name}\n" for digest, path in zip(digests, files, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def _ignore(fraction: float, phrase: str) -> None:
    """Default progress callback, which does nothing."""
