// @ts-check
// The receipt of an inversion on the nodes that give one out.

import { say } from "../page/texts.mjs";
import { NodeView } from "../page/views.mjs";
import { ReceiptBadge } from "./view.mjs";

/** @typedef {import("./view.mjs").Receipt} Receipt */

/** @extends {NodeView<ReceiptBadge, {receipt: Receipt}>} */
export class ReceiptOnNode extends NodeView {
  static kinds = new Set(["SmoothInvert", "SmoothLoadInversion"]);
  static widget = "smooth_diffusion.receipt";
  static output = "smooth_receipt";
  static lowest = 64;

  /** @param {Host.Node} node */
  constructor(node) {
    super(node, new ReceiptBadge({ say: say("receipt") }));
  }

  /** @param {[Receipt]} data */
  finished([receipt]) {
    this.keep({ receipt });
    this.shown.show(receipt);
  }

  /** @param {[Receipt]} data */
  isShown([receipt]) {
    return JSON.stringify(receipt) === JSON.stringify(this.kept.receipt);
  }

  restore() {
    if (this.kept.receipt) this.shown.show(this.kept.receipt);
  }
}
