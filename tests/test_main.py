import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from src import __main__ as commands

ROOT = Path(__file__).parents[1]
HEAVY = ("mlflow", "tensorflow", "tf_keras", "dvc", "pandas", "matplotlib", "pydantic", "onnx", "dask", "starlette")
LIST_IMPORTS = """
import sys
from src import __main__ as commands
try:
    commands.main(sys.argv[1:])
except SystemExit:
    pass
print("imported:", *sorted(name for name in sys.modules if "." not in name))
"""
PRINT_HELP = """
from src import __main__ as commands
for name in commands.COMMANDS:
    try:
        commands.main([name, "--help"])
    except SystemExit:
        pass
"""


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "src", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


def imported(*arguments: str) -> set[str]:
    ended = subprocess.run([sys.executable, "-c", LIST_IMPORTS, *arguments], capture_output=True, text=True, check=True)
    return set(ended.stdout.partition("imported:")[2].split())


def test_help_lists_every_command_on_one_line(capsys):
    assert commands.main(["--help"]) == 0
    page = capsys.readouterr().out
    assert [line.split()[0] for line in page.splitlines() if line.startswith("  ")][:-1] == list(commands.COMMANDS)


@pytest.mark.parametrize("arguments", [["pedict"], ["--verbose"], []])
def test_unknown_command_lists_the_known_ones(capsys, arguments):
    assert commands.main(arguments) == 2
    error = capsys.readouterr().err
    assert all(name in error for name in commands.COMMANDS)
    assert (repr(arguments[0]) if arguments else "none") in error


@pytest.mark.parametrize("command", commands.COMMANDS.values(), ids=commands.COMMANDS)
def test_module_of_every_command_exists(command):
    assert find_spec(command.module) is not None


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_help_of_every_command_is_a_manual_page_that_fits_the_terminal(name, monkeypatch, capsys):
    monkeypatch.chdir(ROOT / "tests")
    monkeypatch.setenv("COLUMNS", "70")
    with pytest.raises(SystemExit, match="0"):
        commands.main([name, "--help"])
    page, error = capsys.readouterr()
    assert error == ""
    assert page.startswith(f"usage: python -m src {name} ")
    assert "\nexit codes:\n  0 " in page
    assert f"\nexamples:\n    python -m src {name}" in page
    body = page.partition("\nexamples:\n")[0]
    assert max(map(len, body.splitlines())) <= 70


def test_no_command_prints_a_warning_when_it_is_imported():
    ended = subprocess.run([sys.executable, "-c", PRINT_HELP], capture_output=True, text=True, check=True)
    usages = [line.split()[4] for line in ended.stdout.splitlines() if line.startswith("usage: python -m src ")]
    assert (usages, ended.stderr) == (list(commands.COMMANDS), "")


def test_predict_imports_nothing_heavy():
    assert not imported("predict", "--help") & set(HEAVY)


def test_list_of_commands_imports_none_of_them():
    assert not imported("--help") & {*HEAVY, "numpy", "cv2"}


@pytest.mark.parametrize("name", [name for name, command in commands.COMMANDS.items() if command.needs_project])
def test_command_that_needs_the_project_names_its_folder_elsewhere(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert commands.main([name]) == 2
    assert f"python -m src {name}: expected to run in the project folder {ROOT}" in capsys.readouterr().err


def hide(monkeypatch, package: str, module: str) -> None:
    """Import the module of a command anew, without a package, as where it is not installed."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, module, raising=False)


@pytest.mark.parametrize(
    ("name", "package", "requirements"),
    [
        ("app", "jinja2", "requirements.txt"),
        ("predict-batch", "dask", "requirements.txt"),
        ("package", "onnx", "requirements.txt"),
        ("predict", "filelock", "requirements/predict.txt"),
    ],
)
def test_missing_package_is_named_with_its_remedy(name, package, requirements, monkeypatch, capsys):
    hide(monkeypatch, package, commands.COMMANDS[name].module)
    assert commands.main([name, "--help"]) == 2
    message = f"this command needs the package {package}: pip install -r {requirements}"
    assert capsys.readouterr().err == f"error: python -m src {name}: {message}\n"


def test_missing_module_of_the_project_is_a_defect(monkeypatch):
    hide(monkeypatch, "src.reporting.image_layers", "src.serving.web_app")
    with pytest.raises(ModuleNotFoundError, match=r"src\.reporting"):
        commands.main(["app", "--help"])


def test_predict_runs_in_any_folder(packed, tmp_path):
    ended = run("predict", "none.png", "--out", "out", "--model", str(packed), cwd=tmp_path)
    assert (ended.returncode, "none.png: expected a file" in ended.stderr) == (2, True)


RUNS = [str(ROOT / "metrics" / "experiments" / name) for name in ("drive_16", "multi_scale")]


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["compare", *RUNS, "--resamples", "100"]])
def test_closed_pipe_ends_a_command_quietly(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        command, env = [sys.executable, "-m", "src", *arguments], os.environ | {"PYTHONUNBUFFERED": ""}
        ended = subprocess.run(
            command, cwd=ROOT, env=env, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (ended.returncode, ended.stderr) == (commands.CLOSED_PIPE, "")


def test_interrupted_command_ends_quietly(monkeypatch, capsys):
    def stop() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "main", stop)
    assert commands.run() == commands.INTERRUPTED
    assert capsys.readouterr().err == "stopped\n"


def test_other_broken_pipe_is_not_hidden(monkeypatch):
    def send_to_a_process_that_is_gone() -> int:
        raise BrokenPipeError

    monkeypatch.setattr(commands, "main", send_to_a_process_that_is_gone)
    with pytest.raises(BrokenPipeError):
        commands.run()
