import assert from "node:assert/strict";
import { test } from "node:test";

import { FEWEST, MOST, inserted, isSeed, moved, readSeeds, removed, replaced, writeSeeds } from "../../web/keyframes/seeds.mjs";
import { table } from "./tables.mjs";

const { fewest, most, largest, lists } = table("seeds.json");

test("there are as few and as many seeds as in the methods", () => {
  assert.deepEqual([FEWEST, MOST], [fewest, most]);
  assert.ok(isSeed(largest) && !isSeed(String(BigInt(largest) + 1n)));
});

for (const { typed, seeds } of lists)
  test(`${JSON.stringify(typed)} is ${seeds ? "a list" : "no list"} of seeds`, () => {
    const found = readSeeds(typed);
    const taken = found.length >= FEWEST && found.length <= MOST && found.every(isSeed);
    assert.deepEqual(taken ? found.map((seed) => String(BigInt(seed))) : null, seeds);
  });

test("a word that is no seed stays as it was typed", () => {
  assert.deepEqual(readSeeds("007; x6 9.5"), ["007", "x6", "9.5"]);
});

test("written seeds are read again", () => {
  assert.deepEqual(readSeeds(writeSeeds(["3", "1", "2"])), ["3", "1", "2"]);
});

test("a seed is moved to its place, whichever way", () => {
  assert.deepEqual(moved(["a", "b", "c", "d"], 0, 2), ["b", "c", "a", "d"]);
  assert.deepEqual(moved(["a", "b", "c", "d"], 3, 1), ["a", "d", "b", "c"]);
});

test("seeds are inserted, replaced and removed, and the list before stays", () => {
  const seeds = ["a", "b", "c"];
  assert.deepEqual(inserted(seeds, 1, "x"), ["a", "x", "b", "c"]);
  assert.deepEqual(replaced(seeds, 2, "x"), ["a", "b", "x"]);
  assert.deepEqual(removed(seeds, 0), ["b", "c"]);
  assert.deepEqual(seeds, ["a", "b", "c"]);
});
