"""The contract of a method of inversion: its settings, its two passes, and what it needs of a host.

A method is one file with an `invert` and a `replay` of the signatures below, and one row in methods.py. All else (the
node's inputs, the key of the cache, the check of files, guidance, prompts, the number of rows) follows from the row.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar, cast

from torch import Tensor

from ..checks import require_range
from ..sampling.denoise import Denoise, OnStep
from ..sampling.scale import Scale

SettingValue = TypeVar("SettingValue", bool, int, float)


@dataclass(frozen=True)
class Setting(Generic[SettingValue]):
    """One setting of a method; its type is that of its default.

    name:     as the node's input and the files call it; never renamed
    low, high: both included
    tooltip:  the sentence that a user reads
    step:     what an arrow of the widget adds
    asked:    an input of the node; False for what follows from the model's schedule
    replayed: the replay reads it again, so that a file must hold it
    """

    name: str
    default: SettingValue
    low: SettingValue
    high: SettingValue
    tooltip: str = ""
    step: SettingValue | None = None
    asked: bool = True
    replayed: bool = False

    def parsed(self, value: object, who: str) -> SettingValue:
        """Returns a value as the setting's type.

        raises: ValueError for another type, NaN, or a number out of range
        """
        kind = type(self.default)
        if not isinstance(value, numbers.Real if kind is float else numbers.Integral):
            wanted = "a number" if kind is float else "a whole number"
            raise ValueError(f"{who}: {self.name} must be {wanted}, got {value!r}")
        require_range(f"{who}: {self.name}", cast(float, value), self.low, self.high)
        return kind(cast(float, value))


AnySetting: TypeAlias = Setting[bool] | Setting[int] | Setting[float]


class MethodSettings:
    """The values of a method's settings, parsed once; `settings[ETA]` has the type of ETA."""

    def __init__(self, settings: Sequence[AnySetting], values: Mapping[str, object], who: str) -> None:
        self._values: dict[str, bool | int | float] = {
            setting.name: setting.parsed(values.get(setting.name, setting.default), who) for setting in settings
        }
        self._asked = [setting.name for setting in settings if setting.asked]

    def __getitem__(self, setting: Setting[SettingValue]) -> SettingValue:
        return cast(SettingValue, self._values[setting.name])

    def asked(self) -> dict[str, bool | int | float]:
        """Returns the values that a node asks for by name, as files and keys of the cache hold them."""
        return {name: self._values[name] for name in self._asked}


@dataclass(frozen=True)
class InversionTask:
    """One inversion, as every method is given it.

    x0:       [B, ...] float64 clean latents in model units, at sigmas[N]
    sigmas:   [N + 1], falling
    scale:    how the model's noisy latents are made
    settings: the method's own
    on_step:  called after each step
    """

    x0: Tensor
    sigmas: Sequence[float]
    scale: Scale
    settings: MethodSettings
    on_step: OnStep | None = None


@dataclass(frozen=True)
class Inverted:
    """The result of an inversion.

    states:    [N + 1, B, ...] the path, states[k] at sigmas[k]
    residuals: [N, B, ...] of the methods that keep them
    notes:     sentences a user should read
    """

    states: Tensor
    residuals: Tensor | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReplayTask:
    """One replay, as every method is given it; its R rows are samples of inverted images, in any order and number.

    x:         [R, ...] float64, at sigmas[0]; states[0] of the row's image, or for a method without `needs.states` any
               noisy latent
    sigmas:    [N + 1] of the steps that are replayed, falling
    scale:     how the model's noisy latents are made
    settings:  the method's own
    path:      [N + 1, R, ...] states of the row's image; None without `needs.states`
    residuals: [N, R, ...] of the row's image; None without `needs.residuals`
    sources:   [R] bool, the first row of each image
    skipped:   steps of the inversion before sigmas[0]
    edited:    called after a model call: [R, ...] bool, where `needs.guidance` changed something; None without it
    on_step:   called after each step
    """

    x: Tensor
    sigmas: Sequence[float]
    scale: Scale
    settings: MethodSettings
    path: Tensor | None = None
    residuals: Tensor | None = None
    sources: Tensor | None = None
    skipped: int = 0
    edited: Callable[[], Tensor] | None = None
    on_step: OnStep | None = None


Given = TypeVar("Given")


def given(part: Given | None, name: str) -> Given:
    """Returns a part of a ReplayTask that the method's needs promise.

    raises: ValueError if the task was made without it
    """
    if part is None:
        raise ValueError(f"replay: this method needs {name}; give the task what the method's row asks for")
    return part


@dataclass(frozen=True)
class Guided:
    """A guided prediction.

    denoised: [B, ...]
    edited:   [B, ...] bool, where guidance changed something
    """

    denoised: Tensor
    edited: Tensor


class Invert(Protocol):
    """The inversion of a method."""

    def __call__(self, denoise: Denoise, task: InversionTask, /) -> Inverted: ...


class Replay(Protocol):
    """The replay of a method: states [N + 1, R, ...], states[0] is task.x."""

    def __call__(self, denoise: Denoise, task: ReplayTask, /) -> Tensor: ...


class Guidance(Protocol):
    """The rule of a method that combines both predictions: denoised with the wanted and with the negative prompt."""

    def __call__(self, cond: Tensor, uncond: Tensor, cfg: float, settings: MethodSettings, /) -> Guided: ...


@dataclass(frozen=True)
class Needs:
    """Needs of a method beyond a denoiser, noise and sigmas.

    states:    the inversion's path, so that the replay can only start from the inversion's own noise
    residuals: those that the inversion kept
    nulls:     negative prompts for every step, which the host fits by gradients after the inversion: one "per image",
               or one that is "shared" by all images
    source_as_negative: the image's own prompt in the place of the negative one
    guidance:  a rule of its own in the place of cfg
    rows_per_image: samples that a replay makes of each image; 2 is the source and its edit
    images:    how many must be inverted together
    """

    states: bool = False
    residuals: bool = False
    nulls: Literal["per image", "shared"] | None = None
    source_as_negative: bool = False
    guidance: Guidance | None = None
    rows_per_image: int = 1
    images: int | None = None


@dataclass(frozen=True)
class InversionMethod:
    """A method of inversion: one row of the table in methods.py.

    name:     as the node lists it and files keep it; never renamed
    source:   paper and arXiv id
    settings: in the order of the node's inputs
    cfg_while_inverting: guidance scale of the inversion; None takes the replay's
    least_steps: fewest sampling steps, also of what a replay leaves of them
    limit_reason: words that say why there are least_steps, or so many images, in the middle of a sentence
    """

    name: str
    invert: Invert
    replay: Replay
    source: str
    settings: tuple[AnySetting, ...] = ()
    needs: Needs = Needs()
    cfg_while_inverting: float | None = None
    least_steps: int = 1
    limit_reason: str = ""

    def settings_of(self, values: Mapping[str, object], who: str) -> MethodSettings:
        """Returns this method's settings out of values by name; others are left out, missing ones take their default.

        raises: ValueError naming the one that is of another type or out of range
        """
        return MethodSettings(self.settings, values, who)

    def cfg_of_inversion(self, cfg: float) -> float:
        """Returns the guidance scale of the inversion for that of the replay."""
        return cfg if self.cfg_while_inverting is None else self.cfg_while_inverting

    def fit_groups(self, images: int) -> list[slice]:
        """Returns the images that share a fitted negative prompt, group by group; none for a method that fits none."""
        if self.needs.nulls is None:
            return []
        return [slice(0, images)] if self.needs.nulls == "shared" else [slice(b, b + 1) for b in range(images)]

    def require(self, who: str, *, steps: int, images: int) -> None:
        """Refuses too few steps, and another number of images than the method takes.

        raises: ValueError
        """
        needs = f"{self.limit_reason}, so it needs" if self.limit_reason else "needs"
        if steps < self.least_steps:
            raise ValueError(
                f"{who}: {self.name} {needs} at least {self.least_steps} steps, got {steps}; "
                f"set steps to {self.least_steps} or more"
            )
        if self.needs.images not in (None, images):
            raise ValueError(
                f"{who}: {self.name} {needs} {self.needs.images} images, got {images}; "
                f"put {self.needs.images} images into one batch (Batch Images), or choose another method"
            )
