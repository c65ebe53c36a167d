// @ts-check
// The benchmark's table on its node. Its rows come from the file that the node has written; the workflow keeps only
// where that is.

import { make } from "../page/dom.mjs";
import { addressOf } from "../page/graph.mjs";
import { say } from "../page/texts.mjs";
import { NodeView } from "../page/views.mjs";
import { BenchmarkView } from "./view.mjs";

/** @typedef {import("../page/graph.mjs").Place} Place */
/** @typedef {import("./rows.mjs").Row} Row */
/** @typedef {{csv: Place, json: Place}} Files */

const SAY = say("benchmark");

/** @extends {NodeView<BenchmarkView, Files>} */
export class BenchmarkOnNode extends NodeView {
  static kinds = new Set(["SmoothISTDBenchmark"]);
  static widget = "smooth_diffusion.benchmark";
  static output = "smooth_istd_files";
  static event = "smooth_diffusion.row";
  static lowest = 420;

  /** @param {Host.Node} node */
  constructor(node) {
    super(node, new BenchmarkView({ say: SAY, onSave: download }));
    /** Rows of a run that goes on. @type {Row[]} */
    this.running = [];
  }

  /** @param {[Files]} data */
  async finished([files]) {
    this.keep(files);
    await this.read();
  }

  async read() {
    const { csv, json } = this.kept;
    if (!csv || !json) return;
    const answer = await fetch(addressOf(json), { cache: "no-store" });
    if (!answer.ok) return this.shown.show([], { said: SAY("gone", { file: json.filename }) });
    /** @type {{rows: Row[], remarks: string[], prompts: number}} */
    const { rows, remarks, prompts } = await answer.json();
    this.shown.show(rows, { csv: addressOf(csv), said: [SAY("walks", { count: prompts }), ...remarks].join(" ") });
  }

  /** @param {[Files]} data */
  isShown([{ json }]) {
    const own = this.kept.json;
    return own?.filename === json.filename && own?.subfolder === json.subfolder;
  }

  /**
   * walks: of the whole run; number: of this one, from 1
   * @param {{walks: number, number: number, row: Row}} message
   */
  arrived({ walks, number, row }) {
    this.running = number === 1 ? [row] : [...this.running, row]; // one that was stopped told no end
    this.shown.show(this.running, { said: SAY("rendered", { count: this.running.length, total: walks }) });
  }

  restore() {
    this.read();
  }
}

/**
 * @param {Blob | null} blob
 * @param {string} name
 */
function download(blob, name) {
  if (!blob) return;
  const href = URL.createObjectURL(blob);
  make("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}
