"""A hub on this machine: as much of its protocol as pushing and fetching a small repository needs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub(ThreadingHTTPServer):
    """Repositories by name, each its files; `refuses` is a status that answers everything instead."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.commits: list[tuple[str, str | None]] = []
        self.tokens: list[str | None] = []
        self.fetched: list[str] = []
        self.refuses: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def version(self, name: str) -> str:
        """The commit of a repository: a hash of what is in it."""
        return hashlib.sha1(repr(sorted(self.repositories[name].items())).encode()).hexdigest()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(b"")

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body: bytes) -> None:
        hub, path = self.server, self.path.partition("?")[0]
        hub.tokens.append(self.headers.get("Authorization"))
        if hub.refuses is not None:
            self._json({"error": "no"}, status=hub.refuses)
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            hub.repositories.setdefault(name, {})
            hub.private.setdefault(name, asked.get("private", False) or asked.get("visibility") == "private")
            self._json({"url": f"{hub.url}/{name}", "name": name, "id": name})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit|revision|tree)/([^/]+)", path):
            name, what = found[1], found[2]
            if name not in hub.repositories:
                self._missing("RepoNotFound")
            elif what in ("revision", "tree") and found[3] not in ("main", hub.version(name)):
                self._missing("RevisionNotFound")
            else:
                getattr(self, f"_{what}")(name, body)
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(found[1], found[3])
        elif path.startswith("/api/models/"):
            self._missing("RepoNotFound")
        else:
            self._json({"error": f"not known here: {path}"}, status=404)

    def _preupload(self, name: str, body: bytes) -> None:
        files = [
            {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in json.loads(body)["files"]
        ]
        self._json({"files": files})

    def _commit(self, name: str, body: bytes) -> None:
        files = self.server.repositories[name]
        for line in map(json.loads, body.decode().splitlines()):
            value: dict[str, Any] = line["value"]
            if line["key"] == "file":
                assert value["encoding"] == "base64"
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            elif line["key"] == "header":
                self.server.commits.append((value["summary"], self.headers["Authorization"]))
        version = self.server.version(name)
        self._json({"commitUrl": f"{self.server.url}/{name}/commit/{version}", "commitOid": version, "success": True})

    def _revision(self, name: str, body: bytes) -> None:
        siblings = [{"rfilename": each} for each in self.server.repositories[name]]
        self._json({"id": name, "modelId": name, "sha": self.server.version(name), "siblings": siblings})

    def _tree(self, name: str, body: bytes) -> None:
        files = self.server.repositories[name]
        self._json(
            [
                {"type": "file", "path": each, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for each, content in files.items()
            ]
        )

    def _file(self, name: str, path: str) -> None:
        content = self.server.repositories.get(name, {}).get(path)
        if content is None:
            self._missing("EntryNotFound")
            return
        if self.command == "GET":
            self.server.fetched.append(path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.server.version(name))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _missing(self, code: str) -> None:
        self._json({"error": code}, status=404, code=code)

    def _json(self, value: object, *, status: int = 200, code: str | None = None) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if code is not None:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that serves until the end of the block."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
