"""The MLflow recipe with a Transformers pipeline: log a chat model with `task="llm/v1/chat"`, and ask it something.

    python -m edgechat.examples.transformers_pipeline HF_FOLDER --out FOLDER

HF_FOLDER is an instruction-tuned model in Hugging Face form: config.json, the weights as safetensors, tokenizer.json
and its chat template. Nothing is fetched: what the folder lacks is an error. What is logged opens in `mlflow.pyfunc`,
in `mlflow models serve` and in `edgechat --model-uri`, and `edgechat package` turns it into an ONNX model.

It needs the extras `mlflow` and `transformers`. MLflow's own ways are kept, its gaps too: an answer through MLflow
comes whole, as a list of one, and `stop`, `n` and `stream` stand in the signature without working.
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
        hf_folder: The model in Hugging Face form.
        store: Where to.
        register: A name in the model registry to register it under.

    Raises:
        ModelError: The folder is no model that can chat, or a library is missing.
        StorageError: MLflow cannot keep it.
    """
    found = read_hf_folder(hf_folder)
    need("mlflow", "transformers")
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

    def log() -> Any:
        return mlflow.transformers.log_model(
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

    return log_to(store, log)


def ask(uri: str) -> dict[str, Any]:
    """Load a logged model as MLflow does, and ask it one question.

    Returns:
        The answer in the form of `llm/v1/chat`: `choices[0].message.content`, `usage`.
    """
    import mlflow

    model = mlflow.pyfunc.load_model(uri)
    answers: list[dict[str, Any]] = model.predict(
        {
            "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": MAX_TOKENS,
            # A pipeline samples, and refuses 0; this is near enough to the likeliest answer.
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
