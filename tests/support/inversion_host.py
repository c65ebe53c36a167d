"""A host without a network: brings any method of inversion there and back by what its row says, never by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from oracles import Mixture, mixture, noise
from torch import Tensor

from smooth_lora.inversion.algorithms.null_text import optimise_nulls
from smooth_lora.inversion.contract import InversionMethod, MethodSettings
from smooth_lora.inversion.passes import run_inversion, run_replay
from smooth_lora.inversion.record import Inversion
from smooth_lora.sampling.scale import Scale

SHAPE = (4, 4, 4)
TEXT = (1, 2, 40)  # more numbers than a latent has: a text can push a prediction anywhere
FIT = {"inner_steps": 4, "tolerance": 0.0}


@dataclass
class Heard:
    """What a listener of the steps heard."""

    steps: list[tuple[int, Tensor]] = field(default_factory=list)

    def __call__(self, step: int, x: Tensor, denoised: Tensor) -> None:
        assert x.isfinite().all() and denoised.shape == x.shape
        self.steps.append((step, x.clone()))


@dataclass(frozen=True)
class GaussianHost:
    """Guidance from a mixture of Gaussians towards one of them, the prompt; a text pushes the mixture's noise.

    kind: "ve" or "flow"; cfg: of the replay
    """

    kind: str
    cfg: float
    sigmas: list[float]

    @property
    def scale(self) -> Scale:
        return Scale(self.kind)

    def images(self, count: int) -> Tensor:
        """[count, ...] float64 at the last sigma."""
        whole = mixture(self.kind, SHAPE)
        return (whole.means[:1] + 0.5 * noise(2, count, *SHAPE)) * self.scale.stretch(self.sigmas[-1])

    def prompt(self, x: Tensor, sigma: float) -> Tensor:
        """Denoised with the images' prompt."""
        whole = mixture(self.kind, SHAPE)
        return Mixture(whole.means[:1], whole.std, self.kind)(x, sigma)

    def with_text(self, text: Tensor, x: Tensor, sigma: float) -> Tensor:
        """Denoised with a text of one row, or of a row for each of x; zeros are the empty one."""
        push = text.double().flatten(1) @ (0.1 * noise(7, 80, 64))
        return mixture(self.kind, SHAPE)(x, sigma) - sigma * push.reshape(-1, *SHAPE)

    def guided(self, cfg: float, negative: Callable[[Tensor, float], Tensor]) -> Callable[[Tensor, float], Tensor]:
        def denoise(x: Tensor, sigma: float) -> Tensor:
            uncond = negative(x, sigma)
            return uncond + cfg * (self.prompt(x, sigma) - uncond)

        return denoise

    def empty(self, x: Tensor, sigma: float) -> Tensor:
        return self.with_text(torch.zeros(TEXT), x, sigma)

    def inverted(
        self, row: InversionMethod, x0: Tensor, values: Mapping[str, object] | None = None, heard: Heard | None = None
    ) -> Inversion:
        """The inversion of images, nulls and all."""
        settings = row.settings_of({**FIT, **(values or {})}, "test")
        denoise = self.guided(row.cfg_of_inversion(self.cfg), self.empty)
        made = run_inversion(row, denoise, x0, self.sigmas, scale=self.scale, settings=settings, on_step=heard)
        noisy = (made.states[0] / self.sigmas[0]).float()
        nulls = [self.nulls(row, settings, made.states[:, rows]) for rows in row.fit_groups(len(x0))]
        return Inversion(
            method=row.name,
            cfg=self.cfg,
            sigmas=torch.tensor(self.sigmas, dtype=torch.float64),
            states=made.states,
            noise=noisy,
            scale=self.scale,
            model="gaussian",
            positive=[],
            negative=[],
            settings={**settings.asked(), "pull_from": len(self.sigmas) // 2},
            nulls=torch.cat(nulls, dim=1).float() if nulls else None,
            residuals=made.residuals,
        )

    def nulls(self, row: InversionMethod, settings: MethodSettings, path: Tensor) -> Tensor:
        """The texts of a group, by the settings of the row that have these names."""
        by_name = {setting.name: settings[setting] for setting in row.settings}
        return optimise_nulls(
            self.prompt,
            self.with_text,
            path,
            self.sigmas,
            text=torch.zeros(TEXT),
            cfg=self.cfg,
            scale=self.scale,
            iterations=by_name["inner_steps"],
            tolerance=by_name["tolerance"],
        )[0]

    def replayed(self, inversion: Inversion, skip: int = 0, heard: Heard | None = None) -> Tensor:
        """States of the replay, [N + 1 - skip, rows, ...]: each image once, then again where the method has it so."""
        needs = inversion.row.needs
        rows = torch.arange(inversion.images).repeat(needs.rows_per_image)
        settings = inversion.row.settings_of(inversion.settings, "test")
        acted: list[Tensor] = []

        def negative(x: Tensor, sigma: float) -> Tensor:
            if needs.source_as_negative:
                return self.prompt(x, sigma)
            if inversion.nulls is None:
                return self.empty(x, sigma)
            return self.with_text(inversion.nulls[self.sigmas.index(sigma)], x, sigma)

        def denoise(x: Tensor, sigma: float) -> Tensor:
            if needs.guidance is None:
                return self.guided(inversion.cfg, negative)(x, sigma)
            guided = needs.guidance(self.prompt(x, sigma), negative(x, sigma), inversion.cfg, settings)
            acted[:] = [guided.edited]
            return guided.denoised

        return run_replay(
            inversion,
            denoise,
            inversion.states[skip, rows],
            rows,
            skip=skip,
            edited=(lambda: acted[0]) if needs.guidance else None,
            on_step=heard,
        )
