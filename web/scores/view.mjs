// @ts-check
// The walks of a benchmark: a table that is sorted by any column, a bar chart of that column, and the steps of the walk
// that is chosen.

import { Chart } from "../page/chart.mjs";
import { button, coloured, keepFromGraph, make, widgetRoot } from "../page/dom.mjs";
import { counted } from "../page/scale.mjs";
import { COLUMNS, barsOf, isMeasure, modelsOf, sorted, stepsOf, written } from "./rows.mjs";

/** @typedef {import("./rows.mjs").Row} Row */
/** @typedef {import("./rows.mjs").Column} Column */

const BARS = 110, STEPS = 90; // pixels

export class BenchmarkView {
  /**
   * onSave(picture, name): called with a picture that the user wants
   * @param {{say: import("../page/texts.mjs").Say, onSave: (picture: Blob | null, name: string) => void}} given
   */
  constructor({ say, onSave }) {
    this.say = say;
    this.onSave = onSave;
    /** @type {Row[]} */
    this.rows = [];
    /** @type {Column} */
    this.column = "prompt_number";
    this.down = false;
    /** @type {number | undefined} */
    this.chosen = undefined;
    const { element, root } = widgetRoot("smooth-diffusion-benchmark", "scores/view.css", "vendor/uPlot.min.css");
    this.element = element;
    this.bars = make("div", { className: "bars", ariaHidden: "true" });
    this.steps = make("div", { className: "steps", ariaHidden: "true" });
    this.barChart = new Chart(this.bars, BARS);
    this.stepChart = new Chart(this.steps, STEPS);
    this.head = make("thead");
    this.body = make("tbody");
    this.table = make("div", { className: "table" }, make("table", { ariaLabel: say("table") }, this.head, this.body));
    this.legend = make("div", { className: "legend" });
    this.said = make("div", { className: "said", role: "status", textContent: say("nothing") });
    this.csv = make("a", { className: "button", textContent: "CSV", title: say("csv"), ariaLabel: say("csv"),
      download: "" });
    this.png = button("PNG", say("png"), () => this.save());
    this.view = make("div", { className: "view" }, this.legend, this.bars, this.steps, this.table,
      make("div", { className: "foot" }, this.said, this.csv, this.png));
    keepFromGraph(this.view, this.table);
    root.append(this.view);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.view);
    this.show([]);
  }

  /**
   * csv: address of the CSV file, if it is there; said: one line below
   * @param {Row[]} rows
   * @param {{csv?: string, said?: string}} given
   */
  show(rows, { csv, said } = {}) {
    this.rows = rows;
    this.csv.hidden = !csv;
    if (csv) this.csv.href = csv;
    if (said !== undefined) this.said.textContent = said;
    this.draw();
  }

  draw() {
    const rows = sorted(this.rows, this.column, this.down);
    if (!rows.some((row) => row.prompt_number === this.chosen)) this.chosen = rows[0]?.prompt_number;
    this.view.classList.toggle("empty", !rows.length);
    this.png.hidden = !rows.length;
    this.head.replaceChildren(make("tr", {}, ...COLUMNS.map((column) => this.heading(column))));
    this.body.replaceChildren(...rows.map((row) => this.row(row)));
    this.legend.replaceChildren(...modelsOf(this.rows).map(coloured));
    this.drawBars(rows);
    this.drawSteps();
    this.resize();
  }

  /** @param {Column} column */
  heading(column) {
    const made = button(this.say(column), this.say("sort", { column: this.say(column) }), () => this.sort(column));
    const own = column === this.column;
    if (own) made.textContent += this.down ? " ▾" : " ▴";
    const cell = make("th", { ariaSort: own ? (this.down ? "descending" : "ascending") : "none" }, made);
    cell.dataset.column = column;
    return cell;
  }

  /** @param {Column} column */
  sort(column) {
    this.down = column === this.column ? !this.down : isMeasure(column);
    this.column = column;
    this.draw();
    /** @type {HTMLElement | null} */
    const heading = this.head.querySelector(`[data-column="${column}"] button`);
    heading?.focus();
  }

  /** @param {Row} row */
  row(row) {
    const cells = COLUMNS.map((column) => make("td", { className: column, textContent: written(row, column),
      title: column === "prompt" ? row.prompt : "" }));
    const made = make("tr", { tabIndex: 0, ariaSelected: String(row.prompt_number === this.chosen) }, ...cells);
    made.dataset.prompt = String(row.prompt_number);
    made.addEventListener("click", () => this.choose(row.prompt_number));
    made.addEventListener("keydown", (event) => this.key(event, made, row.prompt_number));
    return made;
  }

  /**
   * @param {KeyboardEvent} event
   * @param {HTMLElement} row
   * @param {number} prompt
   */
  key(event, row, prompt) {
    const { nextElementSibling: below, previousElementSibling: above } = row;
    const next = event.key === "ArrowDown" ? below : event.key === "ArrowUp" ? above : null;
    if (next instanceof HTMLElement) next.focus();
    else if (event.key === "Enter" || event.key === " ") this.choose(prompt);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {number} prompt */
  choose(prompt) {
    this.chosen = prompt;
    for (const row of this.body.rows) row.ariaSelected = String(Number(row.dataset.prompt) === prompt);
    this.drawSteps();
  }

  /** @param {Row[]} rows */
  drawBars(rows) {
    const measure = isMeasure(this.column) ? this.column : "istd";
    const prompts = [...new Set(rows.map((row) => row.prompt_number))];
    this.barChart.show({ x: counted(prompts.length), series: barsOf(this.rows, modelsOf(this.rows), prompts, measure),
      title: this.say(measure), names: (place) => prompts[place] ?? "" });
  }

  drawSteps() {
    const rows = this.rows.filter((row) => row.prompt_number === this.chosen);
    const title = this.say("steps", { prompt: this.chosen });
    this.stepChart.show({ ...stepsOf(rows, modelsOf(this.rows)), title });
  }

  resize() {
    const width = this.view.clientWidth;
    this.barChart.resize(width);
    this.stepChart.resize(width);
  }

  async save() {
    const background = getComputedStyle(this.view).backgroundColor;
    this.onSave(await this.barChart.picture(background), "benchmark.png");
  }

  destroy() {
    this.observer.disconnect();
    this.barChart.destroy();
    this.stepChart.destroy();
  }
}
