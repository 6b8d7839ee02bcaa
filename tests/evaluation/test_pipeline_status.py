import copy
import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from src.evaluation import git_revisions, pipeline_status

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:dvc")  # DVC uses pygtrie so
TABLES = [Path("metrics/scores.json")]
STAGES = {
    "train": {"cmd": "false", "deps": ["train.py", "data/raw"], "outs": ["data/model"]},
    "evaluate": {
        "cmd": "false",
        "params": ["evaluate"],
        "deps": ["evaluate.py", "data/model"],
        "outs": ["metrics/curves.csv"],
        "metrics": [{"metrics/scores.json": {"cache": False}}],
    },
    "record": {"cmd": "false", "deps": ["record.py", "metrics/scores.json"], "outs": ["data/recorded"]},
}
CONTENT = {
    "train.py": "1\n",
    "evaluate.py": "2\n",
    "record.py": "3\n",
    "params.yaml": "evaluate:\n  threshold: null\n",
    "metrics/scores.json": '{"threshold": 0.5}\n',
    "metrics/curves.csv": "7\n",
    "data/raw": "4\n",
    "data/model": "5\n",
    "data/recorded": "6\n",
}


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments], check=True)


def entry(path: str) -> dict:
    content = CONTENT[path].encode()
    return {"path": path, "hash": "md5", "md5": hashlib.md5(content).hexdigest(), "size": len(content)}


def locked(name: str) -> dict:
    stage = STAGES[name]
    outs = [*stage.get("outs", []), *(path for metric in stage.get("metrics", []) for path in metric)]
    params = {"params": {"params.yaml": {"evaluate": {"threshold": None}}}} if "params" in stage else {}
    return {"cmd": stage["cmd"], "deps": [*map(entry, stage["deps"])], "outs": [*map(entry, outs)], **params}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A DVC project as git holds it, in a subfolder of a repository: its data are not there, its stages cannot run."""
    root = tmp_path / "project"
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet", "--initial-branch", "main")
    for folder in ("metrics", ".dvc"):
        (root / folder).mkdir(parents=True)
    monkeypatch.chdir(root)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    for path, content in CONTENT.items():
        if not path.startswith("data/") and path != "metrics/curves.csv":
            Path(path).write_text(content, encoding="utf-8")
    Path(".gitignore").write_text("/data/\n/metrics/curves.csv\n", encoding="utf-8")
    Path(".dvc/config").write_text("[core]\n    analytics = false\n", encoding="utf-8")
    Path(".dvc/.gitignore").write_text("/tmp\n/cache\n", encoding="utf-8")
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}, sort_keys=False), encoding="utf-8")
    write_lock()
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    return root


def write_lock() -> None:
    lock = {"schema": "2.0", "stages": {name: locked(name) for name in STAGES}}
    Path("dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")


def append(path: str) -> Callable[[], None]:
    return lambda: Path(path).write_text(CONTENT[path] + "# more\n", encoding="utf-8")


def stale(tree: git_revisions.FileTree = git_revisions.WORKING) -> list[str]:
    return pipeline_status.stale_stages(tree)


def altered(tree: git_revisions.FileTree = git_revisions.WORKING) -> list[str]:
    return pipeline_status.changed_since_lock(tree, pipeline_status.read_lock(tree), TABLES)


def other_threshold() -> None:
    Path("params.yaml").write_text("evaluate:\n  threshold: 0.5\n", encoding="utf-8")


def other_model_in_lock() -> None:
    md5 = entry("data/model")["md5"]
    Path("dvc.lock").write_text(Path("dvc.lock").read_text().replace(md5, "a" * 32, 1), encoding="utf-8")


def test_what_was_committed_after_a_run_is_fresh_without_its_data(project):
    assert stale() == []
    assert altered() == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (append("train.py"), ["train", "evaluate"]),
        (append("evaluate.py"), ["evaluate"]),
        (other_threshold, ["evaluate"]),
        (append("metrics/scores.json"), ["evaluate"]),
        (lambda: Path("evaluate.py").unlink(), ["evaluate"]),
        (lambda: Path("dvc.lock").write_text("schema: '2.0'\nstages: {}\n"), ["train", "evaluate"]),
        (other_model_in_lock, ["evaluate"]),
    ],
)
def test_stale_stages_are_named(project, change, expected):
    change()
    assert stale() == expected


def test_stale_stage_is_named_where_its_data_are_there(project):
    for path in ("data/raw", "data/model", "data/recorded"):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(CONTENT[path], encoding="utf-8")
    assert stale() == []
    append("train.py")()
    assert stale() == ["train", "evaluate"]


def test_data_outside_the_repository_need_not_be_there(project):
    stages = copy.deepcopy(STAGES)
    stages["train"]["deps"].append("../../clinic")
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False), encoding="utf-8")
    lock = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))
    lock["stages"]["train"]["deps"].append({"path": "../../clinic", "hash": "md5", "md5": "a" * 32 + ".dir"})
    Path("dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")
    assert stale() == []


def test_stage_that_makes_no_metrics_and_feeds_none_does_not_count(project):
    append("record.py")()
    assert stale() == []


def test_revision_is_judged_as_it_was_committed(project):
    append("evaluate.py")()
    git("commit", "--quiet", "--all", "-m", "second")
    assert stale(git_revisions.find_tree("HEAD")) == ["evaluate"]
    assert stale(git_revisions.find_tree("HEAD~1")) == []


def test_invalid_pipeline_gives_a_message(project):
    Path("dvc.yaml").write_text("stages:\n  train: 3\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"the working tree: expected DVC to tell which stages are stale, got .*dvc\.yaml"
    ):
        stale()


def test_altered_and_missing_files_are_named(project):
    path = Path("metrics/scores.json")
    append(path.as_posix())()
    assert altered()[0].startswith(f"{path}: expected md5 {entry(path.as_posix())['md5']} as in dvc.lock, got ")
    assert altered(git_revisions.find_tree("main")) == []
    path.unlink()
    assert altered() == [f"{path}: expected a file, found none"]


def test_cached_file_is_compared_where_it_is_there(project):
    path = Path("metrics/curves.csv")
    path.write_text(CONTENT[path.as_posix()], encoding="utf-8")
    assert altered() == stale() == []
    append(path.as_posix())()
    assert altered()[0].startswith(f"{path}: expected md5 ")


def test_table_that_no_stage_wrote_is_reported(project):
    Path("dvc.lock").write_text("schema: '2.0'\nstages: {}\n", encoding="utf-8")
    assert altered() == ["dvc.lock: expected the stage that wrote metrics/scores.json, found none"]


def test_lock_tells_the_parameters_of_the_stage_that_wrote_a_file(project):
    lock = pipeline_status.read_lock(git_revisions.WORKING)
    assert lock.params("metrics/scores.json", "evaluate") == {"threshold": None}
    assert lock.params("data/model", "evaluate") is None
    assert lock.params("data/none", "evaluate") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<<<<<<< HEAD\nstages:\n", "dvc.lock: expected YAML, got "),
        ("", "dvc.lock: all: "),
        ("stages: [train]\n", "dvc.lock: stages: "),
        ("stages:\n  train:\n    outs: [{md5: 1}]\n", r"dvc.lock: stages\.train\.outs\.0\.path: "),
    ],
)
def test_invalid_lock_gives_one_message(project, content, message):
    Path("dvc.lock").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        pipeline_status.read_lock(git_revisions.WORKING)
    assert "\n" not in str(caught.value)
