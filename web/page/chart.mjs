// Curves and bars over numbered things, drawn by uPlot. Every chart of the pack is one of these.

import uPlot from "../vendor/uPlot.mjs";
import { COLOURS } from "./dom.mjs";
import { onTheme } from "./theme.mjs";

const FONT = "10px sans-serif";
const GRID = "rgba(128,128,128,0.25)";
const NARROWEST = 60; // pixels
const HEADROOM = 1.15; // of the highest value, for what is drawn around it
const TITLE = 22; // pixels of a picture

export class Chart {
  // host: the element it is drawn in; height: in pixels
  constructor(host, height) {
    Object.assign(this, { host, height, width: 0, endTheme: onTheme(() => this.plot?.redraw(false, true)) });
  }

  // x: numbers that rise; series: [{label, values, bars?, dots?, hidden?}], a value may be null
  // bands: [[upper, lower]] places in series between which it is filled; names(x): what stands at the axis
  // range: [first, last] of the axis, by default what x needs; marks(plot): draws more on the canvas
  show({ x, series, bands = [], names = String, title = "", range, marks }) {
    this.shown = { x, series, bands, names, title, range, marks };
    this.draw();
  }

  resize(width) {
    if (Math.abs(width - this.width) < 1) return;
    this.width = width;
    this.draw();
  }

  draw() {
    this.plot?.destroy();
    this.plot = undefined;
    if (!this.shown?.x.length || this.width < NARROWEST) return;
    const { x, series, bands, names, range, marks } = this.shown;
    const axis = { stroke: () => getComputedStyle(this.host).color, grid: { stroke: GRID, width: 1 },
      ticks: { show: false }, font: FONT };
    const bars = series.filter((one) => one.bars).length;
    const room = bars ? 0.5 : 0;
    const all = (_, low, high) => [low - room, Math.max(high, low + (bars ? 0 : 1)) + room];
    this.plot = new uPlot({
      width: this.width, height: this.height, legend: { show: false }, cursor: { show: false },
      scales: { x: { time: false, range: range ?? all },
        y: { range: (_, low, high) => [Math.min(0, low), (high || 1) * HEADROOM] } },
      axes: [{ ...axis, size: 20, values: (_, places) => places.map((place) => Number.isInteger(place) ? names(place) : "") },
        { ...axis, size: 46 }],
      bands: bands.map(([upper, lower]) => ({ series: [upper + 1, lower + 1], fill: "rgba(59,143,212,0.2)" })),
      series: [{}, ...series.map((one, place) => this.asDrawn(one, place, bars))],
      hooks: { draw: marks ? [marks] : [] },
    }, [x, ...series.map((one) => one.values)], this.host);
  }

  asDrawn({ label, bars, dots, hidden }, place, allBars) {
    const stroke = hidden ? "transparent" : COLOURS[place % COLOURS.length];
    const drawn = { label, stroke, width: 1.5, points: { show: Boolean(dots), size: 5 } };
    if (!bars) return drawn;
    const align = allBars > 1 ? (place ? 1 : -1) : 0;
    return { ...drawn, fill: stroke, paths: uPlot.paths.bars({ size: [allBars > 1 ? 0.35 : 0.6, 40], align }) };
  }

  // The chart with its title and legend, as a PNG on the widget's own background.
  async picture(background) {
    const drawn = this.plot.ctx.canvas;
    const ratio = devicePixelRatio;
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: drawn.width, height: drawn.height + TITLE * ratio });
    const context = canvas.getContext("2d");
    context.fillStyle = background;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(drawn, 0, TITLE * ratio);
    context.scale(ratio, ratio);
    context.font = "12px sans-serif";
    let left = 8;
    const words = [[this.shown.title, getComputedStyle(this.host).color],
      ...this.shown.series.filter((one) => !one.hidden).map((one, place) => [one.label, COLOURS[place]])];
    for (const [word, colour] of words) {
      context.fillStyle = colour;
      context.fillText(word, left, 15);
      left += context.measureText(word).width + 14;
    }
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  destroy() {
    this.endTheme();
    this.plot?.destroy();
  }
}
