import assert from "node:assert/strict";
import { test } from "node:test";

import { Frames, ahead } from "../../web/player/frames.mjs";
import { jumpNear, jumpsOf, nextJump } from "../../web/player/jumps.mjs";
import { frameOfKey } from "../../web/player/keys.mjs";
import { DEFAULTS, rateOf } from "../../web/player/settings.mjs";
import { wordsOf } from "../../web/player/words.mjs";

const MEBIBYTE = 1024 * 1024;
const say = (key, values = {}) => [key, ...Object.values(values)].join(" ");

function bitmap(bytes) {
  return { width: bytes / 4, height: 1, closed: false, close() { this.closed = true; } };
}

function decoded(numbers, bytes = 4) {
  const frames = new Frames(String, () => {});
  frames.available = 1000;
  for (const number of numbers) frames.keep(number, bitmap(bytes));
  return frames;
}

test("the frames that come next are wanted, as far as there are any", () => {
  assert.deepEqual(ahead(0, 1, false, 100), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  assert.deepEqual(ahead(97, 1, false, 100), [97, 98, 99]);
  assert.deepEqual(ahead(5, -2, false, 100), [5, 3, 1]);
  assert.deepEqual(ahead(0, 1, false, 0), []);
});

test("in a loop the first frames follow the last ones, each once", () => {
  assert.deepEqual(ahead(98, 1, true, 100).slice(0, 5), [98, 99, 0, 1, 2]);
  assert.deepEqual(ahead(2, 1, true, 4), [2, 3, 0, 1]);
  assert.deepEqual(ahead(1, -1, true, 100).slice(0, 4), [1, 0, 99, 98]);
});

test("the nearest picture stands for one that is not decoded", () => {
  const frames = decoded([3, 10]);
  const [third, tenth] = [frames.decoded.get(3), frames.decoded.get(10)];
  assert.equal(frames.at(3), third);
  assert.equal(frames.at(6), third);
  assert.equal(frames.at(7), tenth);
  assert.ok(frames.at(500) !== undefined);
  assert.equal(decoded([]).at(3), undefined);
});

test("the pictures that were used longest ago make room", () => {
  const frames = decoded([1, 2, 3], 32 * MEBIBYTE);
  const [first, second] = [frames.at(1), frames.decoded.get(2)];
  frames.keep(4, bitmap(4));
  assert.deepEqual([...frames.decoded.keys()], [3, 1, 4]);
  assert.deepEqual([first.closed, second.closed, frames.bytes], [false, true, 64 * MEBIBYTE + 4]);
});

test("a picture larger than all room is kept alone", () => {
  const frames = decoded([1], 4);
  frames.keep(2, bitmap(100 * MEBIBYTE));
  assert.deepEqual([...frames.decoded.keys()], [2]);
});

test("jumps of all walks are in order, once each", () => {
  assert.deepEqual(jumpsOf([{ jumps: [9, 20] }, {}, { jumps: [3, 9] }]), [3, 9, 20]);
});

test("after the last jump comes the first", () => {
  assert.deepEqual([0, 3, 9, 20].map((frame) => nextJump([3, 9], frame)), [3, 9, 3, 3]);
  assert.equal(nextJump([], 0), undefined);
});

test("the ring of a jump lies on the frame after it", () => {
  assert.deepEqual([5.4, 6, 6.5, 6.6].map((place) => jumpNear([5], place, 0.5)), [undefined, 5, 5, undefined]);
  assert.equal(jumpNear([4, 6], 6.8, 2), 6);
});

test("keys lead along the frames", () => {
  const found = ["ArrowLeft", "ArrowRight", "PageUp", "PageDown", "Home", "End"].map((key) => frameOfKey(key, 30, 47));
  assert.deepEqual(found, [29, 31, 20, 40, 0, 47]);
  assert.deepEqual(["j", "constructor", ""].map((key) => frameOfKey(key, 30, 47)), [undefined, undefined, undefined]);
});

test("a typed frame rate is one from 1 to 60", () => {
  assert.deepEqual(["24", "0.5", "-3", "1000"].map(rateOf), [24, 1, 1, 60]);
  assert.deepEqual(["", "x", "0"].map(rateOf), [DEFAULTS.fps, DEFAULTS.fps, DEFAULTS.fps]);
});

test("scores are said as soon as they are known", () => {
  const walk = { name: "now", subfolder: "", total: 12, distances: [], jumps: [4, 8] };
  assert.equal(wordsOf(walk, 5, say), "rendered 5 12");
  const scored = { ...walk, cv: 0.12345, istd: 0.00123456, mean: 12.3456 };
  assert.equal(wordsOf(scored, 12, say), "scores 0.123 0.00123 12.3 jumps 4-5, 8-9");
  assert.equal(wordsOf({ ...scored, jumps: [] }, 12, say), "scores 0.123 0.00123 12.3 no_jumps");
});
