"""Root folder of the project, also for a stage that runs in the temporary checkout of an experiment."""

from pathlib import Path

EXPERIMENTS = (".dvc", "tmp", "exps")


def real_root(path: Path) -> Path:
    """Return the project folder of which `path` is an experiment's checkout; elsewhere `path` itself, resolved.

    `dvc exp run --temp` and `--queue` check the git repository out below `.dvc/tmp/exps` and delete it afterwards.
    The project may be a subfolder of the repository, with `.dvc` in either.
    """
    path = path.resolve()
    for end in range(len(path.parts) - len(EXPERIMENTS)):
        if path.parts[end : end + len(EXPERIMENTS)] == EXPERIMENTS:
            return _original(path, Path(*path.parts[:end]))
    return path


def _original(path: Path, dvc_root: Path) -> Path:
    """Return `path` in the repository that holds `dvc_root`; `dvc_root` where the checkout is not a git repository."""
    checkout, repository = _git_root(path), _git_root(dvc_root)
    if checkout is None or repository is None or not checkout.is_relative_to(dvc_root.joinpath(*EXPERIMENTS)):
        return dvc_root
    return repository / path.relative_to(checkout)


def _git_root(path: Path) -> Path | None:
    """Return the nearest folder, `path` or above it, that holds `.git`."""
    return next((folder for folder in (path, *path.parents) if (folder / ".git").exists()), None)
