// The walks of a benchmark: a table that is sorted by any column, a bar chart of that column, and the steps of the walk
// that is chosen.

import { Chart } from "../page/chart.mjs";
import { button, coloured, keepFromGraph, make, widgetRoot } from "../page/dom.mjs";

const MEASURES = ["istd", "cv", "mean_distance", "max_over_mean"];
const COLUMNS = ["prompt_number", "prompt", "model", ...MEASURES, "jumps"];
const BARS = 110, STEPS = 90; // pixels
const valueOf = (row, column) => (column === "jumps" ? row.jumps.length : row[column]);
const written = (row, column) => (MEASURES.includes(column) ? row[column].toPrecision(4) : String(valueOf(row, column)));

export class BenchmarkView {
  // say(key, values): a text; onSave(blob, name): where a picture goes
  constructor({ say, onSave }) {
    Object.assign(this, { say, onSave, rows: [], column: "prompt_number", down: false, chosen: undefined });
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
    this.csv = make("a", { className: "button", textContent: "CSV", title: say("csv"), ariaLabel: say("csv"), download: "" });
    this.png = button("PNG", say("png"), () => this.save());
    this.view = make("div", { className: "view" }, this.legend, this.bars, this.steps, this.table,
      make("div", { className: "foot" }, this.said, this.csv, this.png));
    keepFromGraph(this.view, this.table);
    root.append(this.view);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.view);
    this.show([]);
  }

  // rows: of the benchmark's JSON file; csv: address of its CSV file, if it is there; said: one line below
  show(rows, { csv, said } = {}) {
    this.rows = rows;
    this.csv.hidden = !csv;
    if (csv) this.csv.href = csv;
    if (said !== undefined) this.said.textContent = said;
    this.draw();
  }

  draw() {
    const rows = this.sorted();
    if (!rows.some((row) => row.prompt_number === this.chosen)) this.chosen = rows[0]?.prompt_number;
    this.view.classList.toggle("empty", !rows.length);
    this.png.hidden = !rows.length;
    this.head.replaceChildren(make("tr", {}, ...COLUMNS.map((column) => this.heading(column))));
    this.body.replaceChildren(...rows.map((row) => this.row(row)));
    this.legend.replaceChildren(...this.models().map(coloured));
    this.drawBars(rows);
    this.drawSteps();
    this.resize();
  }

  models() {
    return [...new Set(this.rows.map((row) => row.model))];
  }

  sorted() {
    const { column, down } = this;
    const order = (one, other) => {
      const [first, second] = [valueOf(one, column), valueOf(other, column)];
      const found = typeof first === "number" ? first - second : first.localeCompare(second);
      return found || one.prompt_number - other.prompt_number;
    };
    const rows = [...this.rows].sort(order);
    return down ? rows.reverse() : rows;
  }

  heading(column) {
    const made = button(this.say(column), this.say("sort", { column: this.say(column) }), () => this.sort(column));
    const sorted = column === this.column;
    if (sorted) made.textContent += this.down ? " ▾" : " ▴";
    const cell = make("th", { ariaSort: sorted ? (this.down ? "descending" : "ascending") : "none" }, made);
    cell.dataset.column = column;
    return cell;
  }

  sort(column) {
    this.down = column === this.column ? !this.down : MEASURES.includes(column);
    this.column = column;
    this.draw();
    this.head.querySelector(`[data-column="${column}"] button`).focus();
  }

  row(row) {
    const cells = COLUMNS.map((column) => make("td", { className: column, textContent: written(row, column),
      title: column === "prompt" ? row.prompt : "" }));
    const made = make("tr", { tabIndex: 0, ariaSelected: String(row.prompt_number === this.chosen) }, ...cells);
    made.addEventListener("click", () => this.choose(row.prompt_number));
    made.addEventListener("keydown", (event) => {
      const next = { ArrowDown: made.nextElementSibling, ArrowUp: made.previousElementSibling }[event.key];
      if (next) next.focus();
      else if (event.key === "Enter" || event.key === " ") this.choose(row.prompt_number);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    made.dataset.prompt = row.prompt_number;
    return made;
  }

  choose(prompt) {
    this.chosen = prompt;
    for (const row of this.body.children) row.ariaSelected = String(Number(row.dataset.prompt) === prompt);
    this.drawSteps();
  }

  drawBars(rows) {
    const measure = MEASURES.includes(this.column) ? this.column : MEASURES[0];
    const prompts = [...new Set(rows.map((row) => row.prompt_number))];
    const series = this.models().map((model) => {
      const own = new Map(this.rows.filter((row) => row.model === model).map((row) => [row.prompt_number, row[measure]]));
      return { label: model, bars: true, values: prompts.map((prompt) => own.get(prompt) ?? null) };
    });
    this.barChart.show({ x: prompts.map((_, place) => place), series, title: this.say(measure),
      names: (place) => prompts[place] ?? "" });
  }

  drawSteps() {
    const rows = this.rows.filter((row) => row.prompt_number === this.chosen);
    const most = Math.max(0, ...rows.map((row) => row.distances.length));
    const series = this.models().map((model) => {
      const row = rows.find((one) => one.model === model);
      return { label: model, dots: most < 60, values: Array.from({ length: most }, (_, step) => row?.distances[step] ?? null) };
    });
    this.stepChart.show({ x: Array.from({ length: most }, (_, step) => step + 1), series,
      title: this.say("steps", { prompt: this.chosen }) });
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
