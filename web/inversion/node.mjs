// The receipt of an inversion on the nodes that give one out.

import { say } from "../page/texts.mjs";
import { NodeView } from "../page/views.mjs";
import { ReceiptBadge } from "./view.mjs";

export class ReceiptOnNode extends NodeView {
  static kinds = new Set(["SmoothInvert", "SmoothLoadInversion"]);
  static widget = "smooth_diffusion.receipt";
  static output = "smooth_receipt";
  static lowest = 64;

  constructor(node) {
    super(node, new ReceiptBadge({ say: say("receipt") }));
  }

  finished([receipt]) {
    this.keep({ receipt });
    this.shown.show(receipt);
  }

  isShown([receipt]) {
    return JSON.stringify(receipt) === JSON.stringify(this.kept.receipt);
  }

  restore() {
    if (this.kept.receipt) this.shown.show(this.kept.receipt);
  }
}
