"""What the user asked for, as frozen values: one class per layer kind, one for the training, one for both.

The editor's widgets, validation, links, files and generated code are all derived from these classes. A field is named as
Keras names it; its bounds, title and help stand in `Field(...)`. A layer also knows its own arithmetic (output shape,
parameters, multiply-adds), because that follows from its fields alone; `core.model.ledger` adds it up over a stack.

Shapes are those of one image without the batch axis: `(height, width, channels)` or `(units,)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_serializer, model_validator

from core.errors import SpecError

Shape = tuple[int, ...]

IMAGE_SHAPE: tuple[int, int, int] = (28, 28, 1)
INPUT_NAME = "pixels_0_to_255"  # of a network's input, told by its file wherever that goes: it divides by 255 itself
CLASSES = 10
TRAINING_SET_SIZE = 60_000

# Limits, so that neither a slip nor an edited link builds what no machine can hold.
MAX_LAYERS = 24
MAX_PARAMETERS = 5_000_000
MAX_MACS = 200_000_000
MAX_ACTIVATIONS_PER_BATCH = 64_000_000  # floats held for one batch, about 256 MB
MAX_FILTERS = 512
MAX_UNITS = 4096
MAX_EPOCHS = 100
MAX_BATCH_SIZE = 1024
MAX_JSON_BYTES = 100_000

Activation_ = Literal["linear", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
Padding = Literal["valid", "same"]


class Spec(BaseModel):
    """A frozen value that takes nothing but its own fields, in their own types and bounds."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


S = TypeVar("S", bound=Spec)


# --- fields that several kinds share -----------------------------------------------------------------------------------

Strides = Annotated[
    int, Field(ge=1, le=28, title="Strides", description="How many pixels the window moves at each step.")
]
PaddingField = Annotated[
    Padding,
    Field(
        title="Padding",
        description="'valid' keeps the window inside the image, which shrinks it; 'same' pads with zeros so that the size stays.",
    ),
]
ActivationField = Annotated[
    Activation_,
    Field(title="Activation", description="The function applied to every output; without one the layer is linear."),
]
UseBias = Annotated[bool, Field(title="Bias", description="Add a learned constant to every output.")]
Initializer = Literal[
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "orthogonal", "zeros"
]
InitializerField = Annotated[
    Initializer,
    Field(
        title="Initializer",
        description="How the weights are drawn before the first step; with zeros no two units ever differ.",
        json_schema_extra={"is_rare": True},
    ),
]
RegularizerField = Annotated[
    float,
    Field(
        ge=0.0,
        le=0.1,
        title="L2 penalty",
        description="How much the loss grows with the squared weights, `L2(...)`; 0 for not at all.",
        json_schema_extra={"is_rare": True, "step": 0.0005},
    ),
]
DropoutRate = Annotated[float, Field(ge=0.0, le=0.95, title="Rate", json_schema_extra={"step": 0.05})]


class LayerSpec(Spec):
    """A layer of the stack. Subclasses define the inputs it takes, its cost and its window."""

    kind: str
    takes: ClassVar[Literal["image", "vector", "any"]] = "any"
    icon: ClassVar[str] = ":material/layers:"
    about: ClassVar[str] = ""

    def misfit(self, input_shape: Shape) -> str | None:
        """Return the reason why this layer can't take an input of `input_shape`, as a sentence; None if it can."""
        if self.takes == "image" and len(input_shape) != 3:
            return f"{self.kind} needs an image (height, width, channels), but what reaches it is flat: {shape_text(input_shape)}."
        if self.takes == "vector" and len(input_shape) != 1:
            return f"{self.kind} needs a flat vector, but what reaches it is an image: {shape_text(input_shape)}."
        return None

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the output for one image."""
        return input_shape

    def parameters(self, input_shape: Shape) -> int:
        """Return how many numbers the layer holds, trained or not, as Keras' `count_params` counts them."""
        return 0

    def macs(self, input_shape: Shape) -> int:
        """Return the multiply-adds for one image. Comparisons, copies and activation functions are not counted."""
        return 0

    def activations(self, input_shape: Shape) -> int:
        """Return how many values are held for one image while training."""
        return math.prod(self.output_shape(input_shape))

    def window(self, input_shape: Shape) -> tuple[int, int]:
        """Return (size, stride) of the square of the input that each output depends on, in pixels of that input."""
        return 1, 1

    def caption(self) -> str:
        """Return the arguments that tell this layer from others of its kind, in a few words."""
        return ""


class _Sliding(LayerSpec):
    """A square window that slides over an image: convolution and pooling."""

    takes: ClassVar = "image"

    if TYPE_CHECKING:  # as a field it would come first in every spec that is written, before `filters`
        padding: PaddingField = "valid"

    def _size_and_strides(self) -> tuple[int, int]:
        raise NotImplementedError

    def misfit(self, input_shape: Shape) -> str | None:
        size, _ = self._size_and_strides()
        wrong = super().misfit(input_shape)
        if wrong is None and self.padding == "valid" and size > min(input_shape[:2]):
            height, width = input_shape[:2]
            return f"a {size} × {size} window doesn't fit into an image of {height} × {width} pixels."
        return wrong

    def _slid(self, input_shape: Shape) -> Shape:
        size, strides = self._size_and_strides()
        if self.padding == "same":
            return tuple(math.ceil(side / strides) for side in input_shape[:2])
        return tuple((side - size) // strides + 1 for side in input_shape[:2])

    def window(self, input_shape: Shape) -> tuple[int, int]:
        return self._size_and_strides()


class Conv2D(_Sliding):
    """Slides small learned filters over the image, each answering to one pattern."""

    kind: Literal["Conv2D"] = "Conv2D"
    icon: ClassVar = ":material/filter_center_focus:"
    about: ClassVar = "Slides small learned filters over the image; each answers to one pattern, wherever it stands."

    filters: int = Field(
        default=32, ge=1, le=MAX_FILTERS, title="Filters", description="How many patterns the layer learns to look for."
    )
    kernel_size: int = Field(
        default=3, ge=1, le=28, title="Kernel size", description="Side of the square each filter sees, in pixels."
    )
    strides: Strides = 1
    padding: PaddingField = "valid"
    activation: ActivationField = "relu"
    use_bias: UseBias = True
    kernel_initializer: InitializerField = "glorot_uniform"
    kernel_regularizer: RegularizerField = 0.0

    def _size_and_strides(self) -> tuple[int, int]:
        return self.kernel_size, self.strides

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*self._slid(input_shape), self.filters)

    def parameters(self, input_shape: Shape) -> int:
        return (self.kernel_size**2 * input_shape[2] + self.use_bias) * self.filters

    def macs(self, input_shape: Shape) -> int:
        height, width = self._slid(input_shape)
        return height * width * self.filters * self.kernel_size**2 * input_shape[2]

    def caption(self) -> str:
        return _words(
            f"{self.filters} filters {self.kernel_size}×{self.kernel_size}",
            _moved(self.strides, 1),
            self.padding,
            self.activation,
        )


class SeparableConv2D(_Sliding):
    """A convolution in two steps: one small filter per channel, then a mix of the channels. Source: Chollet 2017,
    arXiv:1610.02357.
    """

    kind: Literal["SeparableConv2D"] = "SeparableConv2D"
    icon: ClassVar = ":material/filter_none:"
    about: ClassVar = "A convolution in two cheap steps: one filter per channel, then a mix of the channels."

    filters: int = Field(
        default=32,
        ge=1,
        le=MAX_FILTERS,
        title="Filters",
        description="How many mixes of the filtered channels are made.",
    )
    kernel_size: int = Field(
        default=3, ge=1, le=28, title="Kernel size", description="Side of the square each filter sees, in pixels."
    )
    strides: Strides = 1
    padding: PaddingField = "valid"
    depth_multiplier: int = Field(
        default=1, ge=1, le=8, title="Depth multiplier", description="How many filters each incoming channel gets."
    )
    activation: ActivationField = "relu"
    use_bias: UseBias = True
    depthwise_initializer: InitializerField = "glorot_uniform"
    pointwise_initializer: InitializerField = "glorot_uniform"
    depthwise_regularizer: RegularizerField = 0.0
    pointwise_regularizer: RegularizerField = 0.0

    def _size_and_strides(self) -> tuple[int, int]:
        return self.kernel_size, self.strides

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*self._slid(input_shape), self.filters)

    def parameters(self, input_shape: Shape) -> int:
        filtered = input_shape[2] * self.depth_multiplier
        return self.kernel_size**2 * filtered + (filtered + self.use_bias) * self.filters

    def macs(self, input_shape: Shape) -> int:
        height, width = self._slid(input_shape)
        filtered = input_shape[2] * self.depth_multiplier
        return height * width * filtered * (self.kernel_size**2 + self.filters)

    def caption(self) -> str:
        return _words(
            f"{self.filters} filters {self.kernel_size}×{self.kernel_size}",
            _moved(self.strides, 1),
            self.padding,
            self.activation,
        )


class _Pooling(_Sliding):
    pool_size: int = Field(
        default=2,
        ge=1,
        le=28,
        title="Pool size",
        description="Side of the square that is reduced to one value, in pixels.",
    )
    strides: Strides | None = Field(
        default=None,
        ge=1,
        le=28,
        title="Strides",
        description="How many pixels the window moves at each step; empty means the pool size.",
    )
    padding: PaddingField = "valid"

    def _size_and_strides(self) -> tuple[int, int]:
        return self.pool_size, self.strides or self.pool_size

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*self._slid(input_shape), input_shape[2])

    def caption(self) -> str:
        return _words(
            f"{self.pool_size}×{self.pool_size}", _moved(self.strides or self.pool_size, self.pool_size), self.padding
        )


class MaxPooling2D(_Pooling):
    """Keeps the largest value of each square."""

    kind: Literal["MaxPooling2D"] = "MaxPooling2D"
    icon: ClassVar = ":material/grid_view:"
    about: ClassVar = "Keeps the largest value of each small square: a smaller image that minds exact places less."


class AveragePooling2D(_Pooling):
    """Keeps the mean of each square."""

    kind: Literal["AveragePooling2D"] = "AveragePooling2D"
    icon: ClassVar = ":material/blur_on:"
    about: ClassVar = "Keeps the mean of each small square: a smaller, smoother image."


class BatchNormalization(LayerSpec):
    """Centres and scales every channel over the batch."""

    kind: Literal["BatchNormalization"] = "BatchNormalization"
    icon: ClassVar = ":material/equalizer:"
    about: ClassVar = "Centres and scales each channel over the batch; learning gets faster and less touchy."

    def parameters(self, input_shape: Shape) -> int:
        return 4 * input_shape[-1]

    def macs(self, input_shape: Shape) -> int:
        return math.prod(input_shape)


class Activation(LayerSpec):
    """An activation function as a layer of its own."""

    kind: Literal["Activation"] = "Activation"
    icon: ClassVar = ":material/ssid_chart:"
    about: ClassVar = "An activation function by itself, for stacks that want it after normalisation or pooling."

    activation: ActivationField = "relu"

    def caption(self) -> str:
        return self.activation


class Dropout(LayerSpec):
    """Silences a random share of the values, in training only."""

    kind: Literal["Dropout"] = "Dropout"
    icon: ClassVar = ":material/grain:"
    about: ClassVar = "Silences a random share of its input while training, so that no unit is relied on alone."

    rate: Annotated[DropoutRate, Field(description="Share of the values silenced at each step.")] = 0.2

    def caption(self) -> str:
        return f"{self.rate:g}"


class SpatialDropout2D(LayerSpec):
    """Silences whole channels. Source: Tompson et al. 2015, arXiv:1411.4280."""

    kind: Literal["SpatialDropout2D"] = "SpatialDropout2D"
    takes: ClassVar = "image"
    icon: ClassVar = ":material/layers_clear:"
    about: ClassVar = (
        "Silences whole channels at random while training: neighbouring pixels can't stand in for each other."
    )

    rate: Annotated[DropoutRate, Field(description="Share of the channels silenced at each step.")] = 0.2

    def caption(self) -> str:
        return f"{self.rate:g}"


class Flatten(LayerSpec):
    """Lays an image out as one long vector."""

    kind: Literal["Flatten"] = "Flatten"
    takes: ClassVar = "image"
    icon: ClassVar = ":material/view_week:"
    about: ClassVar = "Lays the image out as one long vector, which is what Dense takes."

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)


class GlobalAveragePooling2D(LayerSpec):
    """Reduces each channel to its mean."""

    kind: Literal["GlobalAveragePooling2D"] = "GlobalAveragePooling2D"
    takes: ClassVar = "image"
    icon: ClassVar = ":material/compress:"
    about: ClassVar = "Reduces each channel to its mean: a short vector, with nothing to learn."

    def output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[2],)

    def window(self, input_shape: Shape) -> tuple[int, int]:
        return max(input_shape[:2]), 1


class Dense(LayerSpec):
    """Connects every input to every output."""

    kind: Literal["Dense"] = "Dense"
    takes: ClassVar = "vector"
    icon: ClassVar = ":material/hub:"
    about: ClassVar = "Connects every input to every unit; where a network does its weighing up."

    units: int = Field(
        default=128, ge=1, le=MAX_UNITS, title="Units", description="How many outputs, often called neurons."
    )
    activation: ActivationField = "relu"
    use_bias: UseBias = True
    kernel_initializer: InitializerField = "glorot_uniform"
    kernel_regularizer: RegularizerField = 0.0

    def output_shape(self, input_shape: Shape) -> Shape:
        return (self.units,)

    def parameters(self, input_shape: Shape) -> int:
        return (input_shape[0] + self.use_bias) * self.units

    def macs(self, input_shape: Shape) -> int:
        return input_shape[0] * self.units

    def caption(self) -> str:
        return _words(f"{self.units} units", self.activation)


class Block(LayerSpec):
    """Several layers as one: two ways from the same input, added up. Its arithmetic is that of its parts."""

    takes: ClassVar = "image"

    def main(self, input_shape: Shape) -> tuple[LayerSpec, ...]:
        """Return the layers of the longer path, in order."""
        raise NotImplementedError

    def shortcut(self, input_shape: Shape) -> tuple[LayerSpec, ...]:
        """Return the layers of the shorter path; none if the input is added unchanged."""
        raise NotImplementedError

    def after(self, input_shape: Shape) -> tuple[LayerSpec, ...]:
        """Return the layers after the sum."""
        return ()

    def output_shape(self, input_shape: Shape) -> Shape:
        return _end(self.main(input_shape), input_shape)

    def parameters(self, input_shape: Shape) -> int:
        return self._sum(LayerSpec.parameters.__name__, input_shape)

    def macs(self, input_shape: Shape) -> int:
        return self._sum(LayerSpec.macs.__name__, input_shape)

    def activations(self, input_shape: Shape) -> int:
        return self._sum(LayerSpec.activations.__name__, input_shape)

    def window(self, input_shape: Shape) -> tuple[int, int]:
        size, jump = 1, 1
        for part in self.main(input_shape):
            part_size, strides = part.window(input_shape)
            size, jump = size + (part_size - 1) * jump, jump * strides
        return size, jump

    def _sum(self, quantity: str, input_shape: Shape) -> int:
        total = 0
        for way, shape in (
            (self.main(input_shape), input_shape),
            (self.shortcut(input_shape), input_shape),
            (self.after(input_shape), self.output_shape(input_shape)),
        ):
            for part in way:
                total += getattr(part, quantity)(shape)
                shape = part.output_shape(shape)
        return total


class Residual(Block):
    """Two convolutions whose result is added to what came in. Source: He et al. 2016, arXiv:1512.03385."""

    kind: Literal["Residual"] = "Residual"
    icon: ClassVar = ":material/alt_route:"
    about: ClassVar = "Two convolutions whose result is added to what came in, so that deep stacks stay easy to train."

    filters: int = Field(
        default=32,
        ge=1,
        le=MAX_FILTERS,
        title="Filters",
        description="How many patterns each of its convolutions learns.",
    )
    kernel_size: int = Field(
        default=3, ge=1, le=28, title="Kernel size", description="Side of the square each filter sees, in pixels."
    )
    strides: Strides = 1
    activation: ActivationField = "relu"
    batch_normalization: bool = Field(
        default=True, title="Batch normalization", description="Centre and scale after each convolution."
    )
    kernel_initializer: InitializerField = "glorot_uniform"
    kernel_regularizer: RegularizerField = 0.0

    def main(self, input_shape: Shape) -> tuple[LayerSpec, ...]:
        first, second = self._convolution(self.kernel_size, self.strides), self._convolution(self.kernel_size, 1)
        return (*first, Activation(activation=self.activation), *second)

    def shortcut(self, input_shape: Shape) -> tuple[LayerSpec, ...]:
        is_same = self.strides == 1 and self.filters == input_shape[2]
        return () if is_same else self._convolution(1, self.strides)

    def after(self, input_shape: Shape) -> tuple[LayerSpec, ...]:
        return (Activation(activation=self.activation),)

    def caption(self) -> str:
        return _words(
            f"{self.filters} filters {self.kernel_size}×{self.kernel_size}", _moved(self.strides, 1), self.activation
        )

    def _convolution(self, kernel_size: int, strides: int) -> tuple[LayerSpec, ...]:
        convolution = Conv2D(
            filters=self.filters,
            kernel_size=kernel_size,
            strides=strides,
            padding="same",
            activation="linear",
            use_bias=not self.batch_normalization,
            kernel_initializer=self.kernel_initializer,
            kernel_regularizer=self.kernel_regularizer,
        )
        return (convolution, BatchNormalization()) if self.batch_normalization else (convolution,)


def _end(layers: tuple[LayerSpec, ...], shape: Shape) -> Shape:
    for layer in layers:
        shape = layer.output_shape(shape)
    return shape


LAYER_KINDS: dict[str, type[LayerSpec]] = {
    kind.model_fields["kind"].default: kind
    for kind in (
        Conv2D,
        MaxPooling2D,
        AveragePooling2D,
        BatchNormalization,
        Activation,
        Dropout,
        Flatten,
        Dense,
        GlobalAveragePooling2D,
        SeparableConv2D,
        SpatialDropout2D,
        Residual,
    )
}

Layer = Annotated[reduce(or_, LAYER_KINDS.values()), Field(discriminator="kind")]

OUTPUT_LAYER = Dense(units=CLASSES, activation="linear")
"""The arithmetic of the last layer: ten units. Every network ends in it, with softmax; no stack can leave it out."""


# --- training ----------------------------------------------------------------------------------------------------------


class Adam(Spec):
    """Adam. Source: Kingma & Ba 2015, arXiv:1412.6980."""

    kind: Literal["Adam"] = "Adam"
    about: ClassVar = "Adapts the step of every weight by its recent gradients. A good first choice."


class AdamW(Spec):
    """Adam with decoupled weight decay. Source: Loshchilov & Hutter 2019, arXiv:1711.05101."""

    kind: Literal["AdamW"] = "AdamW"
    about: ClassVar = "Adam that also pulls every weight gently towards zero."
    weight_decay: float = Field(
        default=0.004, ge=0.0, le=0.5, title="Weight decay", description="How strongly weights are pulled towards zero."
    )


class SGD(Spec):
    """Stochastic gradient descent."""

    kind: Literal["SGD"] = "SGD"
    about: ClassVar = "The plain method: a step down the gradient, with momentum where wanted."
    momentum: float = Field(
        default=0.9,
        ge=0.0,
        le=0.99,
        title="Momentum",
        description="How much of the last step is carried into the next.",
    )
    nesterov: bool = Field(
        default=False, title="Nesterov", description="Look ahead along the momentum before taking the gradient."
    )


class RMSprop(Spec):
    """RMSprop. Source: Hinton, Neural Networks for Machine Learning, lecture 6e, 2012."""

    kind: Literal["RMSprop"] = "RMSprop"
    about: ClassVar = "Divides each step by the recent size of its gradient."
    rho: float = Field(
        default=0.9, ge=0.0, le=0.999, title="Rho", description="How long the recent size of gradients is remembered."
    )
    momentum: float = Field(
        default=0.0,
        ge=0.0,
        le=0.99,
        title="Momentum",
        description="How much of the last step is carried into the next.",
    )


Optimizer = Annotated[Adam | AdamW | SGD | RMSprop, Field(discriminator="kind")]


class _Schedule(Spec):
    def factors(self, progress: np.ndarray) -> np.ndarray:
        """Return the share of the learning rate that is used, (n,) float64 in 0..1.

        Args:
            progress: share of the training that is done, (n,) float64, 0 for the first batch to 1 for the last.
        """
        raise NotImplementedError


class Constant(_Schedule):
    """The learning rate as it is."""

    kind: Literal["constant"] = "constant"
    about: ClassVar = "The same learning rate from the first batch to the last."

    def factors(self, progress: np.ndarray) -> np.ndarray:
        return np.ones_like(progress)


class Cosine(_Schedule):
    """Half a cosine from the learning rate to zero. Source: Loshchilov & Hutter 2017, arXiv:1608.03983."""

    kind: Literal["cosine"] = "cosine"
    about: ClassVar = "Falls along half a cosine wave to zero."

    def factors(self, progress: np.ndarray) -> np.ndarray:
        return (1 + np.cos(np.pi * progress)) / 2


class OneCycle(_Schedule):
    """Up to the learning rate and down again. Source: Smith & Topin 2018, arXiv:1708.07120, with cosine halves."""

    kind: Literal["one-cycle"] = "one-cycle"
    about: ClassVar = "Warms up to the learning rate, then falls to nearly nothing: fast for short trainings."
    warmup: float = Field(
        default=0.3, ge=0.001, le=0.999, title="Warm-up", description="Share of the training in which the rate rises."
    )

    def factors(self, progress: np.ndarray) -> np.ndarray:
        rising = 0.04 + 0.96 * (1 - np.cos(np.pi * np.minimum(progress, self.warmup) / self.warmup)) / 2
        falling = 1e-4 + (1 - 1e-4) * (1 + np.cos(np.pi * (progress - self.warmup) / (1 - self.warmup))) / 2
        return np.where(progress < self.warmup, rising, falling)


class Exponential(_Schedule):
    """A constant share of the learning rate lost per unit of progress."""

    kind: Literal["exponential"] = "exponential"
    about: ClassVar = "Falls by the same proportion all the time."
    final: float = Field(
        default=0.01,
        ge=1e-6,
        le=1.0,
        title="Final share",
        description="What share of the learning rate is left at the end.",
    )

    def factors(self, progress: np.ndarray) -> np.ndarray:
        return self.final**progress


Schedule = Annotated[Constant | Cosine | OneCycle | Exponential, Field(discriminator="kind")]


class Augmentation(Spec):
    """The limits of the random changes to each training image before every step. With all at zero nothing is changed."""

    shift: float = Field(
        default=0.0,
        ge=0.0,
        le=8.0,
        title="Shift",
        description="Up to this many pixels in any direction.",
        json_schema_extra={"step": 0.5},
    )
    rotation: float = Field(
        default=0.0,
        ge=0.0,
        le=45.0,
        title="Rotation",
        description="Up to this many degrees either way.",
        json_schema_extra={"step": 1.0},
    )
    scale: float = Field(
        default=0.0,
        ge=0.0,
        le=0.5,
        title="Scale",
        description="Up to this share larger or smaller.",
        json_schema_extra={"step": 0.05},
    )
    shear: float = Field(
        default=0.0,
        ge=0.0,
        le=0.5,
        title="Shear",
        description="Slant by up to this many pixels sideways per pixel of height.",
        json_schema_extra={"step": 0.05},
    )
    elastic: float = Field(
        default=0.0,
        ge=0.0,
        le=4.0,
        title="Elastic",
        description="Neighbouring pixels drift together by up to this many pixels, as if the paper were rubber.",
        json_schema_extra={"step": 0.25},
    )
    thickness: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        title="Thickness",
        description="Strokes up to this many pixels fatter or thinner on each side.",
        json_schema_extra={"step": 0.1},
    )
    noise: float = Field(
        default=0.0,
        ge=0.0,
        le=0.5,
        title="Noise",
        description="Grain whose standard deviation is up to this share of white.",
        json_schema_extra={"step": 0.05},
    )

    @property
    def is_active(self) -> bool:
        """True if any of the changes is switched on."""
        return any(value > 0 for value in self.model_dump().values())


class Training(Spec):
    """The settings of a training. The output layer's loss is always categorical cross-entropy."""

    epochs: int = Field(
        default=10, ge=1, le=MAX_EPOCHS, title="Epochs", description="How many times every training image is seen."
    )
    batch_size: int = Field(
        default=32,
        ge=1,
        le=MAX_BATCH_SIZE,
        title="Batch size",
        description="How many images are looked at before the weights change.",
    )
    optimizer: Optimizer = Field(
        default=Adam(), title="Optimizer", description="How gradients become changes of the weights."
    )
    learning_rate: float = Field(
        default=0.001,
        ge=1e-8,
        le=10.0,
        title="Learning rate",
        description="The size of each step, at its highest.",
        json_schema_extra={"step": 0.0005, "format": "%.4g"},
    )
    schedule: Schedule = Field(
        default=Constant(), title="Schedule", description="How the learning rate changes over the training."
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0.0,
        le=0.5,
        title="Label smoothing",
        description="Share of certainty taken from the right answer and spread over all ten.",
        json_schema_extra={"step": 0.05},
    )
    train_size: int = Field(
        default=TRAINING_SET_SIZE,
        ge=20,
        le=TRAINING_SET_SIZE,
        title="Images used",
        description="How many of the 60,000 training images are used at all.",
        json_schema_extra={"step": 1000},
    )
    validation_split: float = Field(
        default=0.1,
        ge=0.0,
        le=0.5,
        title="Held out for validation",
        description="Share of the images used that are kept aside to check on, never trained on.",
        json_schema_extra={"step": 0.05},
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        le=MAX_EPOCHS,
        title="Early stopping",
        description="Stop after this many epochs without a better validation loss; empty means never.",
    )
    augmentation: Augmentation = Field(
        default=Augmentation(),
        title="Augmentation",
        description="Random changes to the training images that keep the digit the same.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="The same seed on the same machine gives the same numbers.",
    )

    @model_validator(mode="after")
    def _patience_needs_validation(self) -> Self:
        if self.patience is not None and round(self.train_size * self.validation_split) == 0:
            raise ValueError(
                f"early stopping watches the validation loss, but validation_split is {self.validation_split:g}"
                f"{f' of {self.train_size} images' if self.validation_split else ''}: hold some images out, or switch it off"
            )
        return self

    def learning_rates(self, steps: int, changes: Iterable[tuple[int, float]] = ()) -> np.ndarray:
        """Return the learning rate of each of `steps` batches.

        Args:
            changes: (batch, learning rate) pairs in order: from that batch on, this learning rate replaces the one before.

        Returns: (steps,) float32, positive or zero.
        """
        factors = self.schedule.factors(np.arange(steps) / max(steps - 1, 1))
        rates = self.learning_rate * factors
        for step, learning_rate in changes:
            rates[step:] = learning_rate * factors[step:]
        return rates.astype(np.float32)


class FineTuning(Spec):
    """Training that begins with the weights of a trained network and mixes one's own drawings with MNIST's images.

    The weights and the drawings lie in the run's folder; `run_id` and `step` say where the weights were taken from.
    """

    run_id: str = Field(
        pattern=r"^[a-z2-7]{16}([a-z2-7]{10})?$", title="Begun with", description="The run that the weights are of."
    )
    step: int = Field(
        ge=0, le=MAX_EPOCHS * TRAINING_SET_SIZE, title="After", description="After how many of its batches."
    )
    drawings: int = Field(ge=1, le=1000, title="Drawings", description="How many drawings are learned from.")
    images: int = Field(
        default=5000,
        ge=0,
        le=TRAINING_SET_SIZE,
        title="MNIST's images",
        description="How many of MNIST's training images are mixed in, so that they are not forgotten.",
        json_schema_extra={"step": 1000},
    )
    share: float = Field(
        default=0.25,
        ge=0.05,
        le=0.75,
        title="Share of your drawings",
        description="They are repeated until they are this share of the images of an epoch.",
        json_schema_extra={"step": 0.05},
    )

    def repeated(self, images: int) -> int:
        """Return how many images of an epoch are drawings, beside `images` images of MNIST: each drawing at least once."""
        return max(self.drawings, round(images * self.share / (1 - self.share)))


class Experiment(Spec):
    """A network and its training: everything a run follows from, with the data."""

    version: Literal[1] = 1
    layers: tuple[Layer, ...] = Field(max_length=MAX_LAYERS)
    training: Training = Training()
    fine_tuning: FineTuning | None = None

    @property
    def images_per_epoch(self) -> int:
        """Number of images in an epoch, for a training file of 60,000."""
        if self.fine_tuning is not None:
            return self.fine_tuning.images + self.fine_tuning.repeated(self.fine_tuning.images)
        return self.training.train_size - round(self.training.train_size * self.training.validation_split)

    @model_serializer(mode="wrap")
    def _as_ever(self, serialize: Callable[[Experiment], dict[str, object]]) -> dict[str, object]:
        """Return the fields without `fine_tuning` if there is none, so that older links and files stay the same."""
        values = serialize(self)
        if self.fine_tuning is None:
            del values["fine_tuning"]
        return values


_EXPERIMENT = TypeAdapter(Experiment)


def parse_experiment(text: str | bytes) -> Experiment:
    """Return an experiment from its JSON, which may come from anyone.

    Raises:
        SpecError: naming the first field that is wrong, what was expected and what was received.
    """
    if len(text) > MAX_JSON_BYTES:
        raise SpecError(
            f"This experiment is {len(text):,} bytes of JSON; expected at most {MAX_JSON_BYTES:,}. Was it cut from something else?"
        )
    return _in_our_words(lambda: _EXPERIMENT.validate_json(text))


def replaced(spec: S, **changes: object) -> S:
    """Return `spec` with some fields changed, validated again.

    Raises:
        SpecError: as `parse_experiment`.
    """
    return _in_our_words(lambda: type(spec).model_validate({**dict(spec), **changes}))


def shape_text(shape: Shape) -> str:
    """Return a shape as text: `(26, 26, 28)` becomes `26 × 26 × 28`."""
    return " × ".join(map(str, shape))


def _in_our_words(validate: Callable[[], S]) -> S:
    try:
        return validate()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the experiment"
        reason = first["msg"].removeprefix("Value error, ")
        # Where fields contradict each other, what was received is the whole spec: the reason names them already.
        received = "" if isinstance(first["input"], dict) else f"; received {_beginning(repr(first['input']), 80)}"
        raise SpecError(f"{_beginning(field, 80)}: {_beginning(reason, 300)}{received}.") from None


def _beginning(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _words(*parts: str) -> str:
    return ", ".join(part for part in parts if part not in ("", "valid", "linear"))


def _moved(strides: int, usual: int) -> str:
    return "" if strides == usual else f"strides {strides}"
