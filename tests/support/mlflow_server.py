"""A real MLflow server on loopback for tests, and a proxy before it that breaks off, stalls and lies when asked to."""

from __future__ import annotations

import http.client
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from edgechat.runtime.opt_outs import OPT_OUTS


def free_port() -> int:
    """A port of loopback on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class MlflowServer:
    """`mlflow server` with everything it keeps in one folder; a context manager.

    Attributes:
        uri: The tracking URI.
        folder: Where its database, its artifacts and its log are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> MlflowServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, after `stop` with all that it had, and wait until it answers."""
        options = {
            "--host": "127.0.0.1",
            "--port": str(self._port),
            "--workers": "1",
            "--backend-store-uri": f"sqlite:///{self.folder / 'mlflow.db'}",
            "--artifacts-destination": str(self.folder / "artifacts"),
        }
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *(word for pair in options.items() for word in pair)],
                cwd=self.folder,
                env={**os.environ, **OPT_OUTS},
                stdout=log,
                stderr=log,
                start_new_session=True,  # its workers end with it
            )
        end = time.monotonic() + 120
        while not self._answers():
            told = (self.folder / "server.log").read_text()[-2000:]
            assert self._process.poll() is None, told
            assert time.monotonic() < end, told
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """End it and its workers."""
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(timeout=15)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.wait(timeout=15)
        self._process = None


Rewrite = Callable[[str, bytes], bytes]
"""From the path asked for and the answer's body to the body that is sent on."""


class Proxy:
    """An HTTP proxy before a server, for one test; a context manager.

    Attributes:
        uri: Its own address.
        asked: The paths asked for with GET, in order, with their queries.
        stall: A path's end; of such an answer the first bytes are sent, and then no more.
        rewrite: Changes bodies.
        sent: The paths of what was sent with other methods than GET, in order.
        let_through: Asked when the server has answered; False breaks the connection before the answer is passed on.
    """

    FIRST = 3_000_000  # more than MLflow writes at once

    def __init__(self, target: str) -> None:
        self.asked: list[str] = []
        self.stall = ""
        self.rewrite: Rewrite | None = None
        self.sent: list[str] = []
        self.let_through: Callable[[], bool] = lambda: True
        self._ended = threading.Event()
        outer, host = self, target.removeprefix("http://")

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name: value for name, value in self.headers.items() if name.lower() in _PASSED_ON}
                behind = http.client.HTTPConnection(host, timeout=60)
                behind.request(self.command, self.path, body or None, headers)
                answer = behind.getresponse()
                content = answer.read()
                behind.close()
                (outer.asked if self.command == "GET" else outer.sent).append(self.path)
                if not outer.let_through():
                    self.close_connection = True
                    return
                if outer.rewrite is not None:
                    content = outer.rewrite(self.path, content)
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.getheader("Content-Type") or "application/octet-stream")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if outer.stall and self.path.endswith(outer.stall):
                    self.wfile.write(content[: outer.FIRST])
                    self.wfile.flush()
                    outer._ended.wait()
                else:
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815 - as http.server names them

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A client that was killed is no error here."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()


_PASSED_ON = frozenset({"content-type", "accept", "authorization", "x-mlflow-experiment-id"})
