import shutil

import pandas as pd
import pytest
import yaml

from src import runs


def test_changed_code_is_dirty_and_changed_params_and_results_are_not(project, gather):
    (project / "params.yaml").write_text("changed: true\n")
    (project / "metrics" / "new.csv").write_text("made by a stage\n")
    clean = gather(project).tags["git.dirty"]
    (project / "new.py").write_text("changed = True\n")
    dirty = gather(project).tags["git.dirty"]
    (project / "new.py").unlink()
    assert (clean, dirty) == ("false", "true")


def test_project_without_git_and_lock_can_be_recorded(tmp_path, project, gather, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in (".git", "dvc.lock", "dvc.yaml", "params.yaml"):
        path = project / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run = gather(project)
    assert not [name for name in run.tags if name.startswith(("git.", "md5."))]
    assert run.files["pipeline"] == []
    assert run.inputs == []


def test_fingerprint_knows_the_state(tmp_path):
    table = tmp_path / "scores.json"
    table.write_text("{}")
    first = runs.fingerprint({"md5.data/model/model.h5": "a"}, {"seed": 1}, [table])
    assert runs.fingerprint({"md5.data/model/model.h5": "b"}, {"seed": 1}, [table]) != first
    assert runs.fingerprint({"md5.data/model/model.h5": "a"}, {"seed": 2}, [table]) != first
    table.write_text("{} ")
    assert runs.fingerprint({"md5.data/model/model.h5": "a"}, {"seed": 1}, [table]) != first


@pytest.mark.parametrize(
    ("path", "known"),
    [("data/model.h5", True), ("data/test", True), ("metrics/audit.csv", True), ("data/report.html", False)],
)
def test_fingerprint_is_that_of_what_the_stage_depends_on(project, gather, path, known):
    """Else two clones, of which one was changed bit by bit, end with different files."""
    lock = project / "dvc.lock"
    values = yaml.safe_load(lock.read_text(encoding="utf-8"))
    tags = []
    for md5 in ("1", "2"):
        values["stages"]["one"] = {"cmd": md5, "deps": [{"path": "src/a.py", "md5": md5}]}
        values["stages"]["one"]["outs"] = [{"path": path, "md5": md5}]
        lock.write_text(yaml.safe_dump(values), encoding="utf-8")
        tags.append(gather(project).tags[runs.FINGERPRINT])
    assert (tags[0] != tags[1]) == known
    values["stages"]["one"]["deps"][0]["md5"] = "other code, the same outputs"
    lock.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert gather(project).tags[runs.FINGERPRINT] == tags[1]


@pytest.mark.parametrize("name", ["scores.json", "training.csv", "per_image.csv"])
def test_table_that_is_cut_off_is_named(project, gather, name):
    path = project / "metrics" / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=rf"{name}: expected "):
        gather(project)


def test_per_image_table_is_read_with_text_ids(project, gather):
    assert isinstance(gather(project).per_image, pd.DataFrame)
    assert gather(project).per_image["id"].tolist() == ["01"]


def test_training_is_told_by_its_weights_and_its_table(project, gather):
    before = gather(project).tags[runs.TRAINING]
    scores = project / "metrics" / "scores.json"
    scores.write_text(scores.read_text().replace("0.8", "0.7"))
    assert gather(project).tags[runs.TRAINING] == before
    (project / "data" / "model.h5").write_bytes(b"other weights")
    assert gather(project).tags[runs.TRAINING] != before


def test_lock_is_told_without_the_stage_that_records():
    lock = {"stages": {"train": {"cmd": "a"}}}
    assert runs.lock_hash({"stages": {"record": {"cmd": "b"}, **lock["stages"]}}) == runs.lock_hash(lock)
    assert runs.lock_hash({"stages": {"train": {"cmd": "b"}}}) != runs.lock_hash(lock)
