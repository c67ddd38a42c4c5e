#!/usr/bin/python3
"""Notes over HTTP: POST /notes stores one, GET /notes lists the newest, GET /notes/7 is the seventh, GET /notes/count counts
them, GET /healthz tells who answers."""
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


def ask(statement: str, *values: object) -> list[tuple]:
    with lock:
        return database.execute(statement, values).fetchall()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/healthz":
            [(count,)] = ask("SELECT count(*) FROM notes")
            self.answer(200, {"version": seal["version"], "image": seal["digest"], "notes": count})
        elif self.path == "/notes":
            self.answer(200, [text for (text,) in ask("SELECT text FROM notes ORDER BY id DESC LIMIT ?", NEWEST)])
        elif self.path == "/notes/count":
            self.answer(200, ask("SELECT count(*) FROM notes")[0][0])
        elif self.path.startswith("/notes/") and (found := ask("SELECT text FROM notes WHERE id = ?", self.path[7:])):
            self.answer(200, found[0][0])
        else:
            self.answer(404, {"error": "no such place"})

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode("utf-8", "replace")
        if self.path != "/notes":
            self.answer(404, {"error": "no such place"})
            return
        [(number,)] = ask("INSERT INTO notes (text) VALUES (?) RETURNING id", text)
        self.answer(201, {"id": number})

    def answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        """nginx stands in front; nothing more to say."""


ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
