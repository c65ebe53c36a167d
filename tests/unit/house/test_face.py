"""The core without any host: what it names as public, and how it says it is used."""

from __future__ import annotations

import textwrap

import smooth_lora


def test_the_text_of_the_core_runs_as_it_stands(capsys):
    example = textwrap.dedent(smooth_lora.__doc__.split("\n\n", 1)[1])
    names: dict = {}
    exec(example, names)  # noqa: S102
    assert 0 < float(capsys.readouterr().out) < 1
    assert names["frames"].shape == (24, 3, 64, 64)
    assert float((names["again"] - names["frames"]).abs().max()) < 1e-4 * float(names["frames"].abs().max())


def test_every_public_name_is_there_and_says_what_it_is():
    for name in smooth_lora.__all__:
        value = getattr(smooth_lora, name)
        assert not callable(value) or value.__doc__, name
