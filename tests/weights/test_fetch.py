"""Fetching published weights: whatever a server does, no wrong file is ever taken from the cache."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from residuum.errors import DamagedError, InputError
from residuum.files import download as download_module
from residuum.weights.entries import PretrainedWeights, find
from residuum.weights.fetch import fetch, is_cached, sha256_of, verify, where

CONTENT = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
CUT = 200_000


class Handler(BaseHTTPRequestHandler):
    mode = "whole"
    asked: list[tuple[str, str | None]]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        kind = type(self)
        kind.asked.append((self.path, self.headers["Range"]))
        body, status, sent = CONTENT, 200, None
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        if kind.mode == "html":
            body = b"<html>log in</html>"
        elif kind.mode == "wrong":
            body = CONTENT[:-1] + b"x"
        elif kind.mode == "long":
            body = CONTENT * 20
        elif kind.mode in ("404", "416", "500"):
            body, status = b"", int(kind.mode)
        elif kind.mode in ("cut", "stall"):
            sent = CUT
        elif kind.mode == "redirect" and self.path.startswith("/w/"):
            self.send_response(302)
            self.send_header("Location", "/elsewhere.bin")
            self.end_headers()
            return
        elif start and kind.mode in ("whole", "other-range"):
            status, body = 206, CONTENT[start:]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 206:
            first = start + (1 if kind.mode == "other-range" else 0)
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(body[:sent])
        if kind.mode == "stall":
            self.wfile.flush()
            threading.Event().wait(1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Handler]]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("RESIDUUM_CACHE", str(tmp_path / "cache"))
    for name in ("RESIDUUM_MIRROR", "RESIDUUM_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    handler = type("Own", (Handler,), {"asked": []})
    serving = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    serving.daemon_threads = True
    serving.handle_error = lambda *_: None  # type: ignore[method-assign]
    handler.url = f"http://127.0.0.1:{serving.server_port}"  # type: ignore[attr-defined]
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield handler
    serving.shutdown()
    serving.server_close()
    thread.join()


@pytest.fixture
def entry(server: type[Handler]) -> PretrainedWeights:
    url = f"{server.url}/w/file.bin"  # type: ignore[attr-defined]
    return replace(find("resnet20", "akamaster"), url=url, sha256=DIGEST[:8], mib=len(CONTENT) / 2**20)


def test_fetched_once_then_known(server: type[Handler], entry: PretrainedWeights) -> None:
    seen: list[int] = []
    assert not is_cached(entry)
    path = fetch(entry, on_bytes=lambda done, total: seen.append(done))
    assert path == where(entry)
    assert path.read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)
    assert is_cached(entry)
    assert fetch(entry, offline=True) == path
    assert len(server.asked) == 1
    assert verify(entry) == sha256_of(entry) == DIGEST


@pytest.mark.parametrize("mode", ["html", "wrong", "long", "404", "416", "500", "cut", "stall"])
def test_no_fault_leaves_a_wrong_file(
    mode: str, server: type[Handler], entry: PretrainedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.mode = mode
    monkeypatch.setattr(download_module, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(InputError) as caught:
        fetch(entry)
    assert "\n" not in str(caught.value)
    assert not where(entry).exists()
    assert not is_cached(entry)
    monkeypatch.setattr(download_module, "TIMEOUT_SECONDS", 30)
    server.mode = "whole"
    assert fetch(entry).read_bytes() == CONTENT
    assert server.asked[-1][1] == (f"bytes={CUT}-" if mode in ("cut", "stall") else None), "it goes on where it was"


@pytest.mark.parametrize("mode", ["ignores", "416", "other-range"])
def test_a_server_that_cannot_go_on(mode: str, server: type[Handler], entry: PretrainedWeights) -> None:
    server.mode = "cut"
    with pytest.raises(InputError):
        fetch(entry)
    server.mode = mode
    if mode == "ignores":
        assert fetch(entry).read_bytes() == CONTENT
        return
    with pytest.raises(InputError):
        fetch(entry)
    server.mode = "whole"
    assert fetch(entry).read_bytes() == CONTENT
    assert server.asked[-1][1] is None


def test_redirects_and_mirrors(
    server: type[Handler], entry: PretrainedWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.mode = "redirect"
    assert fetch(entry).read_bytes() == CONTENT
    where(entry).unlink()
    server.mode = "whole"
    monkeypatch.setenv("RESIDUUM_MIRROR", f"{server.url}/mirror/")  # type: ignore[attr-defined]
    fetch(entry)
    assert server.asked[-1][0] == "/mirror/file.bin"
    where(entry).unlink()
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.setenv("RESIDUUM_MIRROR", str(folder))
    with pytest.raises(InputError, match=r"file\.bin: is not in the mirror"):
        fetch(entry)
    (folder / "file.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(DamagedError, match="sha256 differs"):
        fetch(entry)
    assert not where(entry).exists()
    (folder / "file.bin").write_bytes(CONTENT)
    count = len(server.asked)
    assert fetch(entry, offline=True).read_bytes() == CONTENT
    assert len(server.asked) == count


def test_offline_says_where_the_file_would_lie(
    server: type[Handler], entry: PretrainedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIDUUM_OFFLINE", "1")
    with pytest.raises(InputError, match="Try: residuum weights fetch resnet20:akamaster") as caught:
        fetch(entry)
    assert str(where(entry)) in str(caught.value)
    assert not server.asked
    where(entry).write_bytes(CONTENT)  # put there by hand
    assert fetch(entry) == where(entry)


def test_a_changed_file_is_seen_and_replaced(server: type[Handler], entry: PretrainedWeights) -> None:
    path = fetch(entry)
    path.write_bytes(CONTENT[:-1] + b"x")
    assert not is_cached(entry)
    with pytest.raises(DamagedError, match="is not the file of"):
        verify(entry)
    assert fetch(entry).read_bytes() == CONTENT


def test_a_file_checked_for_another_entry_is_checked_again(server: type[Handler], entry: PretrainedWeights) -> None:
    """A later version of the table may know another file by that name."""
    fetch(entry)
    other = replace(entry, url=entry.url.replace("/w/", "/v/"), sha256="0" * 8)
    assert not is_cached(other)
    with pytest.raises(DamagedError, match="sha256 differs"):
        fetch(other)
    with pytest.raises(DamagedError, match="is not the file of"):
        verify(other)
    assert fetch(entry).read_bytes() == CONTENT


def test_md5_where_that_is_published(entry: PretrainedWeights) -> None:
    right = replace(entry, sha256="", md5=hashlib.md5(CONTENT).hexdigest())
    with pytest.raises(DamagedError, match="md5 differs"):
        fetch(replace(right, md5="0" * 32))
    assert fetch(right).read_bytes() == CONTENT


def test_two_processes_fetch_once(server: type[Handler], entry: PretrainedWeights) -> None:
    code = (
        "import sys; from dataclasses import replace; from residuum.weights.entries import find;"
        "from residuum.weights.fetch import fetch;"
        f"fetch(replace(find('resnet20', 'akamaster'), url={entry.url!r}, sha256={entry.sha256!r}))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [each.wait(60) for each in both] == [0, 0]
    assert len(server.asked) == 1
    assert where(entry).read_bytes() == CONTENT


def test_what_no_program_can_fetch_says_how() -> None:
    with pytest.raises(InputError, match="residuum weights import ResNet-50-model"):
        fetch(find("resnet50_caffe", "caffe"))
    with pytest.raises(InputError, match="residuum weights import ResNet-50-model"):
        verify(find("resnet50_caffe", "caffe"))
