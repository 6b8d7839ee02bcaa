import contextlib
import http.server
import socket
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from src import stores


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "sqlite:////home/me/project/mlflow.db"),
        ("sqlite:///runs/all.db", "sqlite:////home/me/project/runs/all.db"),
        ("sqlite:////srv/all.db", "sqlite:////srv/all.db"),
        ("sqlite+pysqlite:///all.db?timeout=9", "sqlite:////home/me/project/all.db"),
        ("sqlite://", "sqlite://"),
        ("http://server:5000", "http://server:5000"),
    ],
)
def test_store_is_absolute(given, expected, monkeypatch):
    if given:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert stores.store(Path("/home/me/project")) == expected


@pytest.fixture
def silent():
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_server_that_is_silent_costs_seconds(silent, tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "ANSWER_SECONDS", 0.2)
    begin = time.monotonic()
    with pytest.raises(stores.Unreachable, match=f"{silent}: expected an MLflow store that answers"):
        stores.held(silent, tmp_path).__enter__()
    assert time.monotonic() - begin < 5


def test_server_that_answers_anything_is_there(tmp_path):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(405)

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with stores.held(f"http://127.0.0.1:{server.server_port}", tmp_path):
            pass
        server.shutdown()


def test_locked_database_is_unreachable_after_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "ANSWER_SECONDS", 0.2)
    path = tmp_path / "all.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(stores.Unreachable, match=r"all\.db: .* got: database is locked"):
            stores.held(f"sqlite:///{path}", tmp_path).__enter__()
    with stores.held(f"sqlite:///{path}", tmp_path):
        pass


def test_folder_that_cannot_be_made_is_unreachable(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(stores.Unreachable, match="expected an MLflow store that answers"):
        stores.held(f"sqlite:///{tmp_path / 'file' / 'all.db'}", tmp_path).__enter__()


def test_another_process_that_records_is_waited_for_and_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "LOCK_SECONDS", 0.2)
    uri = f"sqlite:///{tmp_path / 'all.db'}"
    with stores.held(uri, tmp_path), pytest.raises(stores.Unreachable, match=r"all\.db\.lock"):
        stores.held(uri, tmp_path).__enter__()


def test_what_goes_wrong_with_the_store_in_hand_is_no_matter_of_reaching_it(tmp_path):
    with pytest.raises(FileNotFoundError), stores.held(f"sqlite:///{tmp_path / 'all.db'}", tmp_path):
        raise FileNotFoundError
