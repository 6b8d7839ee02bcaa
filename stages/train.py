"""Train the network on the augmented patches."""

import sys
from pathlib import Path

from src import backend, batches, losses, models, patches, training
from src.cli import run
from src.params import Loss, Model, Train


def main(
    augmented: Path, validation: Path, model_file: Path, table: Path, model: Model, loss: Loss, train: Train
) -> None:
    """Read both sets of patches, fit, write the network (.h5) and a row of scores an epoch (.csv).

    Several workers (see `backend.strategy`) each read both, and each writes the same.
    """
    backend.configure(train.threads, train.seed, train.mixed_precision)
    pool, held_out = patches.read(augmented), patches.read(validation)
    schedule = training.Schedule(
        epochs=train.epochs,
        steps_per_epoch=train.steps_per_epoch or -(-len(pool.images) // train.batch_size),
        learning_rate=train.learning_rate,
        warmup=train.warmup,
        cosine=train.schedule == "cosine",
        clip_norm=train.clip_norm,
    )
    log, members = training.EpochLog(table), []
    strategy = backend.strategy()
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        for seed in range(train.seed, train.seed + train.members):
            backend.set_seed(seed)
            network = models.build(**model.model_dump(), size=pool.images.shape[1])
            training.fit(
                network,
                losses.get(**loss.model_dump()),
                schedule,
                batches.training(pool, train.batch_size, seed, replicas),
                batches.validation(held_out, train.batch_size, replicas),
                log,
                train.monitor,
                train.patience,
            )
            members.append(network)
        network = models.mean(members)
    models.save(models.in_float32(network), model_file)  # which must not be in the scope: it clears the session
    log.write()


if __name__ == "__main__":
    run(lambda params: main(*map(Path, sys.argv[1:5]), params.model, params.loss, params.train))
