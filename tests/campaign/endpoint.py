"""An endpoint of judges in a process of its own, good or hostile."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import override

__all__ = ["ANSWERS", "KEY", "MISDEEDS", "serving"]

KEY = "sk-campaign-5f3c9a7e1b2d4860"
"""The key that must be nowhere."""
_HANGS_SECONDS = 30.0
_STATUSES = {"echo 400": 400, "echo 401": 401, "echo 403": 403, "429": 429, "echo 500": 500, "503": 503}
_BODIES = {
    "garbage": '{"choices": [{"mess',
    "not an object": "[1, 2, 3]",
    "no choices": '{"id": "x", "choices": []}',
    "choices of numbers": '{"id": "x", "choices": [1, 2]}',
    "empty": "",
    "binary": "\x00\xff\x7f" * 1000,
    "deep": "[" * 100_000,
}
_ANSWERS: dict[str, Any] = {
    "echo in answer": "",
    "huge": "word " * 2_000_000,
    "null content": None,
    "content of numbers": {"text": [1, 2, {"a": None}]},
    "no verdict": "Both have their merits.",
    "control characters": "\x1b[2J\x1b]0;title\x07\nBetter: A",
}
MISDEEDS = (*_STATUSES, *_BODIES, *_ANSWERS, "html", "redirect", "hang", "half", "wrong length", "dropped")
"""Ways in which the endpoint misbehaves."""
ANSWERS = frozenset(_ANSWERS)
"""Those that are answers, which a store may keep."""


@contextmanager
def serving(misdeeds: tuple[str, ...] = (), *, share: float = 1.0) -> Iterator[dict[str, str]]:
    """Serve in a forked process. Yields the environment variables of its clients.

    Args:
        misdeeds: What goes wrong; nothing if empty.
        share: Of questions that are not answered well.
    """
    server = _Server(misdeeds, share)
    child = os.fork()
    if not child:
        try:
            with open(os.devnull, "w") as nothing:  # noqa: PTH123
                os.dup2(nothing.fileno(), 2)
            server.serve_forever(poll_interval=0.01)
        finally:
            os._exit(0)
    port = server.server_address[1]
    server.socket.close()
    try:
        yield {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": KEY}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, misdeeds: tuple[str, ...], share: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.misdeeds = misdeeds
        self.share = share
        self.num_requests = 0

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: dropped connections are meant."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        question = self.rfile.read(int(self.headers["Content-Length"]))
        digest = hashlib.sha256(question).digest()
        self.server.num_requests += 1
        if self.server.misdeeds and digest[1] < 256 * self.server.share:
            self._misbehave(self.server.misdeeds[self.server.num_requests % len(self.server.misdeeds)])
        else:
            self._answer(f"One is better.\nBetter: {'AB'[digest[0] % 2]}")

    def do_GET(self) -> None:
        self._send(404, "{}")

    def _misbehave(self, misdeed: str) -> None:
        key = f"you sent {self.headers['Authorization']} to {self.headers['Host']}{self.path}"
        if misdeed in _ANSWERS:
            self._answer(_ANSWERS[misdeed] if misdeed != "echo in answer" else f"{key}\nBetter: A")
        elif misdeed in _BODIES:
            self._send(200, _BODIES[misdeed])
        elif misdeed in _STATUSES:
            error = json.dumps({"error": {"message": key, "type": "x", "param": None, "code": key}})
            self._send(_STATUSES[misdeed], error, **{"Retry-After-Ms": "1"})
        elif misdeed == "html":
            self._send(200, f"<html><body>{key}</body></html>", **{"Content-Type": "text/html"})
        elif misdeed == "redirect":
            self._send(307, "", Location=f"http://127.0.0.1:{self.server.server_address[1]}{self.path}")
        else:
            self._break_off(misdeed)

    def _break_off(self, misdeed: str) -> None:
        self.close_connection = True
        if misdeed == "hang":
            time.sleep(_HANGS_SECONDS)
        elif misdeed == "half":
            self._send(200, '{"choices"', **{"Content-Length": "1000"})
        elif misdeed == "wrong length":
            self._send(200, '{"choices": []}', **{"Content-Length": "-5"})
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, content: Any) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        answer = {"id": "x", "object": "chat.completion", "created": 0, "model": "judge", "choices": [choice]}
        self._send(200, json.dumps(answer))

    def _send(self, status: int, text: str, **headers: str) -> None:
        body = text.encode("latin-1", errors="replace")
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
