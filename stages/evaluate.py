"""Stage evaluate: choose the threshold on the validation images, predict the test images, and score all observers."""

from pathlib import Path

from src.common import atomic_io
from src.data import samples
from src.evaluation import evaluator
from src.evaluation.scoring import ProbabilityMap
from src.inference import predict_dataset
from src.inference.sliding_window import InferenceConfig, SlidingWindowPredictor
from src.metrics import probability_metrics
from src.models import architectures, losses, model_io, tensorflow_setup
from src.models.tensorflow_setup import tf
from src.params import Evaluate, Loss, Preprocess
from src.stage_runner import run_stage


def main(
    model_file: Path,
    validation: Path,
    test: Path,
    baselines: Path,
    predictions: Path,
    metrics: Path,
    evaluate: Evaluate,
    loss: Loss,
    preprocess: Preprocess,
    cpu_threads: int,
) -> None:
    """Write probability maps of the test images to `predictions`, threshold, scores and tables to `metrics`."""
    atomic_io.check_free_space(predictions, samples.maps_size_bytes(samples.find(test)))
    filter_thresholds = evaluator.read_thresholds(baselines / "thresholds.json")
    tensorflow_setup.configure(cpu_threads)
    predictor = make_predictor(model_io.load(model_file), evaluate)
    size = preprocess.fov_diameter, preprocess.clahe_clip_limit
    given, predictor.config = predictor.config, predictor.config.without_hysteresis()
    plain = [
        (sample, prediction._replace(uncertainty=None))
        for sample, prediction in predict_dataset.predict_subset(validation, predictor, *size)
    ]
    held_out = pool_connected(plain, given._replace(threshold=None))
    threshold = evaluator.choose_threshold(held_out, evaluate.threshold, evaluate.hysteresis_threshold)
    chosen = given._replace(threshold=threshold)
    evaluator.write_validation(metrics, sum(pool_connected(plain, chosen), probability_metrics.EMPTY), threshold)
    rules = evaluator.ScoringRules(
        threshold, losses.get(**loss.model_dump()), evaluate.width_limits, evaluate.bootstrap_resamples, evaluate.seed
    )
    scores = evaluator.Evaluator(rules)
    predictor.config = chosen
    for sample, prediction in predict_dataset.predict_subset(test, predictor, *size):
        file = Path(sample.dataset) / f"{sample.id}.png"
        samples.write_probability(predictions / file, prediction.probability)
        filtered = {
            name: ProbabilityMap(samples.read_levels(baselines / name / file), limit)
            for name, limit in filter_thresholds.items()
        }
        scores.add(sample, samples.read_levels(predictions / file), filtered, prediction.uncertainty)
    scores.write(metrics)


def pool_connected(
    plain: list[predict_dataset.PredictedSample], config: InferenceConfig
) -> list[probability_metrics.Histogram]:
    """Extend thin vessels and apply hysteresis, and pool the images of each data set."""
    return list(predict_dataset.pool_histograms(predict_dataset.connect_vessels(plain, config)).values())


def make_predictor(network: tf.keras.Model, evaluate: Evaluate) -> SlidingWindowPredictor:
    """Make the predictor of a network with the settings of section `evaluate`."""
    forward = architectures.as_numpy_function(network)
    return SlidingWindowPredictor(forward, network.input_shape[1], inference_config(evaluate))


def inference_config(evaluate: Evaluate) -> InferenceConfig:
    """Return how an image is predicted with the settings of section `evaluate`."""
    return InferenceConfig(**evaluate.model_dump(include=set(InferenceConfig._fields)))


if __name__ == "__main__":
    run_stage(
        main,
        lambda params: {
            "evaluate": params.evaluate,
            "loss": params.loss,
            "preprocess": params.preprocess,
            "cpu_threads": params.train.cpu_threads,
        },
    )
