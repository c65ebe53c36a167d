"""Property-based tests of every parser: whatever comes, it is accepted, or refused in one sentence.

`python -m tests.support.fuzz.run` goes on from here with millions of inputs.
"""

from __future__ import annotations

import json

import pytest
from fuzz import targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TRIES = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
NOT_WHOLE = ("lora", "inversion_file", "inversion_header")  # parsers whose first example is not good, only near it
WORDS = (
    "linear",
    "ease in",
    "1",
    "-1",
    "0.5",
    "nan",
    "inf",
    "1e999",
    "18446744073709551616",
    "\u0661",
    "\x00",
    ",",
    ";",
    "[",
    "]",
    "\n",
    "../x",
    "\ud7ff",
    "9" * 5000,
)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=3),
    st.none(),
    st.booleans(),
    st.lists(st.integers(), max_size=3),
)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.one_of(st.sampled_from(["F32", "F16", "I64", "BOOL", "F8_E4M3", "X"]), NUMBERS),
        "shape": st.one_of(st.lists(NUMBERS, max_size=5), NUMBERS),
        "data_offsets": st.one_of(st.lists(NUMBERS, max_size=3), NUMBERS),
    },
)
NAMES = st.one_of(st.text(max_size=8), st.sampled_from(["__metadata__", "a.lora_up.weight", "a.alpha", "states"]))
TEXTS = st.dictionaries(st.sampled_from(["format", "version", "content", "x"]), NUMBERS)
HEADERS = st.dictionaries(NAMES, st.one_of(ENTRIES, NUMBERS, TEXTS), max_size=4)


@pytest.mark.parametrize("name", [name for name in targets.TARGETS if name not in NOT_WHOLE])
def test_something_good_is_accepted(name):
    assert targets.TARGETS[name](targets.examples()[name][0]) is None


@pytest.mark.parametrize("name", targets.TARGETS)
@TRIES
@given(data=st.binary(max_size=200))
def test_any_bytes(name, data):
    targets.TARGETS[name](data)


@pytest.mark.parametrize("name", ["seeds", "prompts", "numbers", "positions", "easings"])
@TRIES
@given(
    words=st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), max_size=8), between=st.sampled_from(", ;\n")
)
def test_any_words(name, words, between):
    targets.TARGETS[name](between.join(words).encode("utf-8", "replace"))


@pytest.mark.parametrize("name", ["lora_header", "inversion_header"])
@TRIES
@given(header=HEADERS)
def test_any_header_of_a_safetensors_file(name, header):
    targets.TARGETS[name](json.dumps(header).encode("utf-8", "replace"))


@pytest.mark.parametrize("name", ["lora_file", "inversion_file", "video_part", "journal", "journal_row"])
@TRIES
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.integers(0, 10_000))
def test_a_good_file_with_one_byte_changed_or_cut_short(name, place, byte, cut):
    good = targets.examples()[name][0]
    changed = bytearray(good)
    changed[place % len(changed)] = byte
    targets.TARGETS[name](bytes(changed))
    targets.TARGETS[name](good[: cut % len(good)])


DEEP = b"[" * 100_000
ROW = targets.examples()["journal_row"][0]
FOUND = {  # what was once answered by something else than a sentence
    "a header nested deeply": ("lora_header", b'{"a":' + DEEP),
    "an infinite offset": ("lora_header", b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,Infinity]}}'),
    "an offset that is text": ("lora_header", b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,"4"]}}'),
    "text entries that are none": (
        "lora_header",
        b'{"__metadata__":[1],"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    ),
    "a shape that torch cannot count": (
        "lora_header",
        b'{"a":{"dtype":"F32","shape":[0,9223372036854775807,9],"data_offsets":[0,0]}}',
    ),
    "a row nested deeply": ("journal_row", b'{"conditions":' + DEEP),
    "a row of pictures without a channel": ("journal_row", ROW.replace(b"[64, 64, 3]", b"[64, 64, 0]")),
    "a row of pictures without a size": ("journal_row", ROW.replace(b"[64, 64, 3]", b"[]")),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_before(name):
    target, data = FOUND[name]
    sentence = targets.TARGETS[target](data)
    assert sentence is not None and sentence.startswith(("'fuzzed", "line 2 of fuzzed"))
