"""init=hub against a stub of the Hugging Face Hub on this machine."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from commands import TINY, fcnexp
from huggingface_hub import constants

SHA = "0123456789abcdef0123456789abcdef01234567"
NET = "someone/pets"
QUICK = [*TINY, "logger=csv", "trainer=cpu", "pictures=0"]


class Hub(BaseHTTPRequestHandler):
    """Serves `files` of one repository at one commit, and notes what was asked for."""

    def __init__(self, files: dict[str, bytes], asked: list[str], *connection) -> None:
        self.files, self.asked = files, asked
        super().__init__(*connection)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.asked.append(f"{self.command} {self.path}")
        path = self.path.removeprefix(f"/{NET}/resolve/")
        revision, _, name = path.partition("/")
        content = self.files.get(name) if revision in ("main", SHA) else None
        self.send_response(404 if content is None else 200)
        if content is None:
            known = self.path.startswith(f"/{NET}/")
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            content = b""
        self.send_header("X-Repo-Commit", SHA)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *parts) -> None:
        pass


@contextmanager
def served(files: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Address of the stub, and what it was asked for."""
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, files, asked)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """Folder with a finished run `out`, and its net in `net.safetensors`."""
    folder = tmp_path_factory.mktemp("hub")
    typed(folder, "train", *QUICK, "hydra.run.dir=out")
    last = "checkpoint=out/checkpoints/last.ckpt"
    typed(folder, "export", last, "output=net.safetensors", "format=safetensors")
    return folder


def typed(folder: Path, name: str, *arguments: str, code: int = 0):
    done = fcnexp(name, *arguments, folder=folder, cache=folder / "cache")
    assert done.returncode == code, done.stderr
    return done


def use(monkeypatch, address: str, cache: Path) -> None:
    """What HF_ENDPOINT and HF_HOME do for a process that starts with them."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


def test_published_net_is_fetched_once_and_scores_as_before(shared, monkeypatch):
    files = {"model.safetensors": (shared / "net.safetensors").read_bytes()}
    command = [*QUICK, "init=hub", f"init.repo={NET}", "regime.steps=0"]
    with served(files) as (address, asked):
        use(monkeypatch, address, shared / "hub")
        typed(shared, "train", *command, "hydra.run.dir=again")
        wanted = f"/{NET}/resolve/main/model.safetensors"
        assert [each for each in asked if NET in each] == [f"HEAD {wanted}", f"GET {wanted}"]
    ours, theirs = (
        torch.load(shared / run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for run in ("out", "again")
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if name[:4] == "net.")
    assert SHA in (shared / "again/train.log").read_text()
    digest = hashlib.sha256(files["model.safetensors"]).hexdigest()
    assert json.loads((shared / "again/certificate.json").read_text())["weights"] == {
        "init.file": digest
    }

    # Without network, the file in the Hub's cache is used.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    typed(shared, "train", *command, "hydra.run.dir=offline")


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (["init.repo=someone/dogs"], "someone/dogs: model.safetensors at main cannot be fetched"),
        ([f"init.repo={NET}", "init.file=gone.pt"], "gone.pt at main cannot be fetched"),
        ([f"init.repo={NET}", "init.revision=v2"], "model.safetensors at v2 cannot be fetched"),
        (["init.repo=one/two/three"], "Repo id must be in the form"),
        ([], "init.repo: required"),
        ([f"init.repo={NET}", "init.file=notes.txt"], "notes.txt"),
    ],
)
def test_what_cannot_be_fetched_or_read_is_named(given, part, shared, monkeypatch):
    files = {"model.safetensors": b"damaged", "notes.txt": b"hello"}
    with served(files) as (address, _):
        use(monkeypatch, address, shared / "other")
        told = typed(shared, "train", *QUICK, "init=hub", *given, code=1).stderr
    assert told.startswith("error: ") and part in told and "Traceback" not in told
    assert "init.path=FILE" in told or "fetched" not in told
