import assert from "node:assert/strict";
import { test } from "node:test";

import { colourOf, decibels, judged } from "../../web/inversion/judged.mjs";

const NOTHING = { latent_error: 0.5, against_input: null, ceiling: null };
const beside = (found, ceiling) => ({ against_input: { psnr: found, ssim: 1 }, ceiling: { psnr: ceiling, ssim: 1 } });

for (const [picture, grade, share] of [
  [beside(30.0, 30.5), "good", 0.5 / 6],
  [beside(29.9, 30.5), "fair", 0.6 / 6],
  [beside(30.5, 30.0), "good", 0],
  [beside(28.0, 30.0), "fair", 1 / 3],
  [beside(27.0, 30.0), "fair", 0.5],
  [beside(26.9, 30.0), "poor", 3.1 / 6],
  [beside(20.0, 30.0), "poor", 1],
  [beside(null, null), "good", 0],
  [beside(40.0, null), "poor", 1],
  [beside(null, 40.0), "good", 0],
  [{ ...beside(30, 30), ceiling: null, latent_error: 1e-4 }, "good", 0],
  [{ latent_error: 0 }, "good", 0],
  [{ latent_error: 1e-9 }, "good", 0],
  [{ latent_error: 1e-2 }, "fair", 2 / 3],
  [{ latent_error: 0.09 }, "fair", Math.log10(900) / 3],
  [{ latent_error: 0.5 }, "poor", 1],
])
  test(`${JSON.stringify(picture)} is ${grade}`, () => {
    const found = judged({ ...NOTHING, ...picture });
    assert.equal(found.grade, grade);
    assert.ok(Math.abs(found.share - share) < 1e-12, `${found.share} is not ${share}`);
  });

test("colours go from green over yellow to red", () => {
  assert.deepEqual([0, 0.5, 1].map(colourOf), ["hsl(120 65% 38%)", "hsl(60 65% 38%)", "hsl(0 65% 38%)"]);
});

test("the picture itself has no end of decibels", () => {
  assert.deepEqual([decibels(null), decibels(30.126), decibels(0)], ["∞", "30.13", "0.00"]);
});
