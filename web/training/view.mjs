// A training while it runs: its losses and the variation of the network, and what its checks have found.

import { Chart } from "../page/chart.mjs";
import { coloured, keepFromGraph, make, widgetRoot } from "../page/dom.mjs";

const HEIGHT = 84; // pixels of a chart
const CHARTS = ["base", "penalty", "r", "istd"];

export class TrainingView {
  // say(key, values): a text; addressOf(training, file): where a strip is
  constructor({ say, addressOf }) {
    Object.assign(this, { say, addressOf });
    const { element, root } = widgetRoot("smooth-diffusion-training", "training/view.css", "vendor/uPlot.min.css");
    this.element = element;
    this.said = make("div", { className: "said", role: "status", textContent: say("nothing") });
    this.strips = make("ol", { className: "strips", ariaLabel: say("strips") });
    this.charts = new Map(CHARTS.map((name) => [name, this.figure(name)]));
    this.view = make("div", { className: "view" }, this.said,
      make("div", { className: "charts" }, ...[...this.charts.values()].map(({ figure }) => figure)), this.strips);
    keepFromGraph(this.view);
    root.append(this.view);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.view);
  }

  figure(name) {
    const place = make("div", { className: "chart", ariaHidden: "true" });
    const caption = make("figcaption", { textContent: this.say(name) });
    return { figure: make("figure", { hidden: true }, caption, place), caption, place, chart: new Chart(place, HEIGHT) };
  }

  // training: {name, step, steps, columns, rows, check_columns, checks, strips: {step: file}}
  show(training) {
    const { name, step, steps, columns, rows, check_columns: checkColumns, checks } = training;
    const column = (of) => rows.map((row) => row[columns.indexOf(of)]);
    const check = (of) => checks.map((row) => row[checkColumns.indexOf(of)]);
    const [x, at] = [column("step"), check("step")];
    this.said.textContent = this.say("now", { name, step, steps });
    this.draw("base", [{ x, values: column("base"), label: this.say("base") },
      ...(check("base").some((value) => value !== null)
        ? [{ x: at, values: check("base"), label: this.say("held_out"), dots: true }] : [])]);
    const penalty = column("penalty");
    this.draw("penalty", penalty.some((value) => value) ? [{ x, values: penalty, label: this.say("penalty") }] : []);
    this.drawVariation(x, column("r"), column("r_spread"));
    this.draw("istd", [{ x: at, values: check("istd"), label: "ISTD", dots: true }]);
    this.showStrips(training);
    this.resize();
  }

  // Curves over steps of their own are laid on the steps of all of them.
  draw(name, curves, bands = []) {
    const { figure, caption, chart } = this.charts.get(name);
    const x = [...new Set(curves.flatMap((curve) => curve.x))].sort((one, other) => one - other);
    figure.hidden = !x.length;
    const series = curves.map(({ x: own, values, ...rest }) => {
      const known = new Map(own.map((step, place) => [step, values[place]]));
      return { ...rest, values: x.map((step) => known.get(step)) };
    });
    chart.show({ x, series, bands });
    const seen = series.filter((one) => !one.hidden);
    caption.replaceChildren(...seen.map((one, place) => coloured(`${one.label} ${last(one.values)}`, place)));
  }

  drawVariation(x, r, spread) {
    const edge = (sign) => r.map((mean, place) => (mean === null ? null : mean * (1 + sign * (spread[place] ?? 0))));
    const drawn = r.some((value) => value)
      ? [{ x, values: r, label: this.say("r") }, { x, values: edge(1), hidden: true, label: "" },
        { x, values: edge(-1), hidden: true, label: "" }] : [];
    this.draw("r", drawn, drawn.length ? [[1, 2]] : []);
  }

  showStrips(training) {
    const shown = Object.entries(training.strips).sort(([one], [other]) => one - other);
    const key = JSON.stringify([training.subfolder, shown]);
    if (key === this.stripsShown) return;
    this.stripsShown = key;
    this.strips.replaceChildren(...shown.map(([step, file]) => make("li", {},
      make("span", { textContent: this.say("step", { step }) }),
      make("img", { src: this.addressOf(training, file), alt: this.say("strip", { step }), loading: "lazy",
        onerror: (event) => event.target.replaceWith(this.say("gone")) }))));
  }

  resize() {
    for (const { place, chart } of this.charts.values()) chart.resize(place.clientWidth);
  }

  destroy() {
    this.observer.disconnect();
    for (const { chart } of this.charts.values()) chart.destroy();
  }
}

function last(values) {
  const found = values.findLast((value) => value !== null && value !== undefined);
  return found === undefined ? "" : found.toPrecision(4);
}
