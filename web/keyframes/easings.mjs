// @ts-check
// The easings between two keyframes, computed, drawn and typed. smooth_lora/walk.py has the same rules.

/** @type {Record<string, (t: number) => number>} */
const CURVES = {
  "linear": (t) => t,
  "ease in": (t) => t * t,
  "ease out": (t) => 1 - (1 - t) * (1 - t),
  "ease in and out": (t) => t * t * (3 - 2 * t),
};
export const EASINGS = Object.keys(CURVES);
const POINTS = 16;

/**
 * Bends time from 0 to 1.
 * @param {string} name of the easing
 * @param {number} t
 */
export function eased(name, t) {
  return CURVES[name](t);
}

/**
 * Returns the SVG path of an easing from the lower left to the upper right of a square.
 * @param {string} name
 * @param {number} size of the square
 */
export function easingPath(name, size) {
  const points = Array.from({ length: POINTS + 1 }, (_, point) => point / POINTS);
  return points.map((t, point) =>
    `${point ? "L" : "M"}${(t * size).toFixed(2)} ${((1 - eased(name, t)) * size).toFixed(2)}`).join("");
}

/**
 * Reads a list of easings; undefined if it is none, empty if nothing is typed.
 * @param {string} text
 */
export function parseEasings(text) {
  const typed = text.replace(/^[,;\s]+|[,;\s]+$/g, "");
  const names = typed ? typed.split(/[,;\n]/).map((name) => name.trim().replace(/\s+/g, " ").toLowerCase()) : [];
  return names.every((name) => EASINGS.includes(name)) ? names : undefined;
}

/**
 * Returns the easing of each stretch; a list begins again where there are more stretches.
 * @param {string[]} names
 * @param {number} stretches
 */
export function easingOfEach(names, stretches) {
  return Array.from({ length: stretches }, (_, place) => names[place % names.length]);
}

/**
 * Returns the next easing in their order, or with -1 the one before.
 * @param {string} name
 * @param {number} step
 */
export function nextEasing(name, step = 1) {
  return EASINGS[(EASINGS.indexOf(name) + step + EASINGS.length) % EASINGS.length];
}
