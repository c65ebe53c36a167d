// The training view on the trainer.

import { addressOf } from "../page/graph.mjs";
import { say } from "../page/texts.mjs";
import { NodeView } from "../page/views.mjs";
import { TrainingView } from "./view.mjs";

export class TrainingOnNode extends NodeView {
  static kinds = new Set(["SmoothLoRATrainer"]);
  static widget = "smooth_diffusion.training";
  static output = "smooth_training";
  static event = "smooth_diffusion.training";
  static lowest = 330;

  constructor(node) {
    super(node, new TrainingView({ say: say("training"),
      addressOf: ({ subfolder }, filename) => addressOf({ filename, subfolder, type: "temp" }) }));
  }

  get training() {
    return this.kept.training;
  }

  finished([training]) {
    const rows = training.rows.map((row) => row.map((value) => (value === null ? null : Number(value.toPrecision(5)))));
    this.keep({ training: { ...training, rows } }); // it goes into the workflow
    this.shown.show(this.training);
  }

  isShown([training]) {
    return training.subfolder === this.training?.subfolder && training.step === this.training?.step;
  }

  arrived(training) {
    this.shown.show(training);
  }

  restore() {
    if (this.training) this.shown.show(this.training);
  }
}
