"""The MLflow recipe with a Transformers pipeline: log a chat model with `task="llm/v1/chat"`, and query it.

    python -m edgechat.examples.transformers_pipeline HF_FOLDER --out FOLDER

HF_FOLDER is an instruction-tuned model in Hugging Face format: config.json, the weights as safetensors, tokenizer.json
and its chat template. Nothing is downloaded; a missing file is an error. The logged model works with `mlflow.pyfunc`,
`mlflow models serve` and `edgechat --model-uri`, and `edgechat package` converts it to an ONNX model.

It needs the extras `mlflow` and `transformers`. MLflow's behaviour is kept, including its gaps: an answer through
MLflow arrives in one piece, as a list of one, and `stop`, `n` and `stream` are in the signature but have no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgechat.examples.recipe import Logged, Store, go_quietly, log_to, need, run
from edgechat.models.huggingface import read_hf_folder

QUESTION = "What is the capital of France?"
MAX_TOKENS = 64


def log_pipeline(hf_folder: Path, store: Store, register: str | None = None) -> Logged:
    """Make a text-generation pipeline of a folder and log it as a chat model.

    Args:
        hf_folder: The model in Hugging Face format.
        store: Where to log it.
        register: A name to register it under in the model registry.

    Raises:
        ModelError: The folder is not a chat model, or a library is missing.
        StorageError: MLflow cannot store it.
    """
    found = read_hf_folder(hf_folder)
    need("mlflow", "transformers")
    import mlflow
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    # An absolute path, since a relative one could be taken for the name of a model on a hub.
    source = str(hf_folder.resolve())
    pipeline = transformers.pipeline(
        "text-generation",
        model=transformers.AutoModelForCausalLM.from_pretrained(source, use_safetensors=True, local_files_only=True),
        tokenizer=transformers.AutoTokenizer.from_pretrained(source, local_files_only=True),
    )

    def log() -> Any:
        return mlflow.transformers.log_model(
            transformers_model=pipeline,
            name="chat",
            task="llm/v1/chat",
            # Without this list MLflow loads the model again to infer it, and requires torchvision for that.
            pip_requirements=[
                f"mlflow=={mlflow.__version__}",
                f"torch=={torch.__version__.partition('+')[0]}",
                f"transformers=={transformers.__version__}",
            ],
            metadata={"name": hf_folder.resolve().name, **({"licence": found.licence} if found.licence else {})},
            registered_model_name=register,
        )

    return log_to(store, log)


def ask(uri: str) -> dict[str, Any]:
    """Load a logged model as MLflow does and ask it one question.

    Returns:
        The answer in the format of `llm/v1/chat`: `choices[0].message.content`, `usage`.
    """
    import mlflow

    model = mlflow.pyfunc.load_model(uri)
    answers: list[dict[str, Any]] = model.predict(
        {
            "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": MAX_TOKENS,
            # Pipelines sample and reject 0; this is close enough to greedy.
            "temperature": 0.01,
        }
    )
    return answers[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Log the model, print its signature and an answer. Returns the exit code."""
    return run(
        log_pipeline,
        ask,
        module="edgechat.examples.transformers_pipeline",
        about="Log a Hugging Face folder as an MLflow chat model, and ask it something.",
        takes="a model in Hugging Face form, with a chat template",
        arguments=arguments,
    )


if __name__ == "__main__":
    go_quietly()
    raise SystemExit(main())
