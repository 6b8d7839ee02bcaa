import shutil

import pandas as pd
import pytest


def test_project_without_git_and_lock_can_be_recorded(tmp_path, project, gather, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in (".git", "dvc.lock", "dvc.yaml", "params.yaml"):
        path = project / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run = gather(project)
    assert not [name for name in run.tags if name.startswith(("git.", "md5."))]
    assert run.files["pipeline"] == []
    assert run.inputs == []


@pytest.mark.parametrize("name", ["scores.json", "training.csv", "per_image.csv", "summary.csv"])
def test_table_that_is_truncated_is_named(project, gather, name):
    path = project / "metrics" / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=rf"{name}: expected "):
        gather(project)


def test_per_image_table_is_read_with_text_ids(project, gather):
    table = gather(project).tables["per_image.csv"]
    assert isinstance(table, pd.DataFrame)
    assert table["id"].tolist() == ["01"]
