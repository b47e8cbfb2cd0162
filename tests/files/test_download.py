"""Downloads from a server on this machine that does everything wrong."""

from __future__ import annotations

import errno
import hashlib
import http.client
import random
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fault_steps import Steps, raising
from residuum.errors import DamagedError, InputError, ResiduumError, StorageError
from residuum.files import download as module
from residuum.files.download import cache_directory, download

CONTENT = random.Random(0).randbytes(700_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
CUT = 300_000
HTML = b"<!doctype html><title>log in</title>" + b"<p>please</p>" * 50


class Server(ThreadingHTTPServer):
    """Answers every request in the way that `mode` says and remembers what was asked."""

    daemon_threads = True
    mode = "whole"
    sent = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.bin"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers["Range"])
        getattr(self, "do_" + self.server.mode.replace("-", "_"))()

    def _head(self, status: int, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_whole(self) -> None:
        asked = self.headers["Range"]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if start >= len(CONTENT):
            self._head(416, 0)
            return
        content = CONTENT[start:]
        if asked:
            self._head(206, len(content), Content_Range=f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self._head(200, len(content))
        self.wfile.write(content)

    def do_ignores_range(self) -> None:
        self._head(200, len(CONTENT))
        self.wfile.write(CONTENT)

    def do_cut(self) -> None:
        self._head(200, len(CONTENT))
        self.wfile.write(CONTENT[:CUT])

    def do_reset(self) -> None:
        self.do_cut()
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()

    def do_cut_chunks(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self._head(200, Transfer_Encoding="chunked", Connection="close")
        self.wfile.write(f"{len(CONTENT):x}\r\n".encode() + CONTENT[:CUT])

    def do_silent(self) -> None:
        pass

    def do_garbage(self) -> None:
        self.wfile.write(b"220 mail.example.org ESMTP\r\n\r\n")

    def do_html(self) -> None:
        self._head(200, len(HTML), Content_Type="text/html")
        self.wfile.write(HTML)

    def do_wrong(self) -> None:
        self._head(200, len(CONTENT))
        self.wfile.write(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))

    def do_endless(self) -> None:
        self._head(200)
        try:
            for _ in range(200):
                self.wfile.write(CONTENT)
                self.server.sent += len(CONTENT)
        except OSError:
            pass

    def do_missing(self) -> None:
        self._head(404, 0)

    def do_broken(self) -> None:
        self._head(503, 0)

    def do_redirect(self) -> None:
        self.server.mode = "whole"
        self._head(302, 0, Location="/elsewhere")

    def do_circle(self) -> None:
        self._head(302, 0, Location="/file.bin")

    def do_to_a_file(self) -> None:
        self._head(302, 0, Location="file:///etc/hostname")

    def do_stalled(self) -> None:
        self._head(200, len(CONTENT))
        self.wfile.write(CONTENT[:CUT])
        self.wfile.flush()
        threading.Event().wait(3)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def get(server: Server, target: Path, *, size: int | None = len(CONTENT)) -> Path:
    return download(server.url, target, sha256=DIGEST, size_bytes=size)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "file.bin"


def names(target: Path) -> list[str]:
    """The files beside a target, but for the lock, which stays."""
    found = target.parent.iterdir() if target.parent.exists() else ()
    return sorted(path.name for path in found if path.suffix != ".lock")


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_file_is_fetched_whole_and_reported(server: Server, target: Path, size: int | None) -> None:
    seen: list[tuple[int, int | None]] = []
    returned = download(
        server.url, target, sha256=DIGEST, size_bytes=size, on_bytes=lambda done, total: seen.append((done, total))
    )
    assert returned == target
    assert target.read_bytes() == CONTENT
    assert names(target) == ["file.bin"]
    assert {total for _, total in seen} == {len(CONTENT)}, "the server says how much it is"
    assert seen[-1][0] == len(CONTENT)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_two_that_want_the_same_file_fetch_it_once(server: Server, target: Path) -> None:
    begun = threading.Event()

    def slowly(done: int, total: int | None) -> None:
        if not begun.is_set():
            begun.set()
            threading.Event().wait(0.3)  # in which the other one begins

    def second() -> Path:
        assert begun.wait(10)
        return get(server, target)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(download, server.url, target, sha256=DIGEST, size_bytes=len(CONTENT), on_bytes=slowly)
        two = pool.submit(second)
        assert one.result() == two.result() == target
    assert server.ranges == [None]
    assert target.read_bytes() == CONTENT


def test_who_waited_for_one_that_failed_goes_on_with_its_part(server: Server, target: Path) -> None:
    server.mode = "cut"
    with pytest.raises(InputError):
        get(server, target)
    server.mode = "whole"
    with ThreadPoolExecutor(4) as pool:
        assert {*pool.map(lambda _: get(server, target), range(4))} == {target}
    assert server.ranges == [None, f"bytes={CUT}-"]
    assert target.read_bytes() == CONTENT


def test_a_right_file_in_a_directory_that_cannot_be_written_needs_no_lock(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    monkeypatch.setattr(module, "FileLock", None)
    assert get(server, target) == target
    assert server.ranges == []


def test_a_right_file_is_kept_without_asking_and_a_wrong_one_replaced(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"something else")
    get(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.ranges) == 1
    get(server, target)
    assert len(server.ranges) == 1


@pytest.mark.parametrize("mode", ["cut", "reset", "cut-chunks"])
def test_a_cut_download_says_so_and_goes_on_where_it_was(server: Server, target: Path, mode: str) -> None:
    server.mode = mode
    with pytest.raises(InputError) as caught:
        get(server, target)
    assert not isinstance(caught.value, DamagedError)
    assert server.url in str(caught.value)
    assert not target.exists()
    part = target.with_name("file.bin.part")
    done = part.stat().st_size
    assert 0 < done <= CUT
    assert CONTENT.startswith(part.read_bytes())
    server.mode = "whole"
    get(server, target)
    assert server.ranges == [None, f"bytes={done}-"]
    assert target.read_bytes() == CONTENT
    assert names(target) == ["file.bin"]


def test_a_download_can_be_cut_many_times(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 1000)
    for done in (100_000, 200_000, 650_000):

        def stop(now: int, total: int | None, limit: int = done) -> None:
            if now >= limit:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            download(server.url, target, sha256=DIGEST, size_bytes=len(CONTENT), on_bytes=stop)
        assert not target.exists()
    get(server, target)
    assert target.read_bytes() == CONTENT
    assert 650_000 <= int(str(server.ranges[-1]).strip("bytes=-")) <= 651_000


def test_a_server_that_ignores_the_range_is_taken_from_the_start(server: Server, target: Path) -> None:
    server.mode = "cut"
    with pytest.raises(InputError):
        get(server, target)
    server.mode = "ignores-range"
    get(server, target)
    assert server.ranges[1] is not None
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_complete_part_is_used_as_it_is(server: Server, target: Path, size: int | None) -> None:
    """The process ended between the last byte and the rename; a server answers 416 to a range past the end."""
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(CONTENT)
    get(server, target, size=size)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("length", [CUT, len(CONTENT), len(CONTENT) + 5])
def test_a_part_of_another_file_is_not_used(server: Server, target: Path, length: int) -> None:
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(b"\0" * length)
    try:
        get(server, target)
    except DamagedError:
        assert names(target) == []
        get(server, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_html_with_status_200_leaves_nothing(server: Server, target: Path, size: int | None) -> None:
    server.mode = "html"
    with pytest.raises(InputError, match=r"file\.bin"):
        get(server, target, size=size)
    assert not target.exists()
    assert names(target) == [], "a page of a portal is no beginning of the file"
    server.mode = "whole"
    get(server, target, size=size)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_wrong_bytes_leave_nothing(server: Server, target: Path, size: int | None) -> None:
    server.mode = "wrong"
    with pytest.raises(DamagedError, match=f"sha256 differs .expected {DIGEST[:12]}"):
        get(server, target, size=size)
    assert names(target) == []


def test_too_many_bytes_are_cut_off(server: Server, target: Path) -> None:
    server.mode = "endless"
    with pytest.raises(DamagedError, match=f"{len(CONTENT):,} bytes"):
        get(server, target)
    assert names(target) == []
    assert server.sent < 100 * len(CONTENT), "the rest was not read"


@pytest.mark.parametrize(
    ("mode", "reason"), [("missing", "Not Found"), ("broken", "Service Unavailable"), ("circle", "redirect")]
)
def test_a_refusal_is_named(server: Server, target: Path, mode: str, reason: str) -> None:
    server.mode = mode
    with pytest.raises(InputError, match=rf"(?s)file\.bin: .*{reason}.*Try: ") as caught:
        get(server, target)
    assert "\n" not in str(caught.value)
    assert names(target) == []


def test_a_redirect_is_followed_but_not_to_a_local_file(server: Server, target: Path) -> None:
    server.mode = "redirect"
    get(server, target)
    assert target.read_bytes() == CONTENT
    target.unlink()
    server.mode = "to-a-file"
    with pytest.raises(InputError):
        get(server, target)
    assert names(target) == []


@pytest.mark.parametrize("mode", ["silent", "garbage"])
def test_a_server_that_does_not_speak_http_is_no_storage_error(server: Server, target: Path, mode: str) -> None:
    server.mode = mode
    with pytest.raises(InputError, match=r"127\.0\.0\.1"):
        get(server, target)
    assert not target.exists()


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EHOSTUNREACH, "No route to host"), ssl.SSLError(1, "bad record mac"), ConnectionResetError()],
)
def test_a_network_that_fails_on_the_way_is_no_storage_error(
    error: OSError, server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: http.client.HTTPResponse, size: int) -> bytes:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(http.client.HTTPResponse, "read1", fail)
        with pytest.raises(InputError, match=r"file\.bin: the connection failed \(.+\)\. Try: "):
            get(server, target)
    get(server, target)
    assert target.read_bytes() == CONTENT


def test_no_server_at_all(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        with pytest.raises(InputError, match=r"(?i)refused.*Try: "):
            download(url, target, sha256=DIGEST)


def test_a_stalled_server_is_given_up(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.2)
    server.mode = "stalled"
    with pytest.raises(InputError, match="no answer"):
        get(server, target)
    server.mode = "whole"
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 30)
    get(server, target)
    assert target.read_bytes() == CONTENT


def test_a_full_disk_is_a_storage_error_and_the_next_try_works(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        Steps(2, raising(errno.ENOSPC), only="write").install(patch.setattr)
        with pytest.raises(StorageError, match="No space left"):
            get(server, target)
    assert not target.exists()
    try:
        get(server, target)
    except DamagedError:  # the part may end in the middle of a piece
        get(server, target)
    assert target.read_bytes() == CONTENT


def test_at_no_mode_is_a_wrong_file_at_the_target(server: Server, target: Path) -> None:
    """The same directory through every fault, twice, and at the end the right file."""
    for mode in ("cut", "html", "wrong", "endless", "cut", "wrong", "missing", "html", "cut", "endless"):
        server.mode = mode
        with pytest.raises(ResiduumError):
            get(server, target)
        assert not target.exists(), mode
    server.mode = "whole"
    for _ in range(2):
        try:
            get(server, target)
        except DamagedError:
            continue
    assert target.read_bytes() == CONTENT


def test_where_downloads_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RESIDUUM_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "own"
    monkeypatch.delenv("RESIDUUM_CACHE")
    assert cache_directory() == tmp_path / "xdg" / "residuum"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_directory() == Path.home() / ".cache" / "residuum"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    for name in ("RESIDUUM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=r"^RESIDUUM_CACHE: there is no home directory\. Try: RESIDUUM_CACHE=DIR$"):
        cache_directory()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "residuum"
