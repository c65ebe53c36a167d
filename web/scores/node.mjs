// The benchmark's table on its node. Its rows come from the file that the node has written; the workflow keeps only
// where that is.

import { make } from "../page/dom.mjs";
import { addressOf } from "../page/graph.mjs";
import { say } from "../page/texts.mjs";
import { NodeView } from "../page/views.mjs";
import { BenchmarkView } from "./view.mjs";

const SAY = say("benchmark");

export class BenchmarkOnNode extends NodeView {
  static kinds = new Set(["SmoothISTDBenchmark"]);
  static widget = "smooth_diffusion.benchmark";
  static output = "smooth_istd_files";
  static event = "smooth_diffusion.row";
  static lowest = 420;

  constructor(node) {
    super(node, new BenchmarkView({ say: SAY, onSave: download }));
    this.running = []; // rows of a run that goes on
  }

  async finished([files]) {
    this.keep(files);
    await this.read();
  }

  async read() {
    const { csv, json } = this.kept;
    if (!json) return;
    const answer = await fetch(addressOf(json), { cache: "no-store" });
    if (!answer.ok) return this.shown.show([], { said: SAY("gone", { file: json.filename }) });
    const { rows, remarks, prompts } = await answer.json();
    this.shown.show(rows, { csv: addressOf(csv), said: [SAY("walks", { count: prompts }), ...remarks].join(" ") });
  }

  isShown([{ json }]) {
    const own = this.kept.json;
    return own?.filename === json.filename && own?.subfolder === json.subfolder;
  }

  arrived({ walks, number, row }) {
    this.running = number === 1 ? [row] : [...this.running, row]; // one that was stopped told no end
    this.shown.show(this.running, { said: SAY("rendered", { count: this.running.length, total: walks }) });
  }

  restore() {
    this.read();
  }
}

function download(blob, name) {
  const href = URL.createObjectURL(blob);
  make("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}
