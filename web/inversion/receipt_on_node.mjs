// The receipt of an inversion on the nodes that give one out.

import { keep, kept } from "../page/graph.mjs";
import { say } from "../page/texts.mjs";
import { ReceiptBadge } from "./receipt_badge.mjs";

export class ReceiptOnNode {
  static kinds = new Set(["SmoothInvert", "SmoothLoadInversion"]);
  static widget = "smooth_diffusion.receipt";
  static output = "smooth_receipt";
  static lowest = 64;

  constructor(node) {
    this.node = node;
    this.badge = new ReceiptBadge({ say: say("receipt") });
    this.element = this.badge.element;
  }

  get receipt() {
    return kept(this.node, ReceiptOnNode.widget).receipt;
  }

  finished([receipt]) {
    keep(this.node, ReceiptOnNode.widget, { receipt });
    this.badge.show(receipt);
  }

  isShown([receipt]) {
    return JSON.stringify(receipt) === JSON.stringify(this.receipt);
  }

  restore() {
    if (this.receipt) this.badge.show(this.receipt);
  }
}
