// @ts-check
// Scales of charts, and curves laid on one axis.

const HEADROOM = 1.15; // of the highest value, for what is drawn around it
const BESIDE = 0.5; // of the distance between two bars

/**
 * Values over numbers that rise.
 * @typedef {{x: number[], values: (number | null)[], label: string, dots?: boolean, hidden?: boolean}} Curve
 */

/**
 * Returns the range of the axis along.
 * @param {number} low
 * @param {number} high
 * @param {boolean} bars stand on it
 * @returns {[number, number]}
 */
export function rangeAlong(low, high, bars) {
  return bars ? [low - BESIDE, Math.max(high, low) + BESIDE] : [low, Math.max(high, low + 1)];
}

/**
 * Returns the range of the axis up, of values that need not be there.
 * @param {number | null} low
 * @param {number | null} high
 * @returns {[number, number]}
 */
export function rangeUp(low, high) {
  return [Math.min(0, low ?? 0), (high || 1) * HEADROOM];
}

/**
 * Lays curves over numbers of their own on the numbers of all of them.
 * @param {Curve[]} curves
 */
export function laidTogether(curves) {
  const x = [...new Set(curves.flatMap((curve) => curve.x))].sort((one, other) => one - other);
  const series = curves.map(({ x: own, values, ...rest }) => {
    const known = new Map(own.map((step, place) => [step, values[place]]));
    return { ...rest, values: x.map((step) => known.get(step)) };
  });
  return { x, series };
}

/**
 * Returns whole numbers that rise by one.
 * @param {number} count
 * @param {number} first
 */
export function counted(count, first = 0) {
  return Array.from({ length: count }, (_, place) => first + place);
}
