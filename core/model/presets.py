"""Named networks with their trainings, each with its source."""

from __future__ import annotations

from dataclasses import dataclass

from core.model.specs import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Experiment,
    Flatten,
    MaxPooling2D,
    OneCycle,
    Training,
)


@dataclass(frozen=True)
class Preset:
    """A named experiment: `name` is shown to people, `about` is a sentence on why to choose it, `source` is where it
    comes from.
    """

    name: str
    about: str
    source: str
    experiment: Experiment


FIRST_CNN = Preset(
    "First CNN",
    "One convolution, one pooling, one hidden layer: the smallest network that deserves the name.",
    "The common first MNIST tutorial: 10 epochs with Adam, 98.5 % on the test set.",
    Experiment(
        layers=(
            Conv2D(filters=28, kernel_size=3, activation="linear"),
            MaxPooling2D(pool_size=2),
            Flatten(),
            Dense(units=128, activation="relu"),
            Dropout(rate=0.2),
        ),
        training=Training(epochs=10, batch_size=32),
    ),
)

FAST_99 = Preset(
    "Fast 99",
    "Above 99 % in less time than First CNN takes for one of its ten rounds: small, normalised, and driven hard for two.",
    "Own design: pooling before normalisation saves three quarters of the elementwise work; one-cycle learning rate, "
    "Smith & Topin 2018, arXiv:1708.07120.",
    Experiment(
        layers=(
            Conv2D(filters=16, kernel_size=5, activation="linear"),
            MaxPooling2D(pool_size=2),
            BatchNormalization(),
            Activation(activation="relu"),
            Conv2D(filters=32, kernel_size=3, activation="linear"),
            MaxPooling2D(pool_size=2),
            BatchNormalization(),
            Activation(activation="relu"),
            Flatten(),
            Dense(units=64, activation="relu"),
        ),
        training=Training(epochs=2, batch_size=128, learning_rate=0.01, schedule=OneCycle(), validation_split=0.02),
    ),
)

LENET_5 = Preset(
    "LeNet-5",
    "The network that read bank cheques, with its sizes and its tanh.",
    "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, Proc. IEEE 86(11), 1998; "
    "all maps connected, softmax output.",
    Experiment(
        layers=(
            Conv2D(filters=6, kernel_size=5, padding="same", activation="tanh"),
            AveragePooling2D(pool_size=2),
            Conv2D(filters=16, kernel_size=5, activation="tanh"),
            AveragePooling2D(pool_size=2),
            Flatten(),
            Dense(units=120, activation="tanh"),
            Dense(units=84, activation="tanh"),
        ),
        training=Training(epochs=10, batch_size=64),
    ),
)

KERAS_CONVNET = Preset(
    "Keras convnet",
    "The convnet of Keras' own MNIST example: two convolutions and heavy dropout.",
    "Keras code examples, Simple MNIST convnet, https://keras.io/examples/vision/mnist_convnet/: 15 epochs, 99 %.",
    Experiment(
        layers=(
            Conv2D(filters=32, kernel_size=3, activation="relu"),
            MaxPooling2D(pool_size=2),
            Conv2D(filters=64, kernel_size=3, activation="relu"),
            MaxPooling2D(pool_size=2),
            Flatten(),
            Dropout(rate=0.5),
        ),
        training=Training(epochs=15, batch_size=128),
    ),
)

MLP = Preset(
    "MLP 784-128-10",
    "No convolution at all: every pixel to every neuron. See what the picture's geometry was worth.",
    "The classic two-layer perceptron of every introduction; LeCun et al. 1998 report 95.3 to 97 % for its kind.",
    Experiment(
        layers=(Flatten(), Dense(units=128, activation="relu")),
        training=Training(epochs=10, batch_size=32),
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (FIRST_CNN, FAST_99, LENET_5, KERAS_CONVNET, MLP)}
