"""The default model as a function of Spark: every row answered in its place, and the model loaded once a worker."""

from __future__ import annotations

import gc
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgechat.flavor import save_model
from edgechat.runtime.opt_outs import OPT_OUTS

pytestmark = [
    pytest.mark.filterwarnings("default"),  # MLflow's and pyspark's own imports warn
    pytest.mark.model,
    pytest.mark.slow,
]

ROWS, PARTITIONS, ROWS_A_BATCH = 200, 4, 25
CHAT = """
    struct<model string, choices array<struct<index int, finish_reason string,
    message struct<role string, content string>>>, usage struct<prompt_tokens long, completion_tokens long>>
"""

# Run by every Python that Spark starts: notes the process in which a model's configuration is read.
NOTE_LOADS = """
import os, sys

def note(event, arguments):
    if event == "open" and str(arguments[0]).endswith("genai_config.json"):
        with open({log!r}, "a") as file:
            file.write(f"{{os.getpid()}}\\n")

sys.addaudithook(note)
"""


def java_works() -> bool:
    """Whether there is a Java; macOS has a program of that name that only says there is none."""
    return shutil.which("java") is not None and (
        subprocess.run(["java", "-version"], capture_output=True, check=False, timeout=60).returncode == 0
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spark")


@pytest.fixture(scope="module")
def loads(folder: Path) -> Path:
    """Where each load is noted, by the process's id."""
    return folder / "loads"


@pytest.fixture(scope="module")
def spark(folder: Path, loads: Path) -> Iterator[Any]:
    """Spark with two workers on loopback, which writes into a folder of the test's own."""
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed (the group spark)")
    if not java_works():
        pytest.skip("there is no Java (.ci/run installs it)")
    from pyspark.sql import SparkSession

    hook, work = folder / "hook", folder / "work"
    hook.mkdir()
    work.mkdir()
    hook.joinpath("sitecustomize.py").write_text(NOTE_LOADS.format(log=str(loads)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("PYSPARK_DRIVER_PYTHON", sys.executable)
        patch.setenv("PYTHONPATH", str(hook))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("SPARK_LOCAL_DIRS", str(folder / "local"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        for name, value in OPT_OUTS.items():
            patch.setenv(name, value)
        settings = {
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.memory": "1g",
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
            "spark.sql.execution.arrow.maxRecordsPerBatch": str(ROWS_A_BATCH),
        }
        builder = SparkSession.builder.master("local[2]").appName("edgechat")
        for key, value in settings.items():
            builder = builder.config(key, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        end(session)
        assert list(work.iterdir()) == []


def end(session: Any) -> None:
    """Stop Spark and its Java, which would otherwise stay until the last test of all."""
    from pyspark import SparkContext

    gateway = session.sparkContext._gateway
    session.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()  # this is what it waits for
    gateway.proc.wait(timeout=60)
    SparkContext._gateway = SparkContext._jvm = None
    gc.collect()  # pyspark leaves sockets open, of which Python warns; here and not in someone else's test


@pytest.fixture(scope="module")
def model(default_genai: Path, folder: Path) -> Path:
    save_model(default_genai, folder / "model", metadata={"name": "smollm2"}, weights="link")
    return folder / "model"


def function(spark: Any, model: Path, result_type: str) -> Any:
    """The model as a function of columns."""
    import mlflow.pyfunc

    return mlflow.pyfunc.spark_udf(
        spark, str(model), result_type=result_type, env_manager="local", model_config={"context": 256, "threads": 1}
    )


@pytest.fixture(scope="module")
def ask(spark: Any, model: Path) -> Any:
    return function(spark, model, "string")


def test_two_hundred_prompts_and_one_load_a_worker(spark: Any, ask: Any, model: Path, loads: Path) -> None:
    from mlflow.pyfunc import load_model
    from pyspark.sql import functions as columns

    asked = [(number, f"What is {number} + 1?", 4, 0.0) for number in range(ROWS)]
    frame = spark.createDataFrame(asked, "id int, prompt string, max_tokens int, temperature double")
    answered = frame.repartition(PARTITIONS).withColumn(
        "answer", ask(columns.struct("prompt", "max_tokens", "temperature"))
    )
    rows = answered.collect()
    # More tasks than workers, and more batches than tasks.
    assert answered.rdd.getNumPartitions() == PARTITIONS
    assert sorted(row.id for row in rows) == list(range(ROWS))
    assert all(row.prompt == f"What is {row.id} + 1?" for row in rows)
    assert all(row.answer for row in rows)

    processes = loads.read_text().split()
    assert 1 <= len(set(processes)) <= 2
    # Its configuration is read once to be judged, and once to be loaded.
    assert all(processes.count(each) == 2 for each in processes)

    answers = {row.id: row.answer for row in rows}
    some = [0, 57, 111, 199]
    alone = load_model(str(model), model_config={"context": 256, "threads": 1})
    prompts = [f"What is {number} + 1?" for number in some]
    assert alone.predict({"prompt": prompts}, {"max_tokens": 4, "temperature": 0.0}) == [answers[row] for row in some]


def test_conversations_give_chat_answers(spark: Any, model: Path) -> None:
    from pyspark.sql import functions as columns

    asked = [(number, [{"role": "user", "content": f"Tell me of a {word}."}], 3) for number, word in enumerate("ab")]
    frame = spark.createDataFrame(
        asked, "id int, messages array<struct<role string, content string>>, max_tokens int"
    ).coalesce(1)
    chat = function(spark, model, CHAT)
    rows = frame.withColumn("answer", chat(columns.struct("messages", "max_tokens"))).orderBy("id").collect()
    for row in rows:
        assert row.answer.model == "smollm2"
        (choice,) = row.answer.choices
        assert choice.message.role == "assistant"
        assert choice.message.content
        assert row.answer.usage.completion_tokens == 3


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "words"),
    [(None, 2, "A row has no prompt"), ("", 2, "A prompt is empty"), ("Hello", -1, "max_tokens")],
)
def test_a_bad_row_is_told_by_name(spark: Any, ask: Any, prompt: str | None, max_tokens: int, words: str) -> None:
    from pyspark.errors import PythonException
    from pyspark.sql import functions as columns

    rows = [("Hello", 2), (prompt, max_tokens)]
    frame = spark.createDataFrame(rows, "prompt string, max_tokens int").coalesce(1)
    with pytest.raises(PythonException, match=words) as caught:
        frame.withColumn("answer", ask(columns.struct("prompt", "max_tokens"))).collect()
    assert "Row 2" in str(caught.value)
