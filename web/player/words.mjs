// @ts-check
// The scores of a walk in words.

/**
 * Writes the scores of a walk, or how many of its frames are rendered while they are not known.
 * @param {import("../page/walks.mjs").Walk} walk
 * @param {number} count of the frames that are there
 * @param {import("../page/texts.mjs").Say} say
 */
export function wordsOf({ total, cv, istd, mean, jumps }, count, say) {
  if (cv === undefined || istd === undefined || mean === undefined) return say("rendered", { count, total });
  const scores = say("scores", { cv: cv.toFixed(3), istd: istd.toPrecision(3), mean: mean.toPrecision(3) });
  const at = jumps.map((jump) => `${jump}-${jump + 1}`).join(", ");
  return `${scores} ${at ? say("jumps", { at }) : say("no_jumps")}`;
}
