"""The MLflow recipe with a Python wrapper: log an ONNX GenAI folder behind a `PythonModel`, and query it.

    python -m edgechat.examples.custom_wrapper GENAI_FOLDER --out FOLDER

GENAI_FOLDER holds genai_config.json, the graph and the tokenizer, such as a Phi-3-mini int4 export. The model takes a
prompt and returns text; `edgechat.flavor.wrapper` is the wrapper. The logged model works with `mlflow.pyfunc`, `mlflow
models serve` and `edgechat --model-uri`, which uses the artifact and never unpickles the wrapper.

It needs the extra `mlflow`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgechat.examples.recipe import Logged, Store, go_quietly, log_to, need, run
from edgechat.models.folder import open_model

PROMPT = "<|system|>You are a helpful assistant.<|end|><|user|>What is the capital of France?<|end|><|assistant|>"
SETTINGS = {"max_length": 300, "temperature": 0.2}


def log_wrapper(genai_folder: Path, store: Store, register: str | None = None) -> Logged:
    """Log the folder as the artifact of a wrapper.

    Args:
        genai_folder: The model.
        store: Where to log it.
        register: A name to register it under in the model registry.

    Raises:
        ModelError: The folder is not an ONNX GenAI model, or a library is missing.
        StorageError: MLflow cannot store it.
    """
    model = open_model(genai_folder)
    need("mlflow")
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature

    def log() -> Any:
        from edgechat.flavor.wrapper import ARTIFACT, Phi3Model

        return mlflow.pyfunc.log_model(
            name="chat",
            python_model=Phi3Model(),
            artifacts={ARTIFACT: str(model.genai)},
            model_config=SETTINGS,
            # A frame, because MLflow would read {"prompt": ["..."]} as a prompt that is an array of strings.
            signature=infer_signature(pd.DataFrame({"prompt": [PROMPT]}), ["Paris."]),
            # The wrapper is pickled by reference, so edgechat must be installed; its code is carried along.
            code_paths=[str(Path(__file__).parents[1])],
            **_requirements(),
            metadata={"name": model.name},
            registered_model_name=register,
        )

    return log_to(store, log)


def _requirements() -> dict[str, list[str]]:
    """Return the wrapper's requirements besides those MLflow finds by loading the model, for which it needs pip.

    An environment made by uv has no pip, so there this list is complete.
    """
    from edgechat.flavor.save import scoring_requirements

    argument = "extra_pip_requirements" if importlib.util.find_spec("pip") is not None else "pip_requirements"
    return {argument: scoring_requirements()}


def ask(uri: str) -> Any:
    """Load a logged model as MLflow does and ask it one question. Returns a list with one text."""
    import mlflow

    return mlflow.pyfunc.load_model(uri).predict({"prompt": PROMPT})


def main(arguments: Sequence[str] | None = None) -> int:
    """Log the model, print its signature and an answer. Returns the exit code."""
    return run(
        log_wrapper,
        ask,
        module="edgechat.examples.custom_wrapper",
        about="Log an ONNX GenAI folder behind the Phi-3 cookbook's wrapper, and ask it something.",
        takes="an ONNX GenAI folder, or an MLflow model that holds one",
        arguments=arguments,
    )


if __name__ == "__main__":
    go_quietly()
    raise SystemExit(main())
