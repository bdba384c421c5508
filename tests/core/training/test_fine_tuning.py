"""A trained network goes on from one's own drawings: what it begins with, what it learns from, and that it repeats itself."""

from dataclasses import replace

import numpy as np
import pytest

from core.data import datasets
from core.data.handwriting import Handwriting
from core.errors import DataError, NotNumbers, RunDamaged, RunNotFound, SpecError, StorageFull
from core.evaluation.questions import held_out_images
from core.explain import attribution, questions
from core.model import script, specs
from core.model.specs import Augmentation, FineTuning, parse_experiment
from core.runs import registry
from core.runs.contents import Checkpoint
from core.runs.network import Network
from core.runs.progress import Command, Progress, State
from core.runs.question import untold
from core.runs.run import Run
from core.training import doctor, fine_tuning

STEP = 26  # of the source: two epochs of 13 batches


@pytest.fixture(scope="module")
def weights(tiny, dataset) -> dict[str, np.ndarray]:
    """A trained network's."""
    from core.model import keras_model
    from core.training import loop

    network, _ = loop.train(tiny, dataset, lambda event: None)
    return keras_model.variables(network)[0]


@pytest.fixture
def source(tiny, weights, runs_root) -> Run:
    run = registry.create(tiny, "First CNN")
    run.write_weights(Checkpoint(STEP, weights, None))
    return run


@pytest.fixture
def hand(dataset) -> Handwriting:
    """Twelve drawings in a hand of its own: turned upside down, and called the next digit."""
    images = dataset.x_test[:12, ::-1]
    return Handwriting(images.copy(), (dataset.y_test[:12] + 1) % 10)


def created(source: Run, hand: Handwriting, images: int = 100, share: float = 0.25, **changes) -> Run:
    training = specs.replaced(fine_tuning.usual_training(source.experiment()), **changes)
    return fine_tuning.create(Network(source, STEP), hand, training, images, share, "My hand")


def trained(run: Run, dataset, command=Command, resume=None, history=()):
    """Checkpoints by step, and how the run ended."""
    from core.training import loop

    kept: dict[int, Checkpoint] = {}
    rows: list = []
    _, state = loop.train(
        run.experiment(),
        dataset,
        lambda event: rows.append(event),
        read_command=command,
        on_checkpoint=lambda checkpoint: kept.update({checkpoint.step: checkpoint}),
        resume_from=resume,
        history=history,
        start=fine_tuning.start_of(run),
    )
    return kept, state


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


class TestTheRecipe:
    def test_an_experiment_without_it_is_written_as_ever(self, tiny):
        assert "fine_tuning" not in tiny.model_dump_json()
        assert parse_experiment(tiny.model_dump_json()) == tiny

    @pytest.mark.parametrize("letters", [16, 26], ids=["of an older run", "of a run"])
    def test_one_with_it_is_read_back(self, tiny, letters):
        tuned = specs.replaced(tiny, fine_tuning=FineTuning(run_id="a" * letters, step=3, drawings=5))

        assert parse_experiment(tuned.model_dump_json()) == tuned

    @pytest.mark.parametrize(
        "changes", [{"run_id": "../etc/passwd"}, {"step": -1}, {"drawings": 0}, {"share": 1.0}, {"images": 60_001}]
    )
    def test_what_it_can_be_is_bounded(self, tiny, changes):
        good = FineTuning(run_id="a" * 16, step=3, drawings=5)

        with pytest.raises(SpecError):
            specs.replaced(good, **changes)

    @pytest.mark.parametrize(
        ("images", "share", "drawings", "repeated"), [(300, 0.25, 3, 100), (0, 0.5, 7, 7), (100, 0.05, 30, 30)]
    )
    def test_drawings_are_repeated_to_their_share_and_each_is_there(self, tiny, images, share, drawings, repeated):
        recipe = FineTuning(run_id="a" * 16, step=0, images=images, share=share, drawings=drawings)

        assert recipe.repeated(images) == repeated
        assert specs.replaced(tiny, fine_tuning=recipe).images_per_epoch == images + repeated

    def test_its_training_keeps_the_split_and_moves_the_images(self, tiny):
        usual = fine_tuning.usual_training(tiny)

        assert (usual.train_size, usual.validation_split, usual.seed) == (500, 0.2, 0)
        assert usual.augmentation == fine_tuning.GENTLE
        assert usual.learning_rate < tiny.training.learning_rate
        moved = specs.replaced(
            tiny, training=specs.replaced(tiny.training, augmentation=Augmentation(shift=3.0), patience=2)
        )
        assert fine_tuning.usual_training(moved).augmentation == Augmentation(shift=3.0)
        assert fine_tuning.usual_training(moved).patience is None

    def test_no_script_pretends_to_hold_it(self, source, hand):
        with pytest.raises(SpecError, match="which a script doesn't hold"):
            script.script(created(source, hand).experiment())

    def test_the_doctor_suggests_no_training_from_random_weights(self, source, hand):
        run = created(source, hand)
        exploded = Progress(epochs=3, steps_per_epoch=5, batch_size=32)
        exploded.loss.extend([2.0, 90.0, 90.0, 90.0, 90.0, 90.0])

        found = doctor.findings(run.experiment(), exploded)

        assert found
        assert all(finding.experiment is None and finding.try_this is None for finding in found)


class TestWhatItBeginsWith:
    def test_the_weights_and_the_drawings_are_in_its_own_folder(self, source, hand, weights):
        run = created(source, hand)

        source.delete()
        start = fine_tuning.start_of(run)

        assert equal(start.weights, weights)
        assert len(start.labels) == run.experiment().fine_tuning.drawings == 9
        assert run.experiment().fine_tuning.run_id == source.id

    def test_other_runs_begin_with_nothing(self, source):
        assert fine_tuning.start_of(source) is None

    def test_few_drawings_are_all_learned_from(self, source, hand):
        few = Handwriting(hand.images[:9], hand.labels[:9])

        run = created(source, few)

        assert not run.drawings().is_held_out.any()

    def test_of_enough_some_are_held_out_and_stay_so(self, source, hand, weights):
        first = created(source, hand).drawings()
        assert first.is_held_out.sum() == 3

        run = created(source, hand)
        run.write_weights(Checkpoint(STEP, weights, None))
        more = hand.added(Handwriting(hand.images[:, ::-1].copy(), hand.labels))
        second = created(run, more).drawings()

        learned = {image.tobytes() for image in first.images[~first.is_held_out]}
        assert second.is_held_out.any()
        assert not learned & {image.tobytes() for image in second.images[second.is_held_out]}

    def test_what_was_ever_learned_from_is_never_held_out_again(self, source, hand, weights):
        few = Handwriting(hand.images[:9], hand.labels[:9])
        run = created(source, few)
        run.write_weights(Checkpoint(STEP, weights, None))
        between = created(run, Handwriting(hand.images[9:], hand.labels[9:]))
        between.write_weights(Checkpoint(STEP, weights, None))

        assert not created(between, hand).drawings().is_held_out.any()

    def test_mnist_is_mixed_in_from_what_was_trained_on(self, source, hand, dataset):
        run = created(source, hand, images=200, share=0.5)
        held_out = held_out_images(run, dataset.y_train)
        start = fine_tuning.start_of(run)
        trained_on, _ = datasets.split(dataset.y_train, 500, 0.2, 0)

        both, taken = fine_tuning.mixed(dataset, trained_on, start, run.experiment())

        of_mnist, drawn = taken[taken < len(dataset.y_train)], taken[taken >= len(dataset.y_train)]
        assert (len(of_mnist), len(drawn)) == (200, 200)
        assert len(set(of_mnist)) == 200
        assert not set(of_mnist) & set(held_out)
        assert np.array_equal(held_out, held_out_images(source, dataset.y_train))
        assert set(drawn) == set(range(len(dataset.y_train), len(dataset.y_train) + 9))
        assert np.array_equal(both.x_train[drawn[0]], start.images[0])
        assert np.array_equal(both.x_train[: len(dataset.x_train)], dataset.x_train)

    def test_no_more_of_mnist_is_mixed_in_than_there_is(self, source, hand):
        assert created(source, hand, images=5000).experiment().fine_tuning.images == 400

    def test_without_mnist_the_drawings_alone_are_taken(self, source, hand, dataset):
        run = created(source, hand, images=0)

        _, taken = fine_tuning.mixed(dataset, np.arange(500), fine_tuning.start_of(run), run.experiment())

        assert sorted(taken - len(dataset.y_train)) == list(range(9))


class TestWhatCannotBe:
    def test_no_drawings(self, source):
        with pytest.raises(DataError, match="no drawings to learn from"):
            created(source, Handwriting())

    def test_a_source_that_was_deleted(self, source, hand, runs_root):
        training = fine_tuning.usual_training(source.experiment())
        source.delete()

        with pytest.raises(RunNotFound, match="no run"):
            fine_tuning.create(Network(source, STEP), hand, training, 100, 0.25, "My hand")

    def test_a_step_that_isn_t_kept(self, source, hand):
        with pytest.raises(RunDamaged, match="never written"):
            fine_tuning.create(Network(source, 7), hand, source.experiment().training, 100, 0.25, "My hand")

    def test_weights_that_are_no_numbers(self, source, hand, weights):
        broken = {name: np.full_like(values, np.nan) for name, values in weights.items()}
        source.write_weights(Checkpoint(STEP, broken, None))

        with pytest.raises(NotNumbers, match="not numbers any more"):
            created(source, hand)

    def test_another_network_s_weights(self, source, hand, weights, dataset):
        run = created(source, hand)
        run.write_weights(Checkpoint(0, {name: values[..., :1] for name, values in weights.items()}, None))

        with pytest.raises(RunDamaged, match="another network's"):
            trained(run, dataset)

    def test_drawings_that_were_taken_away(self, source, hand, runs_root):
        run = created(source, hand)
        (runs_root / run.id / "drawings.npz").unlink()

        with pytest.raises(RunDamaged, match=r"has no drawings\.npz"):
            fine_tuning.start_of(run)

    def test_other_drawings_than_it_says(self, source, hand):
        run = created(source, hand)
        run.write_drawings(replace(run.drawings(), is_held_out=np.zeros(12, bool)))

        with pytest.raises(RunDamaged, match=r"9 drawings, but drawings\.npz has 12"):
            fine_tuning.start_of(run)

    def test_a_full_disk_leaves_no_half_of_a_run(self, source, hand, monkeypatch):
        def full(self, drawings):
            raise StorageFull("full")

        monkeypatch.setattr(Run, "write_drawings", full)

        with pytest.raises(StorageFull):
            created(source, hand)
        assert [run.id for run in registry.all_runs()] == [source.id]


class TestLearning:
    def test_it_learns_the_hand_and_keeps_mnist(self, source, hand, dataset, weights):
        from core.model import keras_model

        run = created(source, hand, images=300, share=0.4, epochs=12, learning_rate=0.003, augmentation=Augmentation())
        kept, state = trained(run, dataset)

        network = keras_model.build(run.experiment())
        held_out = held_out_images(run, dataset.y_train)

        def right(values: dict, images: np.ndarray, labels: np.ndarray) -> float:
            keras_model.set_variables(network, values)
            return float((network.predict_on_batch(images[..., None]).argmax(axis=1) == labels).mean())

        start = fine_tuning.start_of(run)
        after = kept[max(kept)].weights
        on_mnist = dataset.x_train[held_out], dataset.y_train[held_out]
        assert state is State.FINISHED
        assert right(weights, start.images, start.labels) <= 0.35
        assert right(after, start.images, start.labels) >= 0.75
        assert right(after, *on_mnist) >= right(weights, *on_mnist) - 0.1

    def test_its_first_network_is_the_one_it_began_with(self, source, hand, dataset, weights):
        kept, _ = trained(created(source, hand, epochs=1), dataset)

        assert equal(kept[0].weights, weights)

    def test_once_more_gives_the_same_bits(self, source, hand, dataset):
        run = created(source, hand, epochs=1)
        again = fine_tuning.again(run)

        one, other = trained(run, dataset)[0], trained(again, dataset)[0]

        assert again.id != run.id
        assert again.experiment() == run.experiment()
        assert equal(one[max(one)].weights, other[max(other)].weights)

    def test_resumed_it_gives_the_bits_of_one_never_interrupted(self, source, hand, dataset):
        run = created(source, hand, epochs=2)
        whole, _ = trained(run, dataset)
        first, last = sorted(step for step in whole if whole[step].optimizer is not None)

        resumed, state = trained(run, dataset, resume=whole[first])

        assert state is State.FINISHED
        assert equal(resumed[last].weights, whole[last].weights)

    def test_the_network_in_use_is_the_last_one(self, source, hand):
        assert created(source, hand).progress().is_fine_tuning
        assert not source.progress().is_fine_tuning


class TestForgetting:
    """What a map of Explain is once the layers have forgotten: they must not still know what the first training taught them."""

    def test_goes_back_before_the_first_training_too(self, source, hand, weights):
        run = created(source, hand)
        run.write_weights(Checkpoint(0, weights, None))  # what the fine-tuning begins with
        run.write_weights(Checkpoint(4, weights, None))
        image = hand.images[0]

        last = len(attribution.levels(run.weights(4))) - 1
        before = questions.Explain(Network(run, 4), image.tobytes(), 3).work(untold).maps
        forgotten = questions.ExplainRandomised(Network(run, 4), image.tobytes(), 3, last).work(untold).maps

        assert {name for name, values in forgotten.items() if np.array_equal(values, before[name])} == set()

    def test_of_a_first_training_goes_back_to_its_own_first_weights(self, source, hand, weights):
        from core.model import keras_model

        untrained = {name: np.zeros_like(values) for name, values in weights.items()}
        source.write_weights(Checkpoint(0, untrained, None))
        lent = questions._lendable(source)

        assert equal(lent.initial, untrained)
        assert not equal(lent.initial, keras_model.variables(lent.model)[0])
