"""A local stub of W&B's server that can also be slow, hang, or fail."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SLOW = 30  # seconds per response


class Server(ThreadingHTTPServer):
    """A stub server. mood: `works`, `slow`, `hangs`, or the status code of every response."""

    daemon_threads = True

    def __init__(self, mood: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mood, self.asked = mood, []
        self.closing = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.asked.append(self.path)
        if self.server.mood == "hangs":
            self.server.closing.wait()
            return
        if self.server.mood == "slow" and self.server.closing.wait(SLOW):
            return
        code = 200 if self.server.mood in ("works", "slow") else int(self.server.mood)
        self.send_response(code)
        self.end_headers()
        answer = (
            {"errors": [{"message": f"mood {code}"}]} if code != 200 else {"data": answer_to(body)}
        )
        self.wfile.write(json.dumps(answer).encode())

    do_GET = do_PUT = do_POST

    def log_message(self, *_: object) -> None:
        pass


def answer_to(body: bytes) -> dict:
    """Response to a query: just enough for a run to start and upload."""
    try:
        asked = json.loads(body)
    except ValueError:
        return {}
    query, run = asked.get("query", ""), (asked.get("variables") or {}).get("name")
    if "viewer" in query:
        return {"viewer": {"id": "1", "entity": "e", "username": "u", "flags": "{}"}}
    if "upsertBucket" in query:
        project = {"id": "1", "name": "p", "entity": {"id": "1", "name": "e"}}
        bucket = {"id": "1", "name": run, "displayName": run, "config": "{}", "project": project}
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}
    return {"model": {"id": "1", "name": "p", "bucket": None}} if "RunResumeStatus" in query else {}


def unused_address() -> str:
    """URL of a port on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"
