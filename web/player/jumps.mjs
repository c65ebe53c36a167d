// @ts-check
// The jumps of walks on one time line. A jump is the number of the frame before it.

/** @typedef {{jumps?: number[]}} Jumping */

/**
 * Lists the jumps of all walks, once each, in order.
 * @param {Jumping[]} walks
 */
export function jumpsOf(walks) {
  return [...new Set(walks.flatMap((walk) => walk.jumps ?? []))].sort((one, other) => one - other);
}

/**
 * Returns the next jump after a frame, and after the last one the first; undefined without jumps.
 * @param {number[]} jumps in order
 * @param {number} frame
 */
export function nextJump(jumps, frame) {
  return jumps.find((jump) => jump > frame) ?? jumps[0];
}

/**
 * Returns the jump whose ring, which lies on the frame after it, is nearest to a place and within reach.
 * @param {number[]} jumps
 * @param {number} place along the frames
 * @param {number} reach in frames
 * @returns {number | undefined}
 */
export function jumpNear(jumps, place, reach) {
  const near = jumps.filter((jump) => Math.abs(jump + 1 - place) <= reach);
  return near.sort((one, other) => Math.abs(one + 1 - place) - Math.abs(other + 1 - place))[0];
}
