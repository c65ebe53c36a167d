// @ts-check
// The frames that a node has rendered, as more than one view shows them.

import { addressOf } from "./graph.mjs";

/**
 * A walk as a node keeps it with the workflow.
 * distances: from each frame to the next; jumps: numbers of the frames before one; mean: of the distances;
 * count: of the frames that are there, all of them if it is not said
 * @typedef {{name: string, subfolder: string, total: number, distances: number[], jumps: number[], cv?: number,
 *   istd?: number, mean?: number, keyframes?: {seed: string, frame: number}[], count?: number}} Walk
 */

/** Name of the widget that plays a walk, under which its node keeps the walk. */
export const WALK = "smooth_diffusion.player";

/**
 * Returns the address of one frame.
 * @param {{subfolder: string}} walk
 * @param {number} number
 */
export function frameAddress(walk, number) {
  return addressOf({ filename: `${String(number).padStart(5, "0")}.jpg`, type: "temp", subfolder: walk.subfolder });
}
