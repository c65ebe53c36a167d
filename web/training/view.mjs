// @ts-check
// A training while it runs: its losses and the variation of the network, and the results of its checks.

import { Chart } from "../page/chart.mjs";
import { coloured, image, keepFromGraph, make, widgetRoot } from "../page/dom.mjs";
import { laidTogether } from "../page/scale.mjs";
import { column, edge, lastOf, steps } from "./curves.mjs";

/** @typedef {import("./curves.mjs").Training} Training */
/** @typedef {import("../page/scale.mjs").Curve} Curve */

const HEIGHT = 84; // pixels of a chart
const CHARTS = /** @type {const} */ (["base", "penalty", "r", "istd"]);

export class TrainingView {
  /**
   * addressOf(training, file): address of a strip
   * @param {{say: import("../page/texts.mjs").Say, addressOf: (training: Training, file: string) => string}} given
   */
  constructor({ say, addressOf }) {
    this.say = say;
    this.addressOf = addressOf;
    this.stripsShown = "";
    const { element, root } = widgetRoot("smooth-diffusion-training", "training/view.css", "vendor/uPlot.min.css");
    this.element = element;
    this.said = make("div", { className: "said", role: "status", textContent: say("nothing") });
    this.strips = make("ol", { className: "strips", ariaLabel: say("strips") });
    this.charts = { base: this.figure("base"), penalty: this.figure("penalty"), r: this.figure("r"),
      istd: this.figure("istd") };
    this.view = make("div", { className: "view" }, this.said,
      make("div", { className: "charts" }, ...CHARTS.map((name) => this.charts[name].figure)), this.strips);
    keepFromGraph(this.view);
    root.append(this.view);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.view);
  }

  /** @param {string} name */
  figure(name) {
    const place = make("div", { className: "chart", ariaHidden: "true" });
    const caption = make("figcaption", { textContent: this.say(name) });
    const figure = make("figure", { hidden: true }, caption, place);
    return { figure, caption, place, chart: new Chart(place, HEIGHT) };
  }

  /** @param {Training} training */
  show(training) {
    this.said.textContent = this.say("now", { name: training.name, step: training.step, steps: training.steps });
    this.drawLosses(training);
    this.drawVariation(training);
    this.showStrips(training);
    this.resize();
  }

  /** @param {Training} training */
  drawLosses({ columns, rows, check_columns: checkColumns, checks }) {
    const [x, at] = [steps(rows, columns), steps(checks, checkColumns)];
    const [base, penalty] = [column(rows, columns, "base"), column(rows, columns, "penalty")];
    const heldOut = column(checks, checkColumns, "base");
    this.draw("base", [{ x, values: base, label: this.say("base") },
      ...(heldOut.some((value) => value !== null)
        ? [{ x: at, values: heldOut, label: this.say("held_out"), dots: true }] : [])]);
    this.draw("penalty", penalty.some((value) => value) ? [{ x, values: penalty, label: this.say("penalty") }] : []);
    this.draw("istd", [{ x: at, values: column(checks, checkColumns, "istd"), label: "ISTD", dots: true }]);
  }

  /** @param {Training} training */
  drawVariation({ columns, rows }) {
    const [x, r, spread] = [steps(rows, columns), column(rows, columns, "r"), column(rows, columns, "r_spread")];
    if (!r.some((value) => value)) return this.draw("r", []);
    this.draw("r", [{ x, values: r, label: this.say("r") }, { x, values: edge(r, spread, 1), hidden: true, label: "" },
      { x, values: edge(r, spread, -1), hidden: true, label: "" }], [[1, 2]]);
  }

  /**
   * @param {typeof CHARTS[number]} name
   * @param {Curve[]} curves
   * @param {[number, number][]} bands
   */
  draw(name, curves, bands = []) {
    const { figure, caption, chart } = this.charts[name];
    const { x, series } = laidTogether(curves);
    figure.hidden = !x.length;
    chart.show({ x, series, bands });
    const seen = series.filter((one) => !one.hidden);
    caption.replaceChildren(...seen.map((one, place) => coloured(`${one.label} ${lastOf(one.values)}`, place)));
  }

  /** @param {Training} training */
  showStrips(training) {
    const shown = Object.entries(training.strips).sort(([one], [other]) => Number(one) - Number(other));
    const key = JSON.stringify([training.subfolder, shown]);
    if (key === this.stripsShown) return;
    this.stripsShown = key;
    this.strips.replaceChildren(...shown.map(([step, file]) => this.strip(step, this.addressOf(training, file))));
  }

  /**
   * @param {string} step
   * @param {string} src
   */
  strip(step, src) {
    return make("li", {}, make("span", { textContent: this.say("step", { step }) }),
      image({ src, alt: this.say("strip", { step }), loading: "lazy" }, this.say("gone")));
  }

  resize() {
    for (const name of CHARTS) this.charts[name].chart.resize(this.charts[name].place.clientWidth);
  }

  destroy() {
    this.observer.disconnect();
    for (const name of CHARTS) this.charts[name].chart.destroy();
  }
}
