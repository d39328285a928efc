"""A server with the OpenAI protocol and configurable faults."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import override

__all__ = ["TEMPLATE", "OpenAIServer", "running_server"]

_BODIES = {"malformed": '{"choices": [{"mess', "no choices": '{"choices": []}', "nested": "[" * 100_000}
_ANSWERS = {
    "prose": "Both have their merits, and I would not want to choose.",
    "no text": "Half of a pair: \ud800",
}
TEMPLATE = "{{ prompt }}|{{ first }}|{{ second }}"
"""A judge prompt that the server can read."""


class OpenAIServer(ThreadingHTTPServer):
    """Prefers the longer completion, the first if both are equally long.

    Args:
        faults: What goes wrong before a question is answered, for each by its first completion; else nothing.
        seconds: How long a good answer takes.
    """

    daemon_threads = True
    # A dropped connection is meant.
    handle_error = lambda *_: None  # noqa: E731

    def __init__(self, faults: Mapping[str, Sequence[str]] | None = None, seconds: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.is_closing = threading.Event()
        self.left = {name: list(items) for name, items in (faults or {}).items()}
        self.seconds = seconds
        self.num_requests = 0
        self.verdicts: Counter[str] = Counter()
        """Questions that got a verdict, and how often."""
        self.settings: list[dict[str, Any]] = []
        """Fields of each request beside the messages."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def next_fault(self, first: str) -> str | None:
        with self.lock:
            self.num_requests += 1
            items = self.left.get(first, [])
            return items.pop(0) if items else None


@contextmanager
def running_server(faults: Mapping[str, Sequence[str]] | None = None, seconds: float = 0.0) -> Iterator[OpenAIServer]:
    """A server in a thread of its own."""
    server = OpenAIServer(faults, seconds)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.is_closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: OpenAIServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][0]["content"]
        _, first, second = question.split("|")
        self.server.settings.append({name: value for name, value in body.items() if name != "messages"})
        fault = self.server.next_fault(first)
        if fault is not None:
            self._misbehave(fault)
            return
        time.sleep(self.server.seconds)
        with self.server.lock:
            self.server.verdicts[question] += 1
        self._answer(f"One says more.\nBetter: {'A' if len(first) >= len(second) else 'B'}")

    def _misbehave(self, fault: str) -> None:
        match fault:
            case "429" | "500" | "503" | "400" | "401" | "404":
                message = {"error": {"message": f"fault {fault}"}}
                self._send(int(fault), json.dumps(message), headers={"retry-after-ms": "5"})
            case "echo 401" | "echo 400" | "echo":
                self._echo(fault)
            case "no temperature":
                self._send(400, json.dumps({"error": {"message": "unsupported value: temperature"}}))
            case "slow":
                self.server.is_closing.wait()
                self.close_connection = True
            case "html":
                self._send(200, "<html>Bad gateway</html>", kind="text/html")
            case "dropped":
                self.close_connection = True
                self.connection.close()
            case "cut off":
                self.close_connection = True
                self._send(200, '{"choices"', length=1000)
            case _ if fault in _BODIES:
                self._send(200, _BODIES[fault])
            case _:
                self._answer(_ANSWERS[fault])

    def _echo(self, fault: str) -> None:
        """The key, in an error or in an answer."""
        text = f"You sent {self.headers['Authorization']} to {self.path}."
        if fault == "echo":
            self._answer(f"{text}\nBetter: A")
        else:
            self._send(int(fault[-3:]), json.dumps({"error": {"message": text}}))

    def _answer(self, content: str) -> None:
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._send(
            200,
            json.dumps({"id": "x", "object": "chat.completion", "created": 0, "model": "judge", "choices": [choice]}),
        )

    def _send(
        self,
        status: int,
        text: str,
        *,
        kind: str = "application/json",
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(text.encode())))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
