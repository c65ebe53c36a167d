// @ts-check
// The walk player on the nodes that render and score walks.

import { say } from "../page/texts.mjs";
import { NodeView } from "../page/views.mjs";
import { WALK, frameAddress } from "../page/walks.mjs";
import { WalkPlayer } from "./view.mjs";

/** @typedef {import("../page/walks.mjs").Walk} Walk */
/**
 * A walk as the node tells it; fewer than three frames have no scores.
 * @typedef {Omit<Walk, "jumps"> & {jumps?: number[], mean_distance?: number}} Told
 */

const SAY = say("player");

/** @extends {NodeView<WalkPlayer, {walk: Walk, before: Walk, settings: import("./settings.mjs").Settings}>} */
export class PlayerOnNode extends NodeView {
  static kinds = new Set(["SmoothWalkSampler", "SmoothISTD"]);
  static widget = WALK;
  static output = "smooth_walk";
  static event = "smooth_diffusion.frames";
  static lowest = 300;

  /** @param {Host.Node} node */
  constructor(node) {
    super(node, new WalkPlayer({ addressOf: frameAddress, say: SAY,
      onSettings: (settings) => this.keep({ settings }) }));
  }

  /**
   * Shows a run that has ended, with its scores. Of a node that shows one walk the run before it stays beside it.
   * @param {Told[]} walks
   */
  finished(walks) {
    if (walks.length > 1) {
      const [walk, before] = walks.map((one) => asShown(one, one.name));
      this.keep({ walk, before });
    } else {
      const before = this.kept.walk;
      const walk = asShown(walks[0], SAY("now"));
      if (before && before.subfolder !== walk.subfolder) this.keep({ before: { ...before, name: SAY("before") } });
      this.keep({ walk });
    }
    this.show();
  }

  show() {
    const { walk, before } = this.kept;
    this.shown.show([walk, before].flatMap((one) => one ?? []));
  }

  /** @param {Told[]} walks */
  isShown(walks) {
    return walks[0].subfolder === this.kept.walk?.subfolder;
  }

  /**
   * Shows frames of a run that goes on.
   * @param {{first: number, subfolder: string, total: number, count: number, lengths: number[]}} message
   */
  arrived({ first, subfolder, total, count, lengths }) {
    if (first === 0) {
      const { walk } = this.kept;
      this.shown.follow();
      this.shown.show([{ name: SAY("now"), subfolder, total, distances: [], jumps: [], count: 0 },
        ...(walk ? [{ ...walk, name: SAY("before") }] : [])]);
    }
    this.shown.grow(subfolder, count, lengths);
  }

  restore() {
    const { settings, walk } = this.kept;
    if (settings) this.shown.restore(settings);
    if (walk) this.show();
  }
}

/**
 * Returns a walk as it is kept, since it goes into the workflow.
 * @param {Told} told
 * @param {string} name
 * @returns {Walk}
 */
function asShown(told, name) {
  const { subfolder, total, jumps, cv, istd, mean_distance: mean, keyframes } = told;
  const distances = told.distances.map((length) => Number(length.toPrecision(6)));
  return { name, subfolder, total, distances, jumps: jumps ?? [], cv, istd, mean, keyframes };
}
