"""A server on this machine that answers like the Hugging Face Hub, as far as publishing needs it.

Uploads go the way of large files (LFS): `HF_HUB_DISABLE_XET=1` keeps the client to it.
"""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_right"
READER = "hf_reader"  # may read and not write


@dataclass
class Repo:
    """A repository: its files at the last commit, and the commits."""

    private: bool
    files: dict = field(default_factory=lambda: {".gitattributes": b"*.safetensors filter=lfs\n"})
    commits: list = field(default_factory=lambda: ["0" * 40])


class Hub:
    """What the server holds, and the faults that a test asks for."""

    def __init__(self):
        self.repos: dict[str, Repo] = {}
        self.stored: dict[str, bytes] = {}  # large files by their SHA-256
        self.requests: list[tuple[str, str]] = []
        self.fault = None  # (method, part of a path) to a status, asked before each answer
        self.hold = threading.Event()  # set: uploads wait until it is cleared
        self.holding = threading.Event()  # an upload waits
        self.url = ""

    def commit(self, repo: Repo, lines: list[dict]) -> str:
        """All changes of a commit at once."""
        files = dict(repo.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.stored[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        repo.files = files
        digest = hashlib.sha1(repr(sorted(files)).encode() + str(len(repo.commits)).encode())
        repo.commits.append(digest.hexdigest())
        return repo.commits[-1]


class Handler(BaseHTTPRequestHandler):
    """The requests of the client, one method of the class a route."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args):
        pass

    def answer(self, status: int, body=None, **headers):
        """Send JSON or bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def read(self) -> bytes:
        """The body of a request, sent whole or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    @property
    def user(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def route(self):
        body, path = self.read(), self.path.partition("?")[0]
        self.hub.requests.append((self.command, path))
        status = self.hub.fault(self.command, path) if self.hub.fault else None
        if status:
            return self.answer(status, {"error": f"fault {status}"})
        for pattern, method in ROUTES.items():
            if found := re.fullmatch(pattern, f"{self.command} {path}"):
                return method(self, body, *found.groups())
        self.answer(404, {"error": "no such page"})

    do_GET = do_HEAD = do_POST = do_PUT = route

    def visible(self, name: str) -> Repo | None:
        """The repository, if there is one that this user may see; else the answer is 404."""
        repo = self.hub.repos.get(name)
        if repo and (not repo.private or self.user in (TOKEN, READER)):
            return repo
        self.answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")

    def whoami(self, body):
        known = self.user in (TOKEN, READER)
        self.answer(200 if known else 401, {"name": "user"} if known else {"error": "Invalid"})

    def create(self, body):
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if self.user != TOKEN or asked["organization"] != "user":
            return self.answer(403, {"error": "no right to write"})
        if name in self.hub.repos:
            return self.answer(409, {"error": "You already created this model repo"})
        private = asked.get("private") or asked.get("visibility") == "private"
        self.hub.repos[name] = Repo(bool(private))
        self.answer(200, {"url": f"{self.hub.url}/{name}"})

    def info(self, body, name, revision="main"):
        if repo := self.visible(name):
            files = [{"rfilename": path} for path in repo.files]
            facts = {"id": name, "private": repo.private, "sha": repo.commits[-1]}
            self.answer(200, facts | {"siblings": files, "tags": []})

    def yaml(self, body):
        assert json.loads(body)["content"].startswith("---\n")
        self.answer(200, {"errors": [], "warnings": []})

    def preupload(self, body, name):
        if self.user != TOKEN:
            return self.answer(403, {"error": "no right to write"})
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self.answer(200, {"files": modes})

    def batch(self, body, name):
        objects = []
        for item in json.loads(body)["objects"]:
            url = f"{self.hub.url}/store/{item['oid']}"
            verify = {"href": f"{self.hub.url}/verify/{item['oid']}"}
            there = item["oid"] in self.hub.stored
            actions = {} if there else {"actions": {"upload": {"href": url}, "verify": verify}}
            objects.append(item | actions)
        self.answer(200, {"transfer": "basic", "objects": objects})

    def store(self, body, oid):
        if self.hub.hold.is_set():
            self.hub.holding.set()
            return self.close()
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.stored[oid] = body
        self.answer(200)

    def close(self):
        """Leave a request without an answer, until the client goes away."""
        self.connection.recv(1)
        self.close_connection = True

    def verify(self, body, oid):
        whole = len(self.hub.stored.get(oid, b"")) == json.loads(body)["size"]
        self.answer(200 if whole else 422)

    def commit(self, body, name):
        lines = [json.loads(line) for line in body.splitlines()]
        repo = self.hub.repos[name]
        parent = lines[0]["value"].get("parentCommit")
        if parent and parent != repo.commits[-1]:
            return self.answer(412, {"error": "A commit has happened since"})
        oid = self.hub.commit(repo, lines[1:])
        self.answer(200, {"commitUrl": f"{self.hub.url}/{name}/commit/{oid}", "commitOid": oid})

    def resolve(self, body, name, revision, file):
        if not (repo := self.visible(name)):
            return
        if file not in repo.files:
            return self.answer(404, {"error": "no such file"}, X_Error_Code="EntryNotFound")
        data = repo.files[file]
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        self.answer(200, data, ETag=etag, X_Repo_Commit=repo.commits[-1])

    def tree(self, body, name, revision):
        if repo := self.visible(name):
            rows = [
                {"type": "file", "path": p, "size": len(d), "oid": hashlib.sha1(d).hexdigest()}
                for p, d in repo.files.items()
            ]
            self.answer(200, rows)


_NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = {
    r"GET /api/whoami-v2": Handler.whoami,
    r"POST /api/repos/create": Handler.create,
    rf"GET /api/models/{_NAME}": Handler.info,
    rf"GET /api/models/{_NAME}/revision/([\w.-]+)": Handler.info,
    rf"GET /api/models/{_NAME}/tree/([\w.-]+)": Handler.tree,
    r"POST /api/validate-yaml": Handler.yaml,
    rf"POST /api/models/{_NAME}/preupload/main": Handler.preupload,
    rf"POST /{_NAME}\.git/info/lfs/objects/batch": Handler.batch,
    r"PUT /store/(\w+)": Handler.store,
    r"POST /verify/(\w+)": Handler.verify,
    rf"POST /api/models/{_NAME}/commit/main": Handler.commit,
    rf"(?:GET|HEAD) /{_NAME}/resolve/([\w.-]+)/(.+)": Handler.resolve,
}


@contextmanager
def run_hub():
    """A Hub at `hub.url` for as long as the block runs."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
