// The easings of a Walk Schedule between its keyframes, as its widgets say, and drawn.

import { setWidget, widgetOf } from "../page/graph.mjs";

const CURVES = {
  "linear": (t) => t,
  "ease in": (t) => t * t,
  "ease out": (t) => 1 - (1 - t) * (1 - t),
  "ease in and out": (t) => t * t * (3 - 2 * t),
};
export const EASINGS = Object.keys(CURVES);
const BETWEEN = "between keyframes";
const POINTS = 16;

export function eased(name, t) {
  return CURVES[name](t);
}

// An SVG path of an easing from the lower left to the upper right of a square of this size.
export function easingPath(name, size) {
  const points = Array.from({ length: POINTS + 1 }, (_, point) => point / POINTS);
  return points.map((t, point) =>
    `${point ? "L" : "M"}${(t * size).toFixed(2)} ${((1 - eased(name, t)) * size).toFixed(2)}`).join("");
}

// The easing of each of so many stretches; undefined if what is typed is no list of easings.
export function readEasings(schedule, stretches) {
  const typed = String(widgetOf(schedule, "easings")?.value ?? "").replace(/^[,;\s]+|[,;\s]+$/g, "");
  const names = typed ? typed.split(/[,;\n]/).map((name) => name.trim().replace(/\s+/g, " ").toLowerCase()) : [ofAll(schedule)];
  if (!names.every((name) => name in CURVES)) return undefined;
  return Array.from({ length: stretches }, (_, place) => names[place % names.length]);
}

export function writeEasings(schedule, easings) {
  const plain = easings.every((easing) => easing === ofAll(schedule));
  setWidget(schedule, "easings", plain ? "" : easings.join(", "));
}

// The easing of every stretch if none is typed.
function ofAll(schedule) {
  return widgetOf(schedule, "easing_over").value === BETWEEN ? widgetOf(schedule, "easing").value : "linear";
}

export function nextEasing(name, step = 1) {
  return EASINGS[(EASINGS.indexOf(name) + step + EASINGS.length) % EASINGS.length];
}
