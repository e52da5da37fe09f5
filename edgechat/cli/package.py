"""`edgechat package`: converts a source to an MLflow model folder, and optionally records it on a server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from edgechat.cli.output import ProgressLine, json_option, narrate, print_json
from edgechat.errors import ConfigError
from edgechat.i18n.sentence import Sentence


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="The folder to write.")
@click.option("--name", metavar="NAME", help="What to call the model; the folder's own name if left out.")
@click.option("--link", is_flag=True, help="Hard-link the weights of an ONNX GenAI folder instead of copying them.")
@click.option("--trust", is_flag=True, help="Accept a model that loads native code of its own. It can do anything.")
@click.option("--log", "logged", is_flag=True, help="Measure it, and log a run with the model to an MLflow server.")
@click.option("--register", metavar="NAME", help="Register it under this name too; means --log.")
@click.option("--alias", metavar="ALIAS", help="Point this alias to the new version; requires --register.")
@click.option("--tracking-uri", metavar="URI", help="The MLflow server; MLFLOW_TRACKING_URI if left out.")
@click.option("--experiment", metavar="NAME", help="Where the run goes; MLFLOW_EXPERIMENT_NAME, else edgechat.")
@json_option
def package(
    source: Path,
    out: Path,
    name: str | None,
    link: bool,
    trust: bool,
    logged: bool,
    register: str | None,
    alias: str | None,
    tracking_uri: str | None,
    experiment: str | None,
    as_json: bool,
) -> None:
    """Make an MLflow model folder of SOURCE and print its path.

    SOURCE is an ONNX GenAI folder, a GGUF file, a Hugging Face folder, or an MLflow model that holds one of them. GGUF
    weights are kept exactly; Hugging Face folders become int4 through onnxruntime-genai's own builder (install the
    extra: pip install 'edgechat[convert-hf]'). The folder opens in edgechat, in mlflow.pyfunc.load_model and in `mlflow
    models serve`, and goes into a binary. It is whole or not there.

    With --log a short benchmark is run, and a run with the model's parameters, speeds and card goes to the MLflow
    server.

    \b
    Examples:
      edgechat package ./phi3-onnx --out ./phi3
      edgechat package model.gguf --out ./model --name smollm2
      edgechat package ./phi3-hf --out ./phi3 --register phi3 --alias champion \\
          --tracking-uri http://localhost:5000
    """
    from edgechat.flavor.package import find_source
    from edgechat.flavor.package import package as make

    if alias and not register:
        raise ConfigError(
            "Alias without a name", Sentence("{alias} needs a registered model.", alias=alias), "Add --register NAME."
        )
    logged = logged or register is not None
    if logged:
        from edgechat.registry.client import server_uri, translate_errors
        from edgechat.registry.push import check_names, connect

        # Report problems with the server before minutes of work.
        connect(tracking_uri)
        with translate_errors(server_uri(tracking_uri)):
            check_names(register, alias)
    found = find_source(source, trust=trust)
    with ProgressLine("packaging") as line:
        model = make(found, out, name=name, link=link, on_progress=lambda part, words: line.show(f"{words} {part:.0%}"))
    result = {
        "path": str(model.root),
        "name": model.name,
        "architecture": model.architecture,
        "quantisation": model.quantisation,
        "size_bytes": model.size_bytes,
    }
    if logged:
        from edgechat.bench.measure import measure
        from edgechat.engine.worker.client import ModelSource
        from edgechat.models.card import card_markdown
        from edgechat.models.manifest import quick_check
        from edgechat.registry.run_record import Destination, record

        narrate("measuring the model")
        speed = asyncio.run(measure(ModelSource(model.genai, model.name)))
        card = card_markdown(model, quick_check(model.root))
        with ProgressLine("sending") as sending:
            pushed = record(
                model, speed, card, Destination(tracking_uri, experiment, register, alias), on_progress=sending
            )
        result |= {"run_id": pushed.run_id, "model_id": pushed.model_id, "registered": pushed.name}
        result |= {"version": pushed.version, "alias": pushed.alias, "tracking_uri": pushed.tracking_uri}
        meant = f", registered as {pushed.name} version {pushed.version}" if pushed.version else ""
        narrate(f"logged in run {pushed.run_id}{meant}{f', now {pushed.alias}' if pushed.alias else ''}")
    if as_json:
        print_json(result)
        return
    narrate(f"chat with it: edgechat --model-uri {model.root}")
    click.echo(str(model.root))
