// The training view on the trainer.

import { addressOf, keep, kept } from "../page/graph.mjs";
import { say } from "../page/texts.mjs";
import { TrainingView } from "./training_view.mjs";

export class TrainingOnNode {
  static kinds = new Set(["SmoothLoRATrainer"]);
  static widget = "smooth_diffusion.training";
  static output = "smooth_training";
  static event = "smooth_diffusion.training";
  static lowest = 330;

  constructor(node) {
    this.node = node;
    this.view = new TrainingView({ say: say("training"),
      addressOf: ({ subfolder }, filename) => addressOf({ filename, subfolder, type: "temp" }) });
    this.element = this.view.element;
  }

  get training() {
    return kept(this.node, TrainingOnNode.widget).training;
  }

  finished([training]) {
    const rows = training.rows.map((row) => row.map((value) => (value === null ? null : Number(value.toPrecision(5)))));
    keep(this.node, TrainingOnNode.widget, { training: { ...training, rows } }); // it goes into the workflow
    this.view.show(this.training);
  }

  isShown([training]) {
    return training.subfolder === this.training?.subfolder && training.step === this.training?.step;
  }

  arrived(training) {
    this.view.show(training);
  }

  restore() {
    if (this.training) this.view.show(this.training);
  }

  destroy() {
    this.view.destroy();
  }
}
