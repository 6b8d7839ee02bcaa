import contextlib
import http.server
import os
import shutil
import socket
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from mlflow.telemetry.utils import is_telemetry_disabled

from src.tracking import tracking_store
from src.tracking.mlflow_setup import MlflowClient, MlflowException
from src.tracking.tracking_store import TrackingError, open_store


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
def test_uri_of_a_store_is_absolute(given, expected, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if given:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert tracking_store.tracking_uri(Path("/home/me/project")) == expected


def test_error_is_shown_to_its_first_line_that_says_something():
    said = [tracking_store.first_line(ValueError(text)) for text in ("a\nb", "failures:\n## no space \nb", "a:", "")]
    assert said == ["a", "failures: ## no space", "a:", "ValueError"]


def open_and_close(uri, root):
    with open_store(uri, root):
        pass


@pytest.fixture
def silent_server():
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_silent_server_costs_seconds(silent_server, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking_store, "TIMEOUT_SECONDS", 0.2)
    begin = time.monotonic()
    with pytest.raises(TrackingError, match=f"MLflow store {silent_server}: .*timed out"):
        open_and_close(silent_server, tmp_path)
    assert time.monotonic() - begin < 5


def test_server_that_answers_anything_is_there(tmp_path):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(405)

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        open_and_close(f"http://127.0.0.1:{server.server_port}", tmp_path)
        server.shutdown()


def test_locked_database_costs_seconds(tmp_path, add_store, monkeypatch):
    monkeypatch.setattr(tracking_store, "TIMEOUT_SECONDS", 0.2)
    uri = add_store(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match=r"mlflow\.db: database is locked"):
            open_and_close(uri, tmp_path)
    open_and_close(uri, tmp_path)


def test_folder_that_cannot_be_used_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TrackingError, match=r"file/all\.db: "):
        open_and_close(f"sqlite:///{tmp_path / 'file' / 'all.db'}", tmp_path)


def test_another_process_that_records_is_waited_for_but_not_forever(tmp_path, add_store, monkeypatch):
    monkeypatch.setattr(tracking_store, "LOCK_SECONDS", 0.2)
    uri = add_store(tmp_path)
    with open_store(uri, tmp_path), pytest.raises(TrackingError, match=r"mlflow\.db\.lock"):
        open_and_close(uri, tmp_path)


def test_error_in_the_block_is_left_as_it_is(tmp_path, add_store):
    with pytest.raises(KeyError), open_store(add_store(tmp_path), tmp_path):
        raise KeyError


def test_database_whose_creation_is_interrupted_is_created_anew(tmp_path, database, monkeypatch):
    uri, part = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlflow.db.part"

    class Interrupted:
        def __init__(self, uri):
            part.write_text("half of it")
            raise MlflowException("interrupted")

    class Created(MlflowClient):
        def __init__(self, uri, **arguments):
            if uri.endswith(".part"):
                assert not part.exists()
                shutil.copy(database, part)
            super().__init__(uri, **arguments)

    monkeypatch.setattr(tracking_store, "MlflowClient", Interrupted)
    with pytest.raises(TrackingError, match="interrupted"):
        open_and_close(uri, tmp_path)
    assert not part.exists()
    part.write_text("half of it, as SIGKILL leaves it")
    monkeypatch.setattr(tracking_store, "MlflowClient", Created)
    open_and_close(uri, tmp_path)
    assert (tmp_path / "mlflow.db").read_bytes() == database.read_bytes()


def test_credentials_are_in_no_message(tmp_path):
    with pytest.raises(TrackingError) as raised:
        open_and_close("http://me:secret@127.0.0.1:9/mlflow", tmp_path)
    assert "127.0.0.1" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_default_store_is_restored(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mine")
    with tracking_store.as_default_store("sqlite:////srv/all.db"):
        assert os.environ["MLFLOW_TRACKING_URI"] == "sqlite:////srv/all.db"
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://mine"


def test_deleted_experiment_is_an_error(tmp_path, add_store):
    with open_store(add_store(tmp_path), tmp_path) as client:
        client.delete_experiment(client.create_experiment("gone", (tmp_path / "gone").as_uri()))
        with pytest.raises(TrackingError, match="experiment 'gone' was deleted in MLflow"):
            tracking_store.find_experiment(client, "gone", tmp_path)


def test_nothing_is_reported_to_the_makers_of_mlflow():
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert is_telemetry_disabled()
