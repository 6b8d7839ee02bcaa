import pytest

from src.common.project_root import real_root


@pytest.mark.parametrize("inside", ["", "sub/project"])
@pytest.mark.parametrize("dvc_at_project", [True, False])
def test_real_root_of_an_experiment(tmp_path, inside, dvc_at_project):
    project = tmp_path / "repository" / inside
    dvc_root = project if dvc_at_project else tmp_path / "repository"
    checkout = dvc_root / ".dvc" / "tmp" / "exps" / "temp" / "tmp1"
    for git in (tmp_path / "repository" / ".git", checkout / ".git", checkout / inside):
        git.mkdir(parents=True, exist_ok=True)
    project.mkdir(parents=True, exist_ok=True)
    assert real_root(checkout / inside) == project
    assert real_root(project) == project
