// The walk player on the nodes that render and score walks.

import { say } from "../page/texts.mjs";
import { NodeView } from "../page/views.mjs";
import { WALK, frameAddress } from "../page/walks.mjs";
import { WalkPlayer } from "./view.mjs";

const SAY = say("player");

export class PlayerOnNode extends NodeView {
  static kinds = new Set(["SmoothWalkSampler", "SmoothISTD"]);
  static widget = WALK;
  static output = "smooth_walk";
  static event = "smooth_diffusion.frames";
  static lowest = 300;

  constructor(node) {
    super(node, new WalkPlayer({ addressOf: frameAddress, say: SAY, onSettings: (settings) => this.keep({ settings }) }));
  }

  // A run has ended: its scores are known. Of a node that shows one walk the run before it stays beside it.
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
    this.shown.show([walk, before].filter((one) => one));
  }

  isShown(walks) {
    return walks[0].subfolder === this.kept.walk?.subfolder;
  }

  // Frames of a run that goes on.
  arrived({ first, subfolder, total, count, lengths }) {
    if (first === 0) {
      const { walk } = this.kept;
      this.shown.touched = false;
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

// What is kept goes into the workflow.
function asShown(data, name) {
  const { subfolder, total, jumps, cv, istd, mean_distance: mean, keyframes } = data;
  const distances = data.distances.map((length) => Number(length.toPrecision(6)));
  return { name, subfolder, total, distances, jumps: jumps ?? [], cv, istd, mean, keyframes };
}
