"""The MLflow recipe with a Transformers pipeline: log a chat model with `task="llm/v1/chat"` and ask it something.

    python -m edgechat.examples.transformers_pipeline HF_FOLDER --out FOLDER [--tracking-uri URI] [--register NAME]

HF_FOLDER is an instruction-tuned model in Hugging Face form: config.json, the weights as safetensors, tokenizer.json and
its chat template. Nothing is fetched: what the folder lacks is an error. What is logged opens in `mlflow.pyfunc`, in
`mlflow models serve` and in `edgechat --model-uri`, and `edgechat package` turns it into an ONNX model.

It needs the extras `mlflow` and `transformers`. MLflow's own ways are kept, its gaps too: an answer through MLflow is
never streamed, and `stop`, `n` and `stream` stand in the signature without being of use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgechat.offline import go_offline

go_offline()  # before mlflow and transformers are imported: they look at the environment once

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

QUESTION = "What is the capital of France?"
MAX_TOKENS = 64


@dataclass(frozen=True)
class Logged:
    """What was logged.

    Attributes:
        model_uri: The model's URI in the tracking store.
        folder: The model folder itself, where the store keeps it on this machine; else the model's URI.
        signature: The signature MLflow gave it.
    """

    model_uri: str
    folder: str
    signature: ModelSignature


def log_pipeline(hf_folder: Path, tracking_uri: str, artifacts: Path, *, register: str | None = None) -> Logged:
    """Build a text-generation pipeline of a folder and log it as a chat model.

    Args:
        hf_folder: The model in Hugging Face form.
        tracking_uri: Where MLflow keeps its runs.
        artifacts: The folder for what they hold, when the experiment is made here.
        register: A name in the model registry to register it as.

    Raises:
        OSError: The folder is no model in Hugging Face form.
    """
    import mlflow
    import torch
    import transformers

    mlflow.set_tracking_uri(tracking_uri)
    if mlflow.get_experiment_by_name("edgechat") is None:
        mlflow.create_experiment("edgechat", artifact_location=artifacts.absolute().as_uri())
    mlflow.set_experiment("edgechat")

    # An absolute path: a relative one could be taken for the name of a model on a hub.
    source = str(hf_folder.absolute())
    pipeline = transformers.pipeline(
        "text-generation",
        model=transformers.AutoModelForCausalLM.from_pretrained(source, local_files_only=True),
        tokenizer=transformers.AutoTokenizer.from_pretrained(source, local_files_only=True),
    )
    with mlflow.start_run() as run:
        info = mlflow.transformers.log_model(
            transformers_model=pipeline,
            name="chat",
            task="llm/v1/chat",
            # Without this list MLflow loads the model once more to guess it, and asks for torchvision.
            pip_requirements=[
                f"mlflow=={mlflow.__version__}",
                f"torch=={torch.__version__.partition('+')[0]}",
                f"transformers=={transformers.__version__}",
            ],
            registered_model_name=register,
            # For those who open the folder later: what it is.
            metadata={"name": hf_folder.absolute().name},
        )
        location = mlflow.get_logged_model(info.model_id).artifact_location
    del run
    folder = location
    return Logged(info.model_uri, folder, info.signature)
