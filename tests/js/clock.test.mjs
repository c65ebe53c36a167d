import assert from "node:assert/strict";
import { test } from "node:test";

import { Clock } from "../../web/player/clock.mjs";

// Ten frames a second, so that a frame begins with every 100 ms.
function playing(frames, { loop = true, frame = 0 } = {}) {
  const clock = new Clock(() => frames);
  Object.assign(clock, { fps: 10, loop, frame });
  clock.toggle();
  return clock;
}

function framesAt(clock, times) {
  return times.map((time) => {
    clock.tick(time);
    return clock.frame;
  });
}

test("it plays from the frame that is shown, by the time and not by the number of ticks", () => {
  assert.deepEqual(framesAt(playing(8, { frame: 3 }), [5000, 5050, 5099, 5100, 5350]), [3, 3, 3, 4, 6]);
});

test("a loop leads from the last frame to the first", () => {
  assert.deepEqual(framesAt(playing(4), [0, 300, 399, 400, 500, 850]), [0, 3, 3, 0, 1, 0]);
});

test("without a loop it stops on the last frame", () => {
  const clock = playing(4, { loop: false });
  assert.deepEqual(framesAt(clock, [0, 399]), [0, 3]);
  assert.ok(clock.playing);
  assert.deepEqual(framesAt(clock, [400]), [3]);
  assert.ok(!clock.playing);
});

test("played again from its end it begins anew without a loop, and stays in one", () => {
  assert.equal(playing(4, { loop: false, frame: 3 }).frame, 0);
  assert.equal(playing(4, { loop: false, frame: 2 }).frame, 2);
  assert.equal(playing(4, { loop: true, frame: 3 }).frame, 3);
});

test("after a move, or another frame rate, it plays on from the frame that is shown", () => {
  const clock = playing(20);
  framesAt(clock, [0, 200]);
  clock.go(10);
  assert.deepEqual(framesAt(clock, [300, 400]), [10, 11]);
  clock.fps = 20;
  clock.restart();
  assert.deepEqual(framesAt(clock, [1000, 1050, 1100]), [11, 12, 13]);
});

test("it moves to frames that are there alone", () => {
  let frames = 3;
  const clock = new Clock(() => frames);
  const at = (frame) => {
    clock.move(frame);
    return clock.frame;
  };
  assert.deepEqual([-1, 2, 3, 99].map(at), [0, 2, 2, 2]);
  frames = 0;
  assert.deepEqual([clock.last, at(5)], [0, 0]);
});

test("without frames it plays on in a loop and stops at once without one", () => {
  assert.deepEqual(framesAt(playing(0), [0, 250]), [0, 0]);
  const once = playing(0, { loop: false });
  once.tick(0);
  assert.deepEqual([once.frame, once.playing], [0, false]);
});

test("it follows frames that arrive until it is touched or plays", () => {
  let frames = 4;
  const clock = new Clock(() => frames);
  clock.follow();
  assert.equal(clock.frame, 3);
  clock.go(1);
  frames = 8;
  clock.follow();
  assert.equal(clock.frame, 1);
  clock.touched = false;
  clock.follow();
  assert.equal(clock.frame, 7);
  clock.move(0);
  clock.toggle();
  clock.touched = false;
  clock.follow();
  assert.equal(clock.frame, 0);
});

test("its stride is that of the last move, one while it plays", () => {
  const clock = new Clock(() => 50);
  const strides = [0, 10, 10, 7].map((frame) => {
    clock.move(frame);
    return clock.step();
  });
  assert.deepEqual(strides, [1, 10, 10, -3]);
  clock.toggle();
  clock.move(30);
  assert.equal(clock.step(), 1);
});
