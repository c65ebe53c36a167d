// The list of seeds of a Seed Walk as the cards of a strip, and back.

export const FEWEST = 2;
export const MOST = 100;
const LARGEST = 2n ** 64n - 1n;

// "12, 99 7" -> ["12", "99", "7"]; what is no seed stays as it was typed.
export function readSeeds(text) {
  return String(text).split(/[\s,;]+/).filter((word) => word);
}

export function writeSeeds(seeds) {
  return seeds.join(", ");
}

export function isSeed(text) {
  return /^[0-9]{1,20}$/.test(text) && BigInt(text) <= LARGEST;
}

export function randomSeed() {
  return String(crypto.getRandomValues(new Uint32Array(1))[0]);
}

export function moved(seeds, from, to) {
  const rest = seeds.filter((_, place) => place !== from);
  return [...rest.slice(0, to), seeds[from], ...rest.slice(to)];
}

export function inserted(seeds, place, seed) {
  return [...seeds.slice(0, place), seed, ...seeds.slice(place)];
}

export function replaced(seeds, place, seed) {
  return seeds.map((one, own) => (own === place ? seed : one));
}

export function removed(seeds, place) {
  return seeds.filter((_, own) => own !== place);
}
