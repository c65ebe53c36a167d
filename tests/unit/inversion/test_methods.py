"""Every row of the table of methods, and a toy that is added to it, through one suite.

A method that is new needs an entry in LOST and ORDER, and nothing else here.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from inversion_host import GaussianHost, Heard
from oracles import KINDS, distance, even_sigmas, gaussian, guided_mixture, noise, orders, sd15_sigmas, sigmas_for
from toy_inversion import toy_row

from smooth_lora.inversion import contract
from smooth_lora.inversion.contract import InversionMethod, InversionTask, Inverted, Needs, ReplayTask, Setting
from smooth_lora.inversion.inversion_file import load_inversion, save_inversion
from smooth_lora.inversion.methods import DEFAULT_METHOD, METHODS, asked_settings, method_of
from smooth_lora.inversion.passes import first_rows, run_inversion, run_replay
from smooth_lora.sampling.scale import Scale

TOY = toy_row(contract)
ROWS = {**METHODS, TOY.name: TOY}
ROUNDING = 1e-9  # float64 under guidance 7.5 in 50 steps
DDIM = 0.05  # what DDIM loses here at cfg 1 in 50 steps
# What a round trip loses at most, relative, at cfg 1 and at cfg 7.5; infinite where guidance takes DDIM apart.
LOST = {
    "exact": (ROUNDING, ROUNDING),
    "ddim": (DDIM, math.inf),
    "fixed_point": (1e-5, 1e-4),
    "null_text": (DDIM, DDIM),
    "null_text_dual": (DDIM, math.inf),
    "negative_prompt": (DDIM, DDIM),
    "proximal": (ROUNDING, ROUNDING),
    "edit_friendly": (ROUNDING, ROUNDING),
    "dpm_encoder": (ROUNDING, ROUNDING),
    "direct": (ROUNDING, ROUNDING),
    "toy": (ROUNDING, ROUNDING),
}
# How fast the noise of Gaussian data nears the probability flow's; None where it is drawn, or no flow is followed.
ORDER = {**dict.fromkeys(METHODS, 1), "exact": 2, "edit_friendly": None, "dpm_encoder": None, "toy": None}


@pytest.fixture(autouse=True)
def toy_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row more, and nothing else."""
    monkeypatch.setitem(METHODS, TOY.name, TOY)


def row_of(name: str) -> InversionMethod:
    return ROWS[name]


def images_of(row: InversionMethod) -> int:
    return row.needs.images or 2


@pytest.mark.parametrize("cfg", [1.0, 7.5])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ROWS)
def test_there_and_back(name: str, kind: str, cfg: float) -> None:
    host, row = GaussianHost(kind, cfg, sigmas_for(kind)), row_of(name)
    x0 = host.images(images_of(row))
    inversion = host.inverted(row, x0)
    states = host.replayed(inversion)
    assert states.shape == (51, len(x0) * row.needs.rows_per_image, *x0.shape[1:])
    assert inversion.states.isfinite().all() and states.isfinite().all()
    assert torch.equal(inversion.states[-1], x0)
    assert distance(states[-1, : len(x0)], x0) < LOST[name][cfg > 1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name, row in METHODS.items() if row.needs.nulls])
def test_fitted_texts_gain_what_guidance_loses(name: str, kind: str) -> None:
    host, row = GaussianHost(kind, 7.5, sigmas_for(kind, 20)), row_of(name)
    x0 = host.images(2)
    inversion = host.inverted(row, x0)
    bare = dataclasses.replace(inversion, nulls=torch.zeros_like(inversion.nulls))
    fitted, empty = (distance(host.replayed(made)[-1], x0) for made in (inversion, bare))
    assert fitted < 0.5 * empty
    assert inversion.nulls.shape[1] == (1 if row.needs.nulls == "shared" else 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ROWS)
def test_the_order_on_gaussian_data(name: str, kind: str) -> None:
    """At cfg 1 the noise nears the exact path's as the steps are halved."""
    row, first = row_of(name), 0.9 if kind == "flow" else 2.0
    data, x0 = gaussian(0.5, kind), gaussian(0.5, kind).means + 0.5 * noise(3, 2, 4, 4, 4)
    expected = data.carried(x0, 0.0, first)
    errors = [
        distance(
            run_inversion(
                row,
                data,
                x0,
                even_sigmas(steps, first),
                scale=Scale(kind),
                settings=row.settings_of({"iterations": 10}, "test"),
            ).states[0],
            expected,
        )
        for steps in (40, 80, 160)
    ]
    if ORDER[name] is not None:
        assert orders(errors) == pytest.approx([ORDER[name]] * 2, abs=0.2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last", [0.0, 0.05])
@pytest.mark.parametrize("name", ROWS)
def test_the_fewest_steps_of_one_image(name: str, last: float, kind: str) -> None:
    """Also where the image lies above sigma 0, as diffusers' DDIM has it."""
    row = row_of(name)
    host = GaussianHost(kind, 3.0, even_sigmas(row.least_steps, 0.9, last))
    x0 = host.images(row.needs.images or 1)
    inversion = host.inverted(row, x0)
    assert inversion.states.isfinite().all() and host.replayed(inversion).isfinite().all()
    assert len(inversion.states) == row.least_steps + 1


@pytest.mark.parametrize("name", ROWS)
def test_too_few_steps_and_another_number_of_images_are_refused(name: str) -> None:
    row = row_of(name)
    with pytest.raises(
        ValueError,
        match=rf"^Invert Picture: {name} .*needs at least {row.least_steps} steps, got "
        rf"{row.least_steps - 1}; set steps to {row.least_steps} or more$",
    ):
        row.require("Invert Picture", steps=row.least_steps - 1, images=images_of(row))
    row.require("Invert Picture", steps=row.least_steps, images=images_of(row))
    if row.needs.images is not None:
        with pytest.raises(ValueError, match=f"needs {row.needs.images} images, got 64; put {row.needs.images} images"):
            row.require("Invert Picture", steps=10, images=64)


def test_a_core_user_is_refused_too() -> None:
    host, row = GaussianHost("ve", 1.0, [0.9, 0.0]), METHODS["exact"]
    with pytest.raises(ValueError, match="^inversion: exact joins three neighbouring sigmas, so it needs at least 2"):
        host.inverted(row, host.images(1))


SETTINGS = [(name, setting) for name, row in ROWS.items() for setting in row.settings]


@pytest.mark.parametrize(("name", "setting"), SETTINGS, ids=lambda part: getattr(part, "name", part))
def test_a_setting_is_typed_and_bounded(name: str, setting: Setting) -> None:
    row, kind = row_of(name), type(setting.default)
    assert setting.low <= setting.default <= setting.high
    for value in (setting.default, setting.low, setting.high):
        parsed = row.settings_of({setting.name: value}, "Invert Picture")[setting]
        assert parsed == value and type(parsed) is kind
    for bad in (setting.low - 1, setting.high + 1):
        with pytest.raises(ValueError, match=f"^Invert Picture: {setting.name} must be between .*, got {bad}$"):
            row.settings_of({setting.name: bad}, "Invert Picture")
    for bad in ("1", None, *([] if kind is float else [0.5]), [1]):
        with pytest.raises(ValueError, match=f"^Invert Picture: {setting.name} must be a (whole )?number, got "):
            row.settings_of({setting.name: bad}, "Invert Picture")
    if kind is float:
        with pytest.raises(ValueError, match=f"{setting.name} must be between .*, got nan"):
            row.settings_of({setting.name: math.nan}, "Invert Picture")


@pytest.mark.parametrize("name", ROWS)
def test_settings_of_other_methods_are_left_out_and_missing_ones_are_defaults(name: str) -> None:
    row = row_of(name)
    settings = row.settings_of({"nonsense": "x"}, "test")
    assert settings.asked() == {setting.name: setting.default for setting in row.settings if setting.asked}
    assert list(settings.asked()) == [setting.name for setting in row.settings if setting.asked]


def test_one_name_is_one_setting_in_the_order_of_the_node() -> None:
    settings = asked_settings()
    assert len({setting.name for setting in settings}) == len(settings)
    assert [setting.name for setting in settings] == [
        "iterations",
        "inner_steps",
        "tolerance",
        "low_memory",
        "eta",
        "seed",
        "quantile",
        "pull",
        "strength",
    ]
    assert all(setting.tooltip.endswith(".") for setting in settings)


@pytest.mark.parametrize("name", ROWS)
def test_both_passes_tell_of_each_step(name: str) -> None:
    row, steps = row_of(name), 6
    host, up, down = GaussianHost("ve", 3.0, sd15_sigmas(10)[4:]), Heard(), Heard()
    inversion = host.inverted(row, host.images(images_of(row)), heard=up)
    states = host.replayed(inversion, heard=down)
    assert [step for step, _ in up.steps] == list(range(steps))
    assert [step for step, _ in down.steps] == list(range(row.least_steps - 1, steps))
    assert all(torch.equal(x, states[step + 1]) for step, x in down.steps)


@pytest.mark.parametrize("name", ROWS)
def test_skip_starts_on_the_path(name: str) -> None:
    row = row_of(name)
    host = GaussianHost("ve", 1.0, sd15_sigmas())
    inversion = host.inverted(row, host.images(images_of(row)))
    states = host.replayed(inversion, skip=18)
    assert len(states) == 33
    assert torch.equal(states[0], inversion.states[18].repeat(row.needs.rows_per_image, 1, 1, 1))
    assert distance(states[-1, : images_of(row)], inversion.states[-1]) < LOST[name][0]


@pytest.mark.parametrize("name", ROWS)
def test_rows_may_come_in_any_order_and_number(name: str) -> None:
    """What a walk through an inversion's images does; only fitted texts belong to their row."""
    row = row_of(name)
    host = GaussianHost("ve", 1.0, sd15_sigmas(10))
    inversion = host.inverted(row, host.images(2))
    rows = torch.tensor([1, 0, 1])
    settings = row.settings_of(inversion.settings, "test")

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        prompt = host.prompt(x, sigma)
        return prompt if row.needs.guidance is None else row.needs.guidance(prompt, prompt, 1.0, settings).denoised

    states = run_replay(
        inversion, denoise, inversion.states[0, rows], rows, edited=lambda: torch.zeros(3, 4, 4, 4, dtype=torch.bool)
    )
    first = first_rows(rows).tolist()
    assert first == [True, True, False]
    assert torch.equal(states[0], inversion.states[0, rows])
    if row.needs.rows_per_image == 1:
        torch.testing.assert_close(states[:, 2], states[:, 0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.needs.states])
def test_foreign_noise_is_refused_where_the_path_is_needed(name: str) -> None:
    host = GaussianHost("ve", 1.0, sd15_sigmas(10))
    inversion = host.inverted(row_of(name), host.images(2))
    with pytest.raises(ValueError, match=f"^Sampler: the noise is not that of the inversion, but {name} can only"):
        run_replay(inversion, host.prompt, inversion.states[0], torch.tensor([0, -1]), who="Sampler")


@pytest.mark.parametrize("name", [name for name, row in METHODS.items() if row.needs.states])
def test_a_task_without_what_the_row_needs_is_refused(name: str) -> None:
    row = row_of(name)
    task = ReplayTask(torch.zeros(1, 4), [1.0, 0.5, 0.0], Scale(), row.settings_of({}, "test"))
    with pytest.raises(ValueError, match="^replay: this method needs .*; give the task what the method's row asks for"):
        row.replay(lambda x, sigma: x, task)


@pytest.mark.parametrize("name", ROWS)
def test_arguments_are_left_alone(name: str) -> None:
    row = row_of(name)
    host = GaussianHost("ve", 3.0, sd15_sigmas(10))
    x0 = host.images(images_of(row))
    inversion = host.inverted(row, x0)
    before = [getattr(inversion, part.name) for part in dataclasses.fields(inversion)]
    before = [part.clone() if isinstance(part, torch.Tensor) else part for part in before]
    host.replayed(inversion)
    assert torch.equal(x0, host.images(images_of(row))) and host.sigmas == sd15_sigmas(10)
    for part, old in zip(dataclasses.fields(inversion), before, strict=True):
        now = getattr(inversion, part.name)
        assert torch.equal(now, old) if isinstance(old, torch.Tensor) else now == old


@pytest.mark.parametrize("name", ROWS)
def test_a_file_brings_it_back(name: str, tmp_path: Path) -> None:
    row = row_of(name)
    host = GaussianHost("ve", 3.0, sd15_sigmas(10))
    inversion = host.inverted(row, host.images(images_of(row)))
    save_inversion(inversion, tmp_path / "it")
    loaded = load_inversion(tmp_path / "it")
    assert loaded.settings == inversion.settings and loaded.row is row
    assert torch.equal(host.replayed(loaded), host.replayed(inversion))


@pytest.mark.parametrize("name", ROWS)
def test_a_file_without_what_the_replay_reads_is_refused(name: str, tmp_path: Path) -> None:
    row = row_of(name)
    host = GaussianHost("ve", 3.0, sd15_sigmas(10))
    inversion = host.inverted(row, host.images(images_of(row)))
    for setting in (setting for setting in row.settings if setting.replayed):
        others = {key: value for key, value in inversion.settings.items() if key != setting.name}
        with pytest.raises(ValueError, match=f"the method {name} needs the setting {setting.name}, and there is none"):
            save_inversion(dataclasses.replace(inversion, settings=others), tmp_path / "it")
        for bad, fault in ((setting.high + 1, "must be between"), ("x", "must be a")):
            changed = dataclasses.replace(inversion, settings={**inversion.settings, setting.name: bad})
            with pytest.raises(ValueError, match=f"its settings: {setting.name} {fault} .*; invert the picture again"):
                save_inversion(changed, tmp_path / "it")
    if row.needs.residuals:
        with pytest.raises(ValueError, match=f"the method {name} needs residuals, and there are none"):
            save_inversion(dataclasses.replace(inversion, residuals=None), tmp_path / "it")
    unasked = dataclasses.replace(
        inversion,
        settings={
            key: value
            for key, value in inversion.settings.items()
            if key in {setting.name for setting in row.settings if setting.replayed}
        },
    )
    save_inversion(unasked, tmp_path / "it")  # what only the inversion reads may be missing


def test_a_name_that_is_not_in_the_table() -> None:
    with pytest.raises(ValueError, match="^inversion: there is no method 'magic'; choose one of exact, ddim, .*, toy$"):
        method_of("magic")
    assert method_of("toy") is TOY and DEFAULT_METHOD in METHODS


def test_a_row_says_where_its_method_comes_from() -> None:
    assert all("arXiv" in row.source for name, row in METHODS.items() if name != "toy")
    assert all(name == row.name for name, row in METHODS.items())


def test_the_limits_of_a_row_need_no_reason() -> None:
    def none(*_: object) -> Inverted:
        raise AssertionError

    row = InversionMethod("bare", none, none, source="", least_steps=3, needs=Needs(images=3))
    with pytest.raises(ValueError, match="^x: bare needs at least 3 steps, got 2; set steps to 3 or more$"):
        row.require("x", steps=2, images=3)
    with pytest.raises(ValueError, match="^x: bare needs 3 images, got 1; put 3 images into one batch"):
        row.require("x", steps=3, images=1)


def test_images_that_do_not_settle_are_named() -> None:
    row = METHODS["fixed_point"]
    slopes = torch.tensor([3.0, -3.0], dtype=torch.float64).reshape(1, 2, 1)
    x0 = torch.ones(2, 2, 4, dtype=torch.float64)
    x0[1] += noise(1, 2, 4)
    task = InversionTask(x0, [1.0, 0.0], Scale("flow"), row.settings_of({"iterations": 4}, "test"))
    made = row.invert(lambda x, sigma: x - sigma * slopes * (x - 1), task)
    assert [note[:40] for note in made.notes] == ["Picture 2: the fixed point did not settl"]
    settled = row.invert(
        guided_mixture(1.0), InversionTask(noise(1, 1, 4, 4, 4), sd15_sigmas(10), Scale(), row.settings_of({}, "test"))
    )
    assert settled.notes == ()


def test_every_row_has_its_bounds() -> None:
    assert LOST.keys() == ORDER.keys() == ROWS.keys()
