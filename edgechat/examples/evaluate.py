"""Ask a model a fixed set of questions and log the results, so that two versions can be compared in MLflow's UI.

    python -m edgechat.examples.evaluate --model-uri smollm2 --tracking-uri http://localhost:5000
    mlflow run edgechat/examples -e evaluate --env-manager local -P model_uri=models:/smollm2@champion

A run gets metrics and the table `answers.json`. The metrics are plain ones rather than those of
`mlflow.genai.evaluate`: every server can show and compare them, no judge is needed, and the speeds are measured by the
worker. Sampling is greedy, so that the same model gives the same answers; each question is a separate conversation.

Questions are a JSON file: a list of objects with `question` and `keywords`, at least one of which the answer must
    contain
as a word, ignoring case. A keyword shows that an answer may be right; it does not prove it.

It needs the extra `mlflow`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from edgechat.chat.conversation import Message
from edgechat.cli.main import report
from edgechat.cli.output import narrate
from edgechat.engine.protocol import Finished, ModelInfo, Request, Sampling, TextDelta
from edgechat.errors import ConfigError, EdgechatError
from edgechat.examples.recipe import go_quietly
from edgechat.examples.recorded import Measured, add_destination, record
from edgechat.i18n.sentence import Sentence
from edgechat.models.uri import resolve_model
from edgechat.registry.client import connect
from edgechat.runtime.regular_files import read_regular
from edgechat.session.factory import engine_for, pulled_notice
from edgechat.settings.loader import load_config
from edgechat.settings.schema import Config

QUESTIONS = Path(__file__).parent / "questions.json"
MAX_TOKENS = 32
_LARGEST = 16_000_000
GREEDY = Sampling(temperature=0)


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question and its expected keywords.

    Attributes:
        question: The question.
        keywords: Words of which one must occur in the answer.
    """

    question: Annotated[str, msgspec.Meta(min_length=1)]
    keywords: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1)], ...],
        msgspec.Meta(min_length=1),
    ]


class Answer(msgspec.Struct, frozen=True):
    """The answer to a question.

    Attributes:
        text: The answer.
        finished: How it ended.
    """

    text: str
    finished: Finished

    def hits(self, question: Question) -> bool:
        """Whether it contains one of the keywords."""
        return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", self.text, re.I) for word in question.keywords)


def read_questions(path: Path) -> list[Question]:
    """Read the questions from a file. Raises ConfigError."""
    try:
        questions = msgspec.json.decode(read_regular(path, _LARGEST), type=list[Question])
    except OSError as error:
        raise ConfigError(
            "Questions cannot be read", Sentence("{path}: {strerror}.", path=path, strerror=error.strerror or error)
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            "Questions are not understood",
            Sentence("{path}: {error}.", path=path, error=error),
            'Each is an object: {"question": "...", "keywords": ["..."]}.',
        ) from error
    if not questions:
        raise ConfigError("No questions", Sentence("{path} has none.", path=path))
    return questions


async def ask_all(config: Config, questions: Sequence[Question]) -> tuple[ModelInfo, list[Answer]]:
    """Ask each question in a separate conversation. Raises EdgechatError."""
    client = engine_for(config)
    answers: list[Answer] = []
    try:
        info = await client.start()
        # The first is asked twice, once as a warm-up.
        for number, question in enumerate([questions[0], *questions]):
            texts: list[str] = []
            request = Request((Message("user", question.question),), GREEDY, config.max_tokens)
            async for event in client.stream(request):
                if isinstance(event, TextDelta):
                    texts.append(event.text)
                elif isinstance(event, Finished) and number:
                    answers.append(Answer("".join(texts), event))
    finally:
        await client.aclose()
    return info, answers


def measured(config: Config, info: ModelInfo, questions: Sequence[Question], answers: Sequence[Answer]) -> Measured:
    """Return metrics, the table of answers, and the model's properties."""
    hits = [answer.hits(question) for question, answer in zip(questions, answers, strict=True)]
    ends = [answer.finished for answer in answers]
    speeds = [end.tokens_per_second for end in ends if end.usage.completion > 1]
    metrics = {
        "keyword_hit_rate": statistics.fmean(hits),
        "answered_share": statistics.fmean(bool(answer.text.strip()) for answer in answers),
        "finished_share": statistics.fmean(end.reason == "stop" for end in ends),
        "mean_completion_tokens": statistics.fmean(end.usage.completion for end in ends),
        "ttft_seconds": statistics.median(end.timings.ttft for end in ends),
        **({"tokens_per_second": statistics.median(speeds)} if speeds else {}),
    }
    table: dict[str, Sequence[object]] = {
        "question": [question.question for question in questions],
        "keywords": [", ".join(question.keywords) for question in questions],
        "answer": [answer.text for answer in answers],
        "hit": hits,
        "finish_reason": [end.reason for end in ends],
        "completion_tokens": [end.usage.completion for end in ends],
    }
    return Measured(
        f"evaluate {info.name}", _parameters(config, info, len(questions)), metrics, tables={"answers.json": table}
    )


def _parameters(config: Config, info: ModelInfo, count: int) -> dict[str, object]:
    model = resolve_model(config.model_uri)
    known = {
        "model": info.name,
        "model_version": model.origin.version if model.origin is not None else "",
        "source_sha256": str(model.mlflow.metadata.get("source_sha256") or "") if model.mlflow is not None else "",
        "architecture": info.architecture,
        "quantisation": model.quantisation,
        "threads": info.threads,
        "context": info.context,
        "question_count": count,
    }
    return {name: value for name, value in known.items() if value != ""}


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, log, and print the metrics as JSON.

    Returns:
        The exit code; see `errors.ExitCode`.
    """
    parser = argparse.ArgumentParser(
        prog="python -m edgechat.examples.evaluate",
        description="Ask a model a fixed set of questions, and log how it did to an MLflow server.",
    )
    parser.add_argument("--model-uri", metavar="URI", help="a folder, the name of an installed model, or a pulled URI")
    parser.add_argument("--questions", metavar="FILE", help="questions in place of the ones that came along")
    parser.add_argument("--max-tokens", type=int, default=MAX_TOKENS, help="upper bound of an answer's length")
    add_destination(parser)
    options = parser.parse_args(arguments)
    try:
        config = load_config(model_uri=options.model_uri, max_tokens=options.max_tokens)
        questions = read_questions(Path(options.questions) if options.questions else QUESTIONS)
        connect(options.tracking_uri)  # reports an unreachable server before minutes of work
        if notice := pulled_notice(config):
            narrate(notice)
        narrate(f"asking {len(questions)} questions")
        info, answers = asyncio.run(ask_all(config, questions))
        result = measured(config, info, questions, answers)
        run_id = record(result, options.tracking_uri, options.experiment)
    except EdgechatError as error:
        report(error)
        return int(error.exit_code)
    sys.stdout.write(json.dumps({"run_id": run_id, **result.metrics}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    go_quietly()
    raise SystemExit(main())
