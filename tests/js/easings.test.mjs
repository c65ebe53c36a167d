import assert from "node:assert/strict";
import { test } from "node:test";

import { EASINGS, easingOfEach, easingPath, eased, nextEasing, parseEasings } from "../../web/keyframes/easings.mjs";
import { table } from "./tables.mjs";

const { curves, lists } = table("easings.json");

test("the easings are those of the methods, in their order", () => {
  assert.deepEqual(EASINGS, Object.keys(curves));
});

for (const [name, points] of Object.entries(curves))
  test(`${name} is its closed form`, () => {
    for (const [t, value] of points) assert.equal(eased(name, t), value);
  });

for (const { typed, easings } of lists)
  test(`${JSON.stringify(typed)} is ${easings ? "a list" : "no list"} of easings`, () => {
    assert.deepEqual(parseEasings(typed), easings ?? undefined);
  });

test("an easing is drawn from the lower left to the upper right", () => {
  const places = easingPath("ease in", 20).split(/[ML]/).slice(1).map((place) => place.split(" ").map(Number));
  assert.equal(places.length, 17);
  assert.deepEqual([places[0], places[8], places[16]], [[0, 20], [10, 15], [20, 0]]);
});

test("a list begins again where there are more stretches", () => {
  assert.deepEqual(easingOfEach(["linear", "ease in"], 5), ["linear", "ease in", "linear", "ease in", "linear"]);
  assert.deepEqual(easingOfEach(["linear", "ease in"], 1), ["linear"]);
});

test("easings follow each other in a circle, both ways", () => {
  const around = EASINGS.map((_, step) => nextEasing("ease out", step));
  assert.deepEqual(around, ["ease out", "ease in and out", "linear", "ease in"]);
  assert.equal(nextEasing("linear", -1), "ease in and out");
});
