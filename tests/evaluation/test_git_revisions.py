import subprocess
from pathlib import Path

import pytest

from src.evaluation import git_revisions


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments], check=True)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project in a subfolder of a repository; the working tree differs from the commit."""
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet", "--initial-branch", "main")
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("a.txt").write_text("committed", encoding="utf-8")
    Path("marked.txt").write_text("committed", encoding="utf-8-sig")
    Path("b.bin").write_bytes(b"\xff")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    Path("a.txt").write_text("changed", encoding="utf-8")
    return folder


def test_revision_is_read_as_it_was_committed(project):
    for name in ("a.txt", "marked.txt"):
        assert git_revisions.find_tree("HEAD").text(Path(name)) == "committed"
    assert git_revisions.WORKING.text(Path("a.txt")) == "changed"


def test_folder_of_a_revision_holds_its_files_for_the_length_of_a_block(project):
    with git_revisions.find_tree("main").folder() as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b.bin", "marked.txt"]
        assert (folder / "a.txt").read_text() == "committed"
    assert not folder.exists()
    with git_revisions.WORKING.folder() as folder:
        assert folder.resolve() == project


@pytest.mark.parametrize(
    ("tree", "path", "message"),
    [
        (git_revisions.FileTree("main", "main"), "c.txt", r"^main: expected a committed c\.txt, found none \(.*c\.txt"),
        (git_revisions.WORKING, "c.txt", r"^c\.txt: expected a file, found none$"),
        (
            git_revisions.FileTree("main", "main"),
            "b.bin",
            r"^main:b\.bin: expected a text in UTF-8",
        ),
        (git_revisions.WORKING, "b.bin", r"^b\.bin: expected a text in UTF-8"),
    ],
)
def test_file_that_is_missing_or_no_text_is_named(project, tree, path, message):
    with pytest.raises(ValueError, match=message):
        tree.text(Path(path))


def test_unknown_and_ambiguous_names_are_rejected(project):
    with pytest.raises(ValueError, match=r"^gamma3: expected a git revision or an experiment, found none$"):
        git_revisions.find_tree("gamma3")
    git("update-ref", "refs/exps/ab/cdef/gamma3", "HEAD")
    assert git_revisions.find_tree("gamma3").text(Path("a.txt")) == "committed"
    git("update-ref", "refs/exps/ab/ffff/gamma3", "HEAD")
    with pytest.raises(ValueError, match=r"found 2 experiments of that name$"):
        git_revisions.find_tree("gamma3")
