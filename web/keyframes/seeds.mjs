// @ts-check
// The list of seeds of a Seed Walk as the cards of a strip, and back. smooth_lora/seeds.py reads the same lists.

export const FEWEST = 2;
export const MOST = 100;
const LARGEST = 2n ** 64n - 1n;

/**
 * Reads "12, 99 7" as ["12", "99", "7"]; a word that is no seed stays as it was typed.
 * @param {unknown} text
 */
export function readSeeds(text) {
  return String(text).split(/[\s,;]+/).filter((word) => word);
}

/** @param {string[]} seeds */
export function writeSeeds(seeds) {
  return seeds.join(", ");
}

/**
 * Returns true for a whole number from 0 to 2^64 - 1.
 * @param {string} text
 */
export function isSeed(text) {
  return /^[0-9]{1,20}$/.test(text) && BigInt(text) <= LARGEST;
}

export function randomSeed() {
  return String(crypto.getRandomValues(new Uint32Array(1))[0]);
}

/**
 * Returns the seeds with one at another place.
 * @param {string[]} seeds
 * @param {number} from
 * @param {number} to
 */
export function moved(seeds, from, to) {
  const rest = seeds.filter((_, place) => place !== from);
  return [...rest.slice(0, to), seeds[from], ...rest.slice(to)];
}

/**
 * Returns the seeds with one more.
 * @param {string[]} seeds
 * @param {number} place
 * @param {string} seed
 */
export function inserted(seeds, place, seed) {
  return [...seeds.slice(0, place), seed, ...seeds.slice(place)];
}

/**
 * Returns the seeds with another in one place.
 * @param {string[]} seeds
 * @param {number} place
 * @param {string} seed
 */
export function replaced(seeds, place, seed) {
  return seeds.map((one, own) => (own === place ? seed : one));
}

/**
 * Returns the seeds without one.
 * @param {string[]} seeds
 * @param {number} place
 */
export function removed(seeds, place) {
  return seeds.filter((_, own) => own !== place);
}
