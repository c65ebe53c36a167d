"""Where the frames of a walk lie, against positions computed by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from tolerance import EXACT

from smooth_lora.walks.easing import EASINGS, ease
from smooth_lora.walks.typed import parse_easings
from smooth_lora.walks.walk import MAX_FRAMES, Walk, frames_at_keyframes, schedule, schedule_at, segment_positions


def test_an_open_walk_starts_on_the_first_keyframe_and_ends_on_the_last():
    walk = schedule(5)
    assert walk.frac == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert walk.numbers == (0, 1, 2, 3, 4)
    assert (walk.total, walk.loop, walk.segment_easings, len(walk)) == (5, False, ("linear",), 5)


def test_a_loop_stops_one_step_before_its_start():
    assert schedule(4, loop=True).frac == (0.0, 0.25, 0.5, 0.75)


@pytest.mark.parametrize("loop", [False, True])
def test_one_frame_lies_at_the_start(loop):
    assert schedule(1, loop=loop).frac == (0.0,)


@pytest.mark.parametrize(
    "easing, at_quarter, at_half",
    [("linear", 0.25, 0.5), ("ease in", 0.0625, 0.25), ("ease out", 0.4375, 0.75), ("ease in and out", 0.15625, 0.5)],
)
def test_easings_by_hand(easing, at_quarter, at_half):
    assert ease(0.25, easing) == at_quarter
    assert ease(0.5, easing) == at_half


@pytest.mark.parametrize("easing", EASINGS)
@pytest.mark.parametrize("loop", [False, True])
def test_easing_is_strictly_monotone_and_exact_at_the_ends(easing, loop):
    walk = schedule(MAX_FRAMES, easing=easing, loop=loop)
    assert all(a < b for a, b in itertools.pairwise(walk.frac))
    assert walk.frac[0] == 0.0
    assert walk.frac[-1] < 1.0 if loop else walk.frac[-1] == 1.0
    assert ease(0.0, easing) == 0.0
    assert ease(1.0, easing) == 1.0


@pytest.mark.parametrize("easing", EASINGS)
def test_a_bent_loop_closes(easing):
    """Frame `total` would be frame 0: the eased position there is 1, which is the first keyframe again."""
    walk = schedule(10, easing=easing, loop=True)
    index, local = segment_positions(Walk((walk.frac[0], 1.0), (0, 10), 10, True), 3)
    assert (index[0].item(), local[0].item()) == (0, 0.0)
    assert ((index[1].item() + int(local[1].item())) % 3, local[1].item() % 1) == (0, 0.0)


def test_easing_in_and_out_is_symmetric():
    walk = schedule(11, easing="ease in and out")
    assert walk.frac == pytest.approx(tuple(1 - f for f in reversed(walk.frac)), abs=EXACT)


@pytest.mark.parametrize("easing", EASINGS)
@pytest.mark.parametrize("over", ["walk", "segment"])
@pytest.mark.parametrize("loop", [False, True])
def test_a_window_is_that_part_of_the_whole_walk(easing, over, loop):
    whole = schedule(20, easing=easing, easing_over=over, loop=loop)
    part = schedule(20, easing=easing, easing_over=over, loop=loop, first=7, last=11)
    assert part.numbers == (7, 8, 9, 10, 11)
    assert part.frac == whole.frac[7:12]
    assert (part.total, part.segment_easings) == (20, whole.segment_easings)
    assert schedule(20, easing=easing, easing_over=over, loop=loop, first=18).numbers == (18, 19)
    assert part == whole.select(range(7, 12))


def test_select_keeps_the_order_asked_for():
    walk = schedule(9).select([8, 0, 4, 4])
    assert walk.numbers == (8, 0, 4, 4)
    assert walk.frac == (1.0, 0.0, 0.5, 0.5)
    assert walk.total == 9


def test_select_takes_tensors_of_numbers():
    assert schedule(9).select(torch.tensor([2, 3])).numbers == (2, 3)


def test_segments_by_hand():
    index, local = segment_positions(schedule(5), 3)
    assert index.tolist() == [0, 0, 1, 1, 1]
    assert local.tolist() == [0.0, 0.5, 0.0, 0.5, 1.0]
    index, local = segment_positions(schedule(6, loop=True), 3)
    assert index.tolist() == [0, 0, 1, 1, 2, 2]
    assert local.tolist() == [0.0, 0.5, 0.0, 0.5, 0.0, 0.5]
    assert index.dtype == torch.int64
    assert local.dtype == torch.float64


def test_segment_easing_bends_every_segment():
    _, local = segment_positions(schedule(9, easing="ease in", easing_over="segment"), 3)
    assert local.tolist() == [0.0, 0.0625, 0.25, 0.5625, 0.0, 0.0625, 0.25, 0.5625, 1.0]


def test_every_stretch_has_its_own_easing_and_they_begin_again():
    walk = schedule(13, segment_easings=("ease in", "ease out"))
    index, local = segment_positions(walk, 4)
    assert index.tolist() == [0] * 4 + [1] * 4 + [2] * 5
    quarter, half, more = (i / 4 for i in (1, 2, 3))
    into, out = [t * t for t in (0, quarter, half, more)], [1 - (1 - t) ** 2 for t in (0, quarter, half, more)]
    assert local.tolist() == [*into, *out, *into, 1.0]


def test_easings_of_stretches_go_before_the_one_for_all_and_beside_one_over_the_whole_walk():
    kept = schedule(9, easing="ease out", easing_over="segment", segment_easings=("linear", "ease in"))
    assert kept.segment_easings == ("linear", "ease in")
    whole = schedule(9, easing="ease in", segment_easings=("ease out",))
    assert whole.frac == schedule(9, easing="ease in").frac and whole.segment_easings == ("ease out",)


def test_positions_keep_the_easings_between_keyframes():
    text = "0, 0.25, 1"
    assert schedule_at(text, easing="ease in").segment_easings == ("linear",)
    assert schedule_at(text, easing="ease in", easing_over="segment").segment_easings == ("ease in",)
    assert schedule_at(text, segment_easings=("ease out", "linear")).segment_easings == ("ease out", "linear")


def test_easings_are_read_as_people_type_them():
    assert parse_easings("") == parse_easings(" , ") == ()
    assert parse_easings("Linear, ease  in;ease out\nease in and out") == EASINGS
    with pytest.raises(ValueError, match="entry 2 of easings, 'quick', is no easing; write linear, ease in, "):
        parse_easings("linear, quick, up")
    with pytest.raises(ValueError, match="entry 2 of easings, ''"):
        parse_easings("linear,, ease in")


@pytest.mark.parametrize("loop", [False, True])
def test_frames_that_belong_on_a_keyframe_are_on_it_exactly(loop):
    for keyframes in range(2, 101):
        segments = keyframes if loop else keyframes - 1
        for per_segment in (1, 3, 7):
            frames = segments * per_segment + (0 if loop else 1)
            index, local = segment_positions(schedule(frames, loop=loop), keyframes)
            on = [
                (i + int(t)) % keyframes for i, t in zip(index.tolist(), local.tolist(), strict=True) if t in (0.0, 1.0)
            ]
            assert on == list(range(keyframes)), (keyframes, per_segment)


def test_a_very_long_walk_has_no_two_frames_at_one_place():
    for easing in EASINGS:
        index, local = segment_positions(schedule(MAX_FRAMES, easing=easing), 2)
        assert bool((local.diff() > 0).all()), easing
        assert index.max().item() == 0


def test_a_single_keyframe_is_everywhere():
    index, local = segment_positions(schedule(4), 1)
    assert index.tolist() == [0, 0, 0, 0]
    assert local.tolist() == [0.0, 0.0, 0.0, 0.0]


def test_positions_do_not_depend_on_the_other_frames():
    walk = schedule(97, easing="ease in and out", loop=True)
    index, local = segment_positions(walk, 7)
    for k in (0, 13, 50, 96):
        alone = segment_positions(walk.select([k]), 7)
        assert (alone[0].item(), alone[1].item()) == (index[k].item(), local[k].item())


@pytest.mark.parametrize(
    "given, message",
    [
        ({"frames": 0}, "frames must be between 1 and 100000, got 0"),
        ({"frames": 100_001}, "frames must be between 1 and 100000, got 100001"),
        ({"frames": 10, "first": 10}, "first frame 10 is outside the walk, whose frames are 0 to 9"),
        ({"frames": 10, "first": -1}, "first frame -1 is outside the walk"),
        ({"frames": 10, "last": 10}, "last frame 10 is outside the walk, whose frames are 0 to 9; -1 means to the end"),
        ({"frames": 10, "last": -2}, "last frame -2 is outside the walk"),
        (
            {"frames": 10, "first": 6, "last": 5},
            "last frame 5 lies before first frame 6; give a last frame of at least 6",
        ),
        (
            {"frames": 10, "easing": "bounce"},
            "easing must be one of linear, ease in, ease out, ease in and out; got 'bounce'",
        ),
        ({"frames": 10, "easing_over": "picture"}, "easing_over must be one of walk, segment; got 'picture'"),
    ],
)
def test_bad_schedules(given, message):
    with pytest.raises(ValueError, match=message):
        schedule(**given)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"frac": (), "numbers": ()}, "at least one frame"),
        ({"frac": (0.0, 1.0), "numbers": (0,)}, "2 positions and 1 numbers"),
        ({"frac": (1.5,), "numbers": (0,)}, "a position of the walk must be between 0.0 and 1.0, got 1.5"),
        ({"frac": (float("nan"),), "numbers": (0,)}, "a position of the walk must be between 0.0 and 1.0, got nan"),
        ({"frac": (0.0,), "numbers": (0,), "segment_easings": ("up",)}, "an easing of segment_easings must be one of"),
        ({"frac": (0.0,), "numbers": (0,), "segment_easings": ()}, "segment_easings is empty"),
    ],
)
def test_walks_that_contradict_themselves(given, message):
    with pytest.raises(ValueError, match=message):
        Walk(total=10, **given)


def test_a_frame_outside_the_window_is_named():
    with pytest.raises(ValueError, match="frame number 3 is not part of this walk, which renders frames 5 to 9 of 10"):
        schedule(10, first=5).select([5, 3])


def test_no_keyframes_at_all():
    with pytest.raises(ValueError, match="the number of keyframes must be between 1"):
        segment_positions(schedule(3), 0)


def test_frames_that_show_a_keyframe():
    assert frames_at_keyframes(schedule(5), 3) == [0, 2, 4]
    assert frames_at_keyframes(schedule(6, loop=True), 3) == [0, 2, 4]
    assert frames_at_keyframes(schedule(7, loop=True), 3) == [0, 2, 5]
    assert frames_at_keyframes(schedule(9, first=3, last=5), 3) == [None, 1, None]
    assert frames_at_keyframes(schedule(5), 1) == [0] and frames_at_keyframes(schedule(5), 0) == []
    assert frames_at_keyframes(Walk((0.9,), (0,), 1, loop=True), 2) == [0, None]  # on its way back to the first


def test_two_frames_between_keyframes_show_neither():
    assert frames_at_keyframes(Walk((0.3, 0.7), (0, 1), 2), 2) == [None, None]
