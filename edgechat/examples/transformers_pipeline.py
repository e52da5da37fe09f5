"""The MLflow recipe with a Transformers pipeline: log a chat model with `task="llm/v1/chat"`, and ask it something.

    python -m edgechat.examples.transformers_pipeline HF_FOLDER --out FOLDER

HF_FOLDER is an instruction-tuned model in Hugging Face form: config.json, the weights as safetensors, tokenizer.json
and its chat template. Nothing is fetched: what the folder lacks is an error. What is logged opens in `mlflow.pyfunc`,
in `mlflow models serve` and in `edgechat --model-uri`, and `edgechat package` turns it into an ONNX model.

It needs the extras `mlflow` and `transformers`. MLflow's own ways are kept, its gaps too: an answer through MLflow
comes whole, as a list of one, and `stop`, `n` and `stream` stand in the signature without working.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from edgechat.cli.main import report
from edgechat.errors import EdgechatError, ModelError, StorageError
from edgechat.huggingface import read_hf_folder
from edgechat.offline import go_offline

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

EXPERIMENT = "edgechat"
QUESTION = "What is the capital of France?"
MAX_TOKENS = 64


@dataclass(frozen=True)
class Logged:
    """What was logged.

    Attributes:
        uri: The model's URI in the tracking store, for `mlflow.pyfunc.load_model`.
        folder: The model folder, for `edgechat --model-uri`; None where the store keeps it on another machine.
        signature: The one MLflow gives every model of this task.
    """

    uri: str
    folder: Path | None
    signature: ModelSignature


def log_pipeline(
    hf_folder: Path, tracking_uri: str, *, artifacts: Path | None = None, register: str | None = None
) -> Logged:
    """Make a text-generation pipeline of a folder and log it as a chat model.

    Args:
        hf_folder: The model in Hugging Face form.
        tracking_uri: Where MLflow keeps its runs.
        artifacts: The folder for what the runs hold; None leaves it to a tracking server.
        register: A name in the model registry to register it under.

    Raises:
        ModelError: The folder is no model that can chat, or a library is missing.
        StorageError: MLflow cannot keep it.
    """
    found = read_hf_folder(hf_folder)
    missing = [name for name in ("pandas", "torch", "transformers") if find_spec(name) is None]
    if missing:  # the base install has a slimmer mlflow, without pandas
        raise ModelError(
            "The example needs two extras",
            f"Not installed: {', '.join(missing)}.",
            "pip install 'edgechat[mlflow,transformers]'",
        )
    import mlflow
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    # An absolute path: a relative one could be taken for the name of a model on a hub.
    source = str(hf_folder.resolve())
    pipeline = transformers.pipeline(
        "text-generation",
        model=transformers.AutoModelForCausalLM.from_pretrained(source, use_safetensors=True, local_files_only=True),
        tokenizer=transformers.AutoTokenizer.from_pretrained(source, local_files_only=True),
    )
    try:
        mlflow.set_tracking_uri(tracking_uri)
        if mlflow.get_experiment_by_name(EXPERIMENT) is None:
            # Without a location of its own a local store would put everything into the working directory.
            location = artifacts.resolve().as_uri() if artifacts is not None else None
            mlflow.create_experiment(EXPERIMENT, artifact_location=location)
        mlflow.set_experiment(EXPERIMENT)
        info = mlflow.transformers.log_model(
            transformers_model=pipeline,
            name="chat",
            task="llm/v1/chat",
            # Without this list MLflow loads the model once more to guess it, and wants torchvision for that.
            pip_requirements=[
                f"mlflow=={mlflow.__version__}",
                f"torch=={torch.__version__.partition('+')[0]}",
                f"transformers=={transformers.__version__}",
            ],
            metadata={"name": hf_folder.resolve().name, **({"licence": found.licence} if found.licence else {})},
            registered_model_name=register,
        )
        location = mlflow.get_logged_model(info.model_id).artifact_location
    except mlflow.exceptions.MlflowException as error:
        raise StorageError("Model cannot be logged", f"{tracking_uri}: {error.message}") from error
    parts = urlsplit(location)
    folder = Path(url2pathname(parts.path)) if parts.scheme in ("", "file") else None
    return Logged(info.model_uri, folder, info.signature)


def ask(uri: str, question: str) -> dict[str, Any]:
    """Load a logged model as MLflow does, and ask it one question.

    Returns:
        The answer in the form of `llm/v1/chat`: `choices[0].message.content`, `usage`.
    """
    import mlflow

    model = mlflow.pyfunc.load_model(uri)
    answers: list[dict[str, Any]] = model.predict(
        {
            "messages": [{"role": "user", "content": question}],
            "max_tokens": MAX_TOKENS,
            # A pipeline samples, and refuses 0; this is near enough to the likeliest answer.
            "temperature": 0.01,
        }
    )
    return answers[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Log the model, and print its signature, its answer to one question, and how to chat with it.

    Returns:
        The exit code; see `errors.ExitCode`.
    """
    parser = argparse.ArgumentParser(
        prog="python -m edgechat.examples.transformers_pipeline",
        description="Log a Hugging Face folder as an MLflow chat model, and ask it something.",
    )
    parser.add_argument("hf_folder", type=Path, help="a model in Hugging Face form, with a chat template")
    parser.add_argument("--out", type=Path, help="a folder for MLflow's store and what it holds")
    parser.add_argument("--tracking-uri", help="a tracking server or another store; in the folder --out if left out")
    parser.add_argument("--register", metavar="NAME", help="register the model under this name")
    given = parser.parse_args(arguments)
    server = (given.tracking_uri or "").startswith(("http:", "https:"))
    if given.out is None and not server:
        parser.error("give --out FOLDER, or the --tracking-uri of a tracking server")
    try:
        if given.out is not None:
            given.out.mkdir(parents=True, exist_ok=True)
        logged = log_pipeline(
            given.hf_folder,
            given.tracking_uri or f"sqlite:///{given.out.resolve()}/mlflow.db",
            artifacts=None if server else given.out / "artifacts",
            register=given.register,
        )
        answer = ask(logged.uri, QUESTION)
    except OSError as error:
        error_told = StorageError("Model cannot be logged", f"{error.filename}: {error.strerror}.")
        report(error_told)
        return int(error_told.exit_code)
    except EdgechatError as error:
        report(error)
        return int(error.exit_code)
    sys.stdout.write(f"{logged.signature}\n{json.dumps(answer, indent=2)}\n")
    if logged.folder is not None:
        sys.stderr.write(f"chat with it: edgechat --model-uri {logged.folder}\n")
    return 0


if __name__ == "__main__":
    go_offline()  # before mlflow and transformers are imported: they look at the environment once
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a server that is down is told of in seconds
    raise SystemExit(main())
