"""Fixtures that several test files share."""

import contextlib
import functools
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from darkness_network import darkness
from xdist.scheduler import LoadFileScheduling

from src.common import process_pool
from src.inference import onnx_model
from src.params import Params, load_params
from src.serving import package_model
from src.synthetic import generator
from src.tracking import run_record

ROOT = Path(__file__).parents[1]
LOCK = """
stages:
  download:
    outs:
    - path: data/test
      md5: c3d4.dir
  train:
    outs:
    - path: data/model
      md5: a1b2
"""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files without slow tests, where only these shall run: each worker imports all files that are left."""
    only_slow = config.option.markexpr == "slow" and collection_path.suffix == ".py"
    return True if only_slow and "mark.slow" not in collection_path.read_text(encoding="utf-8") else None


LONGEST = ("integration", "training", "tracking", "models", "serving")  # the longest first


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, so that the workers end at the same time.

    Pages of guides go after the first of them: one worker prepares their project, while the others have work.
    """

    def place(item: pytest.Item) -> int:
        if item.name.startswith("test_blocks_of_the_guide"):
            return LONGEST.index("tracking")
        return next((i for i, name in enumerate(LONGEST) if name in item.path.parts), len(LONGEST))

    items.sort(key=place)


class FileScheduling(LoadFileScheduling):
    """Give each worker a file at a time, but single pages of test_guides.py, which share a prepared project."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if "test_guides.py" in nodeid else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config, log) -> FileScheduling:
    return FileScheduling(config, log)


def git(folder, *arguments):
    """Run git with an identity of its own."""
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def no_workers(monkeypatch) -> None:
    """Do the work of a pool in this process; `test_process_pool` and the end-to-end runs have real workers."""
    here = lambda function, jobs, max_workers: contextlib.nullcontext(itertools.starmap(function, jobs))  # noqa: E731
    monkeypatch.setattr(process_pool, "worker_pool", here)


generate_once = functools.cache(generator.generate)


@pytest.fixture(scope="module", autouse=True)
def generated_once() -> Iterator[None]:
    """Generate each synthetic image once: many tests ask for the same. Tests of the generator override this."""

    def generate(seed: int, index: int, height: int, width: int) -> generator.SyntheticImage:
        return generator.SyntheticImage(*(array.copy() for array in generate_once(seed, index, height, width)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "generate", generate)
        yield


@pytest.fixture(scope="session")
def packed(tmp_path_factory) -> Path:
    """A packaged network that needs no training, see `darkness`."""
    path = tmp_path_factory.mktemp("packed") / "darkness.onnx"
    settings = onnx_model.ModelSettings(
        fov_diameter=200,
        clahe_clip_limit=0.0,
        tile=256,
        overlap=32,
        threshold=0.25,
        trained_on=("none",),
        tta_scales=(1.0,),
    )
    path.write_bytes(package_model.add_settings(darkness(), settings))
    return path


def write_project(folder: Path) -> None:
    """A git repository with the files of a finished run; one score is undefined."""
    (folder / "metrics" / "figures").mkdir(parents=True)
    (folder / "data" / "examples").mkdir(parents=True)
    (folder / "metrics" / "scores.json").write_text(json.dumps({"drive": {"f1": 0.8, "mcc": None}}))
    (folder / "metrics" / "training.csv").write_text("epoch,loss,validation_loss\n1,0.9,\n2,0.7,0.8\n")
    rows = "dataset,id,group,observer,region,tp,fp,fn,tn,f1,mcc\ndrive,01,a,model,fov,4,1,1,9,0.8,\n"
    (folder / "metrics" / "per_image.csv").write_text(rows)
    (folder / "metrics" / "figures" / "roc.png").write_bytes(b"chart")
    (folder / "metrics" / "report.md").write_text("# Report\n")
    (folder / "metrics" / "validation.json").write_text(json.dumps({"validation": {"threshold": 0.4}}))
    head = "dataset,observer,region,score,pooled,mean,sd,low,high,images,groups"
    (folder / "metrics" / "summary.csv").write_text(f"{head}\ndrive,model,fov,f1,0.8,0.8,,,,1,1\n")
    for name in ("differences", "curves", "reliability", "uncertainty", "audit"):
        (folder / "metrics" / f"{name}.csv").write_text("dataset\ndrive\n")
    (folder / "data" / "examples" / "drive_best.png").write_bytes(b"panel")
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "dvc.lock").write_text(LOCK)
    (folder / ".gitignore").write_text("data\nmlruns\nmlflow.db*\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "state")


@pytest.fixture(scope="session")
def database(tmp_path_factory) -> Path:
    """A database of MLflow with nothing in it, to be copied: a new one takes seconds."""
    from src.tracking.mlflow_setup import mlflow

    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory, database) -> Path:
    """The project folder of a finished run, with a database, to be copied; the model is no model."""
    folder = tmp_path_factory.mktemp("finished") / "a project"
    write_project(folder)
    shutil.copy(database, folder / "mlflow.db")
    (folder / "data" / "model.h5").write_bytes(b"weights")
    return folder


@pytest.fixture
def project(finished, tmp_path, monkeypatch) -> Path:
    """A project folder with a finished run, recorded nowhere yet."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    return shutil.copytree(finished, tmp_path / "a project")


@pytest.fixture(scope="session")
def params() -> Params:
    return load_params(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def gather(params):
    """A function that gathers the run of a project folder, without a model that could be logged."""

    def gathered(project: Path, **changes: object) -> run_record.RunRecord:
        data = project / "data"
        places = run_record.RunPaths(project, project / "metrics", data / "examples", data, data / "model.h5")
        return run_record.gather_run(places, params.model_dump() | changes, None)

    return gathered


@pytest.fixture(scope="session")
def real_archives() -> Path:
    """The folder of public data sets; skips where the machine has none."""
    folder = os.environ.get("FUNDUS_ARCHIVES")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no public data sets here: set FUNDUS_ARCHIVES to the folder that holds them")
    return Path(folder)


@pytest.fixture(scope="session")
def add_store(database) -> Callable[[Path], str]:
    """Puts an empty MLflow store into a folder and returns its URI."""

    def add(folder: Path) -> str:
        shutil.copy(database, folder)
        return f"sqlite:///{folder / database.name}"

    return add


OWN = re.compile(r"(file|data|blob|http://127\.0\.0\.1(:\d+)?)[:/]")
REFUSED = "the server responded with a status of 400"  # what a browser says of a file that is refused
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """A headless Chromium, for a file: it keeps an event loop running. Skips where it or playwright is missing."""
    found = next((place for place in map(shutil.which, CHROMIUMS) if place), None)
    if found is None:
        pytest.skip(f"no browser here: install one of {', '.join(CHROMIUMS)} to try the pages")
    playwright_api = pytest.importorskip(
        "playwright.sync_api", reason="no playwright here: requirements/dev.txt has it"
    )
    with playwright_api.sync_playwright() as playwright, playwright.chromium.launch(executable_path=found) as opened:
        yield opened


@pytest.fixture(scope="module")
def open_tab(browser) -> Callable:
    """Opens a page in a `with` block, which fails where it reports an error or asks another machine for anything."""

    @contextlib.contextmanager
    def opened(**options: object) -> Iterator:
        wrong = []
        with browser.new_context(viewport={"width": 1280, "height": 900}, **options) as context:
            page = context.new_page()
            page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("request", lambda request: wrong.append(request.url) if not OWN.match(request.url) else None)
            yield page
        assert not [line for line in wrong if REFUSED not in line]

    return opened


@pytest.fixture
def tab(open_tab) -> Iterator:
    """A page that the test may run scripts in, which the content security policy of ours forbids."""
    with open_tab(bypass_csp=True) as page:
        yield page
