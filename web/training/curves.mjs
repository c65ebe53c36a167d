// @ts-check
// The curves of a training's log, and its numbers as they are written.

/**
 * columns: names of the values of a row, check_columns of a check; strips: step -> file
 * @typedef {{name: string, subfolder: string, step: number, steps: number, columns: string[],
 *   rows: (number | null)[][], check_columns: string[], checks: (number | null)[][],
 *   strips: Record<string, string>}} Training
 */

/**
 * Returns the values of one column.
 * @param {(number | null)[][]} rows
 * @param {string[]} columns
 * @param {string} name
 */
export function column(rows, columns, name) {
  const place = columns.indexOf(name);
  return rows.map((row) => row[place]);
}

/**
 * Returns the steps of rows, which all have one.
 * @param {(number | null)[][]} rows
 * @param {string[]} columns
 */
export function steps(rows, columns) {
  return column(rows, columns, "step").map(Number);
}

/**
 * Returns the edge of a band as wide as the relative spread of each mean.
 * @param {(number | null)[]} means
 * @param {(number | null)[]} spread
 * @param {1 | -1} sign
 */
export function edge(means, spread, sign) {
  return means.map((mean, place) => (mean === null ? null : mean * (1 + sign * (spread[place] ?? 0))));
}

/**
 * Writes the last value that is known.
 * @param {(number | null | undefined)[]} values
 */
export function lastOf(values) {
  const found = values.findLast((value) => value !== null && value !== undefined);
  return found?.toPrecision(4) ?? "";
}

/**
 * Returns a training with numbers short enough to be kept with the workflow.
 * @param {Training} training
 * @returns {Training}
 */
export function shortened(training) {
  const rows = training.rows.map((row) => row.map((value) => (value === null ? null : Number(value.toPrecision(5)))));
  return { ...training, rows };
}
