"""Typed view of params.yaml: the only reader of it. It holds no value of its own, only types and ranges."""

import re
import reprlib
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

PUBLIC_SETS = ("drive", "chase_db1", "stare", "hrf", "rbv", "dr_hagis", "les_av", "fives")
DATA_SETS = ("phantom", *PUBLIC_SETS, "folder")  # beside the names in data.custom
RESERVED_NAMES = ("training", "validation")  # of scores in metrics/ and in MLflow, beside those of data sets
FilterName = Literal["frangi", "sato", "matched_filter"]
# What PyYAML raises where a value is not what its tag says, the text is no UTF-8, or lists nest too deep.
OF_YAML = (ValueError, AttributeError, LookupError, TypeError, ArithmeticError, RecursionError)
MOST_ERRORS = 20
TRAINED = Path("data/model/model.h5")  # of stage train
SHORT = reprlib.Repr()  # what is shown of a value: a few hundred bytes of YAML can stand for gigabytes
SHORT.maxlevel = 2


def _reject_bool(value: object) -> object:
    """The value, unless it is a truth value, which Python counts among the numbers."""
    if isinstance(value, bool):
        raise ValueError("expected a number, not a truth value")
    return value


Float = Annotated[float, BeforeValidator(_reject_bool)]
Int = Annotated[int, BeforeValidator(_reject_bool)]
Fraction = Annotated[Float, Field(gt=0, lt=1)]
Unit = Annotated[Float, Field(ge=0, le=1)]
Positive = Annotated[Float, Field(gt=0)]
NotNegative = Annotated[Float, Field(ge=0)]
Count = Annotated[Int, Field(ge=1, le=1_000_000)]  # beyond, memory ends before a typing error shows
Side = Annotated[Int, Field(ge=16, le=4096)]  # pixels
SEED_LIMIT = 2**32  # of NumPy
Seed = Annotated[Int, Field(ge=0, lt=SEED_LIMIT)]


Weight = Annotated[NotNegative, Field(le=100)]
_WEIGHTS = TypeAdapter(tuple[Weight, ...])


def _one_message(value: object) -> object:
    """A weight or a list of them, unchanged; pydantic would have a message for each of the two kinds."""
    try:
        _WEIGHTS.validate_python(value if isinstance(value, list | tuple) else [value])
    except ValidationError:
        raise ValueError("expected a number from 0 to 100, or a list of such numbers") from None
    return value


class Fold(NamedTuple):
    """One of `folds` parts of the training patients in a cross-validation, numbered from 1."""

    number: int
    folds: int


def _read_fold(value: object) -> Fold:
    """Read a fold that is written as k/n."""
    parts = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", value, re.ASCII) if isinstance(value, str) else None
    if parts is None or not int(parts[1]) <= int(parts[2]) >= 2:
        raise ValueError("expected k/n with 1 <= k <= n and n >= 2, e.g. 1/5")
    return Fold(int(parts[1]), int(parts[2]))


def _write_fold(fold: Fold) -> str:
    return f"{fold.number}/{fold.folds}"


Checked = TypeVar("Checked", bound=BaseModel)


class Section(BaseModel):
    """One concern of params.yaml: frozen, no defaults, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Splits(Section):
    """The official split of each public data set, train/test; `all` makes every image a test image."""

    drive: Literal["20/20", "all"]
    chase_db1: Literal["20/8", "8/20", "all"]
    stare: Literal["10/10", "all"]
    hrf: Literal["15/30", "all"]
    rbv: Literal["80/20", "all"]
    dr_hagis: Literal["20/20", "all"]
    les_av: Literal["11/11", "all"]
    fives: Literal["600/200", "all"]


class Folder(Section):
    """Your own images, in a folder; `test_fraction` is also that of the data sets in `custom`."""

    path: str
    test_fraction: Fraction


class Data(Section):
    """The data sets that are trained on and tested on."""

    train: Annotated[list[str], Field(min_length=1)]
    test: Annotated[list[str], Field(min_length=1)]
    test_fold: Annotated[Fold, BeforeValidator(_read_fold), PlainSerializer(_write_fold)] | None
    validation_fraction: Annotated[Float, Field(ge=0, lt=1)]
    max_images_per_dataset: Count | None
    seed: Seed
    splits: Splits
    folder: Folder
    custom: dict[str, str]

    @model_validator(mode="after")
    def _custom_names(self) -> "Data":
        known = set(DATA_SETS)
        for name in self.custom:
            if not re.fullmatch("[A-Za-z0-9_]+", name):
                raise ValueError(f"custom: expected names of letters, digits and _, got {SHORT.repr(name)}")
            if name.lower() in known:
                raise ValueError(f"custom.{name}: expected a name that no other data set has")
            if name.lower() in RESERVED_NAMES:
                raise ValueError(f"custom.{name}: expected a name other than {', '.join(RESERVED_NAMES)}")
            known.add(name.lower())
        return self

    @model_validator(mode="after")
    def _known_names(self) -> "Data":
        known = (*DATA_SETS, *self.custom)
        for key, names in (("train", self.train), ("test", self.test)):
            for name in names:
                if name not in known:
                    expected = f"expected one of {', '.join(known)}, or another name defined in data.custom"
                    raise ValueError(f"{key}: {expected}, got {SHORT.repr(name)}")
        return self

    @model_validator(mode="after")
    def _each_once(self) -> "Data":
        for key, names in (("train", self.train), ("test", self.test)):
            if len(set(names)) < len(names):
                raise ValueError(f"{key}: expected each data set once, got {names}")
        return self

    @model_validator(mode="after")
    def _fold_of_a_data_set(self) -> "Data":
        if self.test_fold is not None and not set(self.train) & set(self.test):
            raise ValueError(
                f"test_fold: expected a data set in both data.train and data.test, got {self.train} and {self.test}"
            )
        return self


class PhantomSection(Section):
    """Number and size of the synthetic fundus images."""

    n_train: Annotated[Int, Field(ge=2, le=5000)]
    n_test: Annotated[Int, Field(ge=1, le=5000)]
    height: Annotated[Side, Field(ge=128)]
    width: Annotated[Side, Field(ge=128)]
    seed: Seed


class Preprocess(Section):
    """From a fundus image to the input of the network."""

    fov_diameter: Annotated[Side, Field(ge=64)]
    clahe_clip_limit: Annotated[NotNegative, Field(le=1000)]


class Patch(Section):
    """Patches cut from the prepared images."""

    size: Annotated[Side, Field(ge=32, multiple_of=32)]
    stride: Count
    min_fov: Unit
    context: Annotated[Float, Field(ge=1, le=4)]


class Augment(Section):
    """Augmented patches of each training patch."""

    n_per_patch: Annotated[Int, Field(ge=0, le=1000)]
    rotation: Annotated[Float, Field(ge=0, le=180)]
    flip: bool
    scale: Annotated[Float, Field(ge=0, le=1)]
    elastic_sigma: Annotated[NotNegative, Field(le=1000)]
    rot90_only_fraction: Unit
    brightness: Unit
    contrast: Unit
    gamma: Unit
    colour: Unit
    noise_std: Unit
    blur_sigma: Annotated[NotNegative, Field(le=100)]
    seed: Seed


class Model(Section):
    """The network."""

    architecture: Literal["unet", "linknet", "fpn", "pspnet", "residual_unet", "residual_w_net"]
    backbone: str
    encoder_weights: str | None
    filters: Annotated[tuple[Annotated[Count, Field(le=4096)], ...], Field(min_length=2, max_length=6)]

    @model_validator(mode="after")
    def _encoder_weights_are_not_an_output(self) -> "Model":
        if Path(self.encoder_weights or "") == TRAINED:
            raise ValueError(f"encoder_weights: expected a copy of {TRAINED} elsewhere; DVC deletes it before training")
        return self


class Loss(Section):
    """The loss that training minimises."""

    name: Literal["focal_dice", "dice", "focal", "bce", "bce_dice", "bce_tversky", "unified_focal"]
    alpha: Unit
    gamma: Annotated[NotNegative, Field(le=100)]
    focal_weight: Unit | None
    fn_weight: Unit

    @model_validator(mode="after")
    def _gamma_of_the_unified_focal_loss(self) -> "Loss":
        if self.name == "unified_focal" and self.gamma >= 1:
            raise ValueError(f"gamma: expected less than 1 with unified_focal, got {self.gamma}")
        return self


class Train(Section):
    """The optimisation."""

    learning_rate: Positive
    lr_schedule: Literal["cosine", "constant"]
    warmup_fraction: Annotated[Float, Field(ge=0, lt=1)]
    epochs: Count
    steps_per_epoch: Count | None
    batch_size: Annotated[Count, Field(le=4096)]
    crop_size: Annotated[Side, Field(ge=32, multiple_of=32)] | None
    clip_norm: Positive | None
    thin_vessel_weight: Weight
    skeleton_recall_weight: Annotated[Weight | tuple[Weight, ...], BeforeValidator(_one_message)]
    patience: Count | None
    monitor: Literal["f1", "iou_mean", "mcc", "accuracy", "precision", "recall", "specificity", "loss"]
    mixed_precision: bool
    ensemble_size: Annotated[Count, Field(le=100)]
    cpu_threads: Annotated[Count, Field(le=1024)]
    seed: Seed

    @model_validator(mode="after")
    def _seed_of_each_member(self) -> "Train":
        if self.seed > SEED_LIMIT - self.ensemble_size:
            largest = f"{SEED_LIMIT - self.ensemble_size} with an ensemble of {self.ensemble_size}"
            raise ValueError(f"seed: expected at most {largest}, got {self.seed}")
        return self

    @model_validator(mode="after")
    def _weight_of_each_member(self) -> "Train":
        weight, size = self.skeleton_recall_weight, self.ensemble_size
        if isinstance(weight, tuple) and len(weight) != size:
            expected = f"expected a number, or {size} in a list (train.ensemble_size)"
            raise ValueError(f"skeleton_recall_weight: {expected}, got {len(weight)}")
        return self


class Baselines(Section):
    """Classical vesselness filters beside the network; none if the list is empty."""

    filters: list[FilterName]

    @model_validator(mode="after")
    def _each_once(self) -> "Baselines":
        if len(set(self.filters)) < len(self.filters):
            raise ValueError(f"filters: expected each filter once, got {self.filters}")
        return self


class Evaluate(Section):
    """Prediction of whole images, and the operating point."""

    tta_flips: bool
    tta_scales: Annotated[tuple[Annotated[Float, Field(ge=0.25, le=4)], ...], Field(min_length=1, max_length=8)]
    min_scale_factor: Annotated[Float, Field(gt=0, le=1)]
    scale_weighting: bool
    logit_adjustment: bool
    thin_vessel_extension: Annotated[Float, Field(ge=0, le=5)]
    hysteresis_threshold: Fraction | None
    tile: Annotated[Side, Field(ge=64, multiple_of=32)]
    overlap: Annotated[Int, Field(ge=0)]
    batch_size: Annotated[Count, Field(le=4096)]
    threshold: Fraction | None
    width_limits: tuple[Positive, Positive]
    bootstrap_resamples: Annotated[Count, Field(ge=100)]
    seed: Seed

    @model_validator(mode="after")
    def _overlap_at_most_half_a_tile(self) -> "Evaluate":
        if self.overlap > self.tile // 2:
            raise ValueError(f"overlap: expected at most half of tile ({self.tile}), got {self.overlap}")
        return self

    @model_validator(mode="after")
    def _width_limits_rise(self) -> "Evaluate":
        if self.width_limits[0] >= self.width_limits[1]:
            raise ValueError(f"width_limits: expected two rising numbers, got {list(self.width_limits)}")
        return self


class Plot(Section):
    """The figures."""

    dpi: Annotated[Int, Field(ge=30, le=600)]
    detail_size: Side


class Record(Section):
    """The run in MLflow."""

    experiment_name: Annotated[str, Field(min_length=1)]
    log_model: bool
    registered_model_name: Annotated[str, Field(min_length=1, pattern="^[^/:.%\"']+$")]


class RegressionGate(Section):
    """What the regression gate compares, and the largest loss of each score that passes."""

    region: Literal["fov", "full_image"]
    tolerances: Annotated[dict[str, NotNegative], Field(min_length=1)]
    bootstrap_resamples: Annotated[Count, Field(ge=100)]
    seed: Seed


class Gate(BaseModel):
    """The section of params.yaml that no stage reads: the gate judges what stages made."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    regression_gate: RegressionGate


class Checkpoints(Section):
    """Checkpoints of interrupted trainings."""

    retention_days: Positive


class Upkeep(BaseModel):
    """The section of params.yaml that changes no result: stage train reads it, and does not depend on it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    checkpoints: Checkpoints


RENAMED = {  # keys of earlier versions
    "data.validation": "data.validation_fraction",
    "data.limit": "data.max_images_per_dataset",
    "data.folder.test": "data.folder.test_fraction",
    "phantom.train": "phantom.n_train",
    "phantom.test": "phantom.n_test",
    "preprocess.clahe": "preprocess.clahe_clip_limit",
    "augment.copies": "augment.n_per_patch",
    "augment.elastic": "augment.elastic_sigma",
    "augment.exact": "augment.rot90_only_fraction",
    "augment.noise": "augment.noise_std",
    "augment.blur": "augment.blur_sigma",
    "loss.balance": "loss.focal_weight",
    "loss.beta": "loss.fn_weight",
    "train.schedule": "train.lr_schedule",
    "train.warmup": "train.warmup_fraction",
    "train.narrow_weight": "train.thin_vessel_weight",
    "train.members": "train.ensemble_size",
    "train.threads": "train.cpu_threads",
    "evaluate.flips": "evaluate.tta_flips",
    "evaluate.scales": "evaluate.tta_scales",
    "evaluate.widths": "evaluate.width_limits",
    "evaluate.draws": "evaluate.bootstrap_resamples",
    "plot.zoom": "plot.detail_size",
    "record.experiment": "record.experiment_name",
    "record.model": "record.log_model",
    "record.registered_model": "record.registered_model_name",
    "regression": "regression_gate",
    "regression_gate.scores": "regression_gate.tolerances",
    "regression_gate.draws": "regression_gate.bootstrap_resamples",
    "checkpoints.days": "checkpoints.retention_days",
}
UNTRACKED = {*Gate.model_fields, *Upkeep.model_fields}


class Params(Section):
    """All sections of params.yaml that stages depend on."""

    data: Data
    phantom: PhantomSection
    preprocess: Preprocess
    patch: Patch
    augment: Augment
    model: Model
    loss: Loss
    train: Train
    baselines: Baselines
    evaluate: Evaluate
    plot: Plot
    record: Record

    @model_validator(mode="after")
    def _crops_that_fit(self) -> "Params":
        crop, size = self.train.crop_size, self.patch.size
        if crop is not None and crop > size:
            raise ValueError(f"train.crop_size: expected at most the {size} pixels of patch.size, got {crop}")
        if crop not in (None, size) and self.model.architecture == "pspnet":
            raise ValueError(f"train.crop_size: expected null for pspnet, whose input has one size, got {crop}")
        return self

    @model_validator(mode="after")
    def _validation_images_where_they_are_needed(self) -> "Params":
        if self.data.validation_fraction == 0 and self.evaluate.threshold is None:
            raise ValueError("evaluate.threshold: expected a number where data.validation_fraction is 0, got null")
        if self.data.validation_fraction == 0 and self.train.patience is not None:
            raise ValueError(
                f"train.patience: expected null where data.validation_fraction is 0, got {self.train.patience}"
            )
        return self


def _message(error: ErrorDetails) -> str:
    """One error of pydantic as a message: the key, what was expected, what was found."""
    key, found = ".".join(SHORT.repr(part).strip("'") for part in error["loc"]) or "all", error["input"]
    shown = SHORT.repr(found)
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error" and not error["loc"]:
        return message
    if error["type"] == "extra_forbidden":
        return f"{key}: renamed to {RENAMED[key]}" if key in RENAMED else f"{key}: unknown key"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "model_type":
        return f"{key}: expected keys and values, got {shown}"
    if error["type"] == "value_error" and len(error["loc"]) == 1:  # of a section: the message begins with a key
        return f"{key}.{message}"
    return f"{key}: {message}, got {shown}"


def load_params(path: Path = Path("params.yaml")) -> Params:
    """All sections of the params file at `path` that stages depend on, checked; the others are read by themselves.

    Numbers may be strings (`-S train.learning_rate=1e-5` is written as `1e-05`, which YAML 1.1 calls a string).

    Raises:
        ValueError: with every missing or unknown key, wrong type and value out of range, and what was found.
        FileNotFoundError: there is no such file.
    """
    values = _read(path)
    if isinstance(values, dict):
        values = {name: section for name, section in values.items() if name not in UNTRACKED}
    return checked(Params, values, path)


def load_regression_gate(path: Path = Path("params.yaml")) -> RegressionGate:
    """The section `regression_gate` of the params file at `path`, checked; errors as in `load_params`."""
    return checked(Gate, _read(path), path).regression_gate


def load_checkpoints(path: Path = Path("params.yaml")) -> Checkpoints:
    """The section `checkpoints` of the params file at `path`, checked; errors as in `load_params`."""
    return checked(Upkeep, _read(path), path).checkpoints


def _read(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, *OF_YAML) as error:
        raise ValueError(f"{path}: expected YAML, got {' '.join(str(error).split())}") from error


def checked(model: type[Checked], values: object, path: Path) -> Checked:
    """The values of the params file at `path` as `model`; errors as in `load_params`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        messages = list(map(_message, error.errors(include_url=False, include_context=False)))
        more = [f"and {len(messages) - MOST_ERRORS} more"] if len(messages) > MOST_ERRORS else []
        raise ValueError(f"{path}: " + "; ".join(messages[:MOST_ERRORS] + more)) from error
