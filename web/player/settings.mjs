// @ts-check
// The settings of the walk player, which are kept with the workflow.

/** @typedef {{fps: number, loop: boolean, both: boolean}} Settings */

export const SLOWEST = 1, FASTEST = 60; // frames per second

/** @type {Settings} */
export const DEFAULTS = { fps: 12, loop: true, both: true };

/**
 * Reads a frame rate as it was typed.
 * @param {string} text
 */
export function rateOf(text) {
  return Math.min(FASTEST, Math.max(SLOWEST, Number(text) || DEFAULTS.fps));
}
