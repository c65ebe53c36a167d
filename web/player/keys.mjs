// @ts-check
// Keys that move along the frames.

/** @type {Record<string, number>} */
const STEPS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };

/**
 * Returns the frame to which a key leads, undefined for other keys.
 * @param {string} key
 * @param {number} frame
 * @param {number} last
 */
export function frameOfKey(key, frame, last) {
  if (key === "Home") return 0;
  if (key === "End") return last;
  return Object.hasOwn(STEPS, key) ? frame + STEPS[key] : undefined;
}
