// @ts-check
// The rows of a benchmark: sorted, written, and as the series of its charts.

import { counted } from "../page/scale.mjs";

/**
 * A row of the benchmark's JSON file: the scores of one walk.
 * distances: from each frame to the next; jumps: numbers of the frames before one
 * @typedef {{prompt_number: number, prompt: string, model: string, istd: number, cv: number, mean_distance: number,
 *   max_over_mean: number, jumps: number[], distances: number[]}} Row
 * @typedef {"istd" | "cv" | "mean_distance" | "max_over_mean"} Measure
 * @typedef {"prompt_number" | "prompt" | "model" | Measure | "jumps"} Column
 */

/** @type {Column[]} */
export const COLUMNS = ["prompt_number", "prompt", "model", "istd", "cv", "mean_distance", "max_over_mean", "jumps"];
const DOTTED = 60; // steps: fewer are drawn as dots too

/**
 * Returns true for a score, which is better the lower it is.
 * @param {Column} column
 * @returns {column is Measure}
 */
export function isMeasure(column) {
  return ["istd", "cv", "mean_distance", "max_over_mean"].includes(column);
}

/**
 * @param {Row} row
 * @param {Column} column
 */
function valueOf(row, column) {
  return column === "jumps" ? row.jumps.length : row[column];
}

/**
 * Writes the value of a cell.
 * @param {Row} row
 * @param {Column} column
 */
export function written(row, column) {
  return isMeasure(column) ? row[column].toPrecision(4) : String(valueOf(row, column));
}

/**
 * Returns the rows sorted by a column, and by their prompts where it does not tell them apart.
 * @param {Row[]} rows
 * @param {Column} column
 * @param {boolean} down from the highest
 */
export function sorted(rows, column, down) {
  const found = [...rows].sort((one, other) =>
    order(valueOf(one, column), valueOf(other, column)) || one.prompt_number - other.prompt_number);
  return down ? found.reverse() : found;
}

/**
 * @param {number | string} first
 * @param {number | string} second
 */
function order(first, second) {
  return typeof first === "number" ? first - Number(second) : first.localeCompare(String(second));
}

/**
 * Lists the models in the order in which they come.
 * @param {Row[]} rows
 */
export function modelsOf(rows) {
  return [...new Set(rows.map((row) => row.model))];
}

/**
 * Returns a bar of each model over each prompt.
 * @param {Row[]} rows
 * @param {string[]} models
 * @param {number[]} prompts
 * @param {Measure} measure
 */
export function barsOf(rows, models, prompts, measure) {
  return models.map((model) => {
    const own = new Map(rows.filter((row) => row.model === model).map((row) => [row.prompt_number, row[measure]]));
    return { label: model, bars: true, values: prompts.map((prompt) => own.get(prompt) ?? null) };
  });
}

/**
 * Returns a curve of each model over the steps of the longest walk.
 * @param {Row[]} rows of one prompt
 * @param {string[]} models
 */
export function stepsOf(rows, models) {
  const most = Math.max(0, ...rows.map((row) => row.distances.length));
  const series = models.map((model) => {
    const row = rows.find((one) => one.model === model);
    return { label: model, dots: most < DOTTED, values: counted(most).map((step) => row?.distances[step] ?? null) };
  });
  return { x: counted(most, 1), series };
}
