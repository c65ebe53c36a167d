// The benchmark's table on its node. Its rows come from the file that the node has written; the workflow keeps only
// where that is.

import { addressOf, keep, kept } from "../page/graph.mjs";
import { make } from "../page/dom.mjs";
import { say } from "../page/texts.mjs";
import { BenchmarkView } from "./benchmark_view.mjs";

export class BenchmarkOnNode {
  static kinds = new Set(["SmoothISTDBenchmark"]);
  static widget = "smooth_diffusion.benchmark";
  static output = "smooth_istd_files";
  static event = "smooth_diffusion.row";
  static lowest = 420;

  constructor(node) {
    this.node = node;
    this.say = say("benchmark");
    this.running = undefined; // rows of a run that goes on
    this.view = new BenchmarkView({ say: this.say, onSave: download });
    this.element = this.view.element;
  }

  async finished([files]) {
    this.running = undefined;
    keep(this.node, BenchmarkOnNode.widget, files);
    await this.read();
  }

  async read() {
    const { csv, json } = kept(this.node, BenchmarkOnNode.widget);
    if (!json) return;
    const answer = await fetch(addressOf(json), { cache: "no-store" });
    if (!answer.ok) return this.view.show([], { said: this.say("gone", { file: json.filename }) });
    const { rows, remarks, prompts } = await answer.json();
    this.view.show(rows, { csv: addressOf(csv), said: [this.say("walks", { count: prompts }), ...remarks].join(" ") });
  }

  isShown([{ json }]) {
    const own = kept(this.node, BenchmarkOnNode.widget).json;
    return own?.filename === json.filename && own?.subfolder === json.subfolder;
  }

  arrived({ walks, row }) {
    this.running = [...(this.running ?? []), row];
    this.view.show(this.running, { said: this.say("rendered", { count: this.running.length, total: walks }) });
  }

  restore() {
    this.read();
  }

  destroy() {
    this.view.destroy();
  }
}

function download(blob, name) {
  const href = URL.createObjectURL(blob);
  make("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}
