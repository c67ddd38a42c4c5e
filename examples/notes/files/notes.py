#!/usr/bin/python3
"""Store notes over HTTP.

``POST /notes`` stores a note. ``GET /notes`` returns the newest notes, ``GET /notes/7`` the seventh note, and
``GET /notes/count`` the number of notes. ``GET /healthz`` returns the version and the image of the host.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATABASE = "/var/lib/notes/notes.sqlite"
SEAL = "/usr/lib/immutable/seal.json"
NEWEST = 20

lock = threading.Lock()
database = sqlite3.connect(DATABASE, check_same_thread=False, isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
with open(SEAL, encoding="utf-8") as file:
    seal = json.load(file)


def query(statement: str, *values: object) -> list[tuple]:
    with lock:
        return database.execute(statement, values).fetchall()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/healthz":
            [(count,)] = query("SELECT count(*) FROM notes")
            self.answer(200, {"version": seal["version"], "image": seal["digest"], "notes": count})
        elif self.path == "/notes":
            self.answer(200, [text for (text,) in query("SELECT text FROM notes ORDER BY id DESC LIMIT ?", NEWEST)])
        elif self.path == "/notes/count":
            self.answer(200, query("SELECT count(*) FROM notes")[0][0])
        elif self.path.startswith("/notes/") and (found := query("SELECT text FROM notes WHERE id = ?", self.path[7:])):
            self.answer(200, found[0][0])
        else:
            self.answer(404, {"error": "not found"})

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode("utf-8", "replace")
        if self.path != "/notes":
            self.answer(404, {"error": "not found"})
            return
        [(number,)] = query("INSERT INTO notes (text) VALUES (?) RETURNING id", text)
        self.answer(201, {"id": number})

    def answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        """Log nothing, as nginx handles every request first."""


ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
