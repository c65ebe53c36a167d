// @ts-check
// The easings of a Walk Schedule, read from its widgets and written into them.

import { setWidget, widgetOf } from "../page/graph.mjs";
import { easingOfEach, parseEasings } from "./easings.mjs";

const BETWEEN = "between keyframes";

/**
 * Returns the easing of each stretch; undefined if the text typed is no list of easings.
 * @param {Host.Node} schedule
 * @param {number} stretches
 */
export function readEasings(schedule, stretches) {
  const names = parseEasings(String(widgetOf(schedule, "easings")?.value ?? ""));
  return names && easingOfEach(names.length ? names : [ofAll(schedule)], stretches);
}

/**
 * Writes the easing of each stretch, or nothing if each is the one that all have anyway.
 * @param {Host.Node} schedule
 * @param {string[]} easings
 */
export function writeEasings(schedule, easings) {
  const plain = easings.every((easing) => easing === ofAll(schedule));
  setWidget(schedule, "easings", plain ? "" : easings.join(", "));
}

/**
 * Returns the easing of every stretch if none is typed.
 * @param {Host.Node} schedule
 */
function ofAll(schedule) {
  return widgetOf(schedule, "easing_over")?.value === BETWEEN ? String(widgetOf(schedule, "easing")?.value) : "linear";
}
