import assert from "node:assert/strict";
import { test } from "node:test";

import { counted, laidTogether, rangeAlong, rangeUp } from "../../web/page/scale.mjs";
import { barsOf, modelsOf, sorted, stepsOf, written } from "../../web/scores/rows.mjs";
import { column, edge, lastOf, shortened, steps } from "../../web/training/curves.mjs";

const row = (prompt_number, model, istd, distances = [], jumps = []) => ({ prompt_number, prompt: `p${prompt_number}`,
  model, istd, cv: 0.5, mean_distance: 1, max_over_mean: 2, distances, jumps });
const ROWS = [row(2, "a", 3, [1, 2]), row(1, "a", 1, [3], [0]), row(1, "b", 2, [4, 5, 6], [0, 2])];
const of = (rows) => rows.map((one) => `${one.prompt_number}${one.model}`);

test("bars have room beside them, curves go to the edges", () => {
  assert.deepEqual(rangeAlong(0, 9, true), [-0.5, 9.5]);
  assert.deepEqual(rangeAlong(0, 0, true), [-0.5, 0.5]);
  assert.deepEqual(rangeAlong(1, 9, false), [1, 9]);
  assert.deepEqual(rangeAlong(3, 3, false), [3, 4]);
});

test("values begin at nothing and have room above them", () => {
  const [low, high] = rangeUp(5, 100);
  assert.equal(low, 0);
  assert.ok(Math.abs(high - 115) < 1e-9);
  assert.deepEqual(rangeUp(-2, 0), [-2, 1.15]);
  assert.deepEqual(rangeUp(null, null), [0, 1.15]);
});

test("curves over other numbers are laid on all of them", () => {
  const { x, series } = laidTogether([{ x: [1, 2, 10], values: [7, null, 9], label: "every step" },
    { x: [2, 5], values: [3, 4], label: "checks", dots: true }]);
  assert.deepEqual(x, [1, 2, 5, 10]);
  assert.deepEqual(series, [{ label: "every step", values: [7, null, undefined, 9] },
    { label: "checks", dots: true, values: [undefined, 3, 4, undefined] }]);
  assert.deepEqual(laidTogether([]), { x: [], series: [] });
});

test("numbers are counted", () => {
  assert.deepEqual([counted(3), counted(2, 1), counted(0)], [[0, 1, 2], [1, 2], []]);
});

test("rows are sorted by any column, and by their prompts where it is the same", () => {
  assert.deepEqual(of(sorted(ROWS, "istd", true)), ["2a", "1b", "1a"]);
  assert.deepEqual(of(sorted(ROWS, "cv", false)), ["1a", "1b", "2a"]);
  assert.deepEqual(of(sorted(ROWS, "jumps", false)), ["2a", "1a", "1b"]);
  assert.deepEqual(of(sorted(ROWS, "model", false)), ["1a", "2a", "1b"]);
  assert.deepEqual(of(ROWS), ["2a", "1a", "1b"]);
});

test("numbers count as numbers", () => {
  assert.deepEqual(of(sorted([row(10, "a", 1), row(9, "a", 1)], "prompt_number", false)), ["9a", "10a"]);
});

test("scores are written with four digits, the rest as it is", () => {
  const one = row(12, "a", 0.00123456, [], [4, 5]);
  assert.deepEqual(["istd", "prompt", "prompt_number", "jumps"].map((name) => written(one, name)),
    ["0.001235", "p12", "12", "2"]);
});

test("each model has a bar over each prompt that it walked", () => {
  assert.deepEqual(modelsOf(ROWS), ["a", "b"]);
  assert.deepEqual(barsOf(ROWS, ["a", "b"], [2, 1], "istd"),
    [{ label: "a", bars: true, values: [3, 1] }, { label: "b", bars: true, values: [null, 2] }]);
});

test("steps are as many as those of the longest walk", () => {
  assert.deepEqual(stepsOf(ROWS.slice(1), ["a", "b"]), { x: [1, 2, 3], series: [
    { label: "a", dots: true, values: [3, null, null] }, { label: "b", dots: true, values: [4, 5, 6] }] });
  assert.equal(stepsOf([row(1, "a", 1, Array(60).fill(1))], ["a"]).series[0].dots, false);
  assert.deepEqual(stepsOf([], ["a"]).x, []);
});

test("the log of a training is read by its columns", () => {
  const [columns, rows] = [["step", "base"], [[1, 0.5], [2, null]]];
  assert.deepEqual(column(rows, columns, "base"), [0.5, null]);
  assert.deepEqual(steps(rows, columns), [1, 2]);
});

test("a band is as wide as the spread of its means", () => {
  assert.deepEqual(edge([2, null, 4], [0.5, 0.5, null], 1), [3, null, 4]);
  assert.deepEqual(edge([2, null, 4], [0.5, 0.5, null], -1), [1, null, 4]);
});

test("the last known value is written with four digits", () => {
  assert.deepEqual([lastOf([1, 2.34567, null, undefined]), lastOf([0, null]), lastOf([null]), lastOf([])],
    ["2.346", "0.000", "", ""]);
});

test("a training goes into the workflow with five digits", () => {
  const training = { name: "n", rows: [[1, 0.123456789, null]] };
  assert.deepEqual(shortened(training), { name: "n", rows: [[1, 0.12346, null]] });
  assert.equal(training.rows[0][1], 0.123456789);
});
