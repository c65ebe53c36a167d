// @ts-check
// The training view on the trainer.

import { addressOf } from "../page/graph.mjs";
import { say } from "../page/texts.mjs";
import { NodeView } from "../page/views.mjs";
import { shortened } from "./curves.mjs";
import { TrainingView } from "./view.mjs";

/** @typedef {import("./curves.mjs").Training} Training */

/** @extends {NodeView<TrainingView, {training: Training}>} */
export class TrainingOnNode extends NodeView {
  static kinds = new Set(["SmoothLoRATrainer"]);
  static widget = "smooth_diffusion.training";
  static output = "smooth_training";
  static event = "smooth_diffusion.training";
  static lowest = 330;

  /** @param {Host.Node} node */
  constructor(node) {
    super(node, new TrainingView({ say: say("training"),
      addressOf: ({ subfolder }, filename) => addressOf({ filename, subfolder, type: "temp" }) }));
  }

  /** @param {[Training]} data */
  finished([training]) {
    this.keep({ training: shortened(training) });
    this.restore();
  }

  /** @param {[Training]} data */
  isShown([training]) {
    const own = this.kept.training;
    return training.subfolder === own?.subfolder && training.step === own?.step;
  }

  /** @param {Training} training */
  arrived(training) {
    this.shown.show(training);
  }

  restore() {
    if (this.kept.training) this.shown.show(this.kept.training);
  }
}
