// @ts-check
// Curves and bars over numbered things, drawn by uPlot. Every chart of the pack is one of these.

import uPlot from "../vendor/uPlot.mjs";
import { COLOURS } from "./dom.mjs";
import { rangeAlong, rangeUp } from "./scale.mjs";
import { onTheme } from "./theme.mjs";

/**
 * @typedef {{label: string, values: (number | null | undefined)[], bars?: boolean, dots?: boolean, hidden?: boolean}}
 *   Series
 * @typedef {object} Drawing
 * @property {number[]} x numbers that rise
 * @property {Series[]} series
 * @property {[number, number][]} [bands] places of the upper and the lower series between which it is filled
 * @property {(x: number) => string | number} [names] written at the axis
 * @property {string} [title] of its picture
 * @property {[number, number]} [range] first and last of the axis, by default what x needs
 * @property {(plot: uPlot) => void} [marks] draws more on the canvas
 */

const FONT = "10px sans-serif";
const GRID = "rgba(128,128,128,0.25)";
const BAND = "rgba(59,143,212,0.2)";
const NARROWEST = 60; // pixels
const TITLE = 22; // pixels of a picture

/** Draws a chart as wide as its host, anew after every change of width or theme. */
export class Chart {
  /**
   * @param {HTMLElement} host
   * @param {number} height in pixels
   */
  constructor(host, height) {
    this.host = host;
    this.height = height;
    this.width = 0;
    /** @type {uPlot | undefined} */
    this.plot = undefined;
    /** @type {Drawing | undefined} */
    this.shown = undefined;
    this.endTheme = onTheme(() => this.plot?.redraw(false, true));
  }

  /** @param {Drawing} drawing */
  show(drawing) {
    this.shown = drawing;
    this.draw();
  }

  /** @param {number} width in pixels */
  resize(width) {
    if (Math.abs(width - this.width) < 1) return;
    this.width = width;
    this.draw();
  }

  draw() {
    this.plot?.destroy();
    this.plot = undefined;
    if (!this.shown?.x.length || this.width < NARROWEST) return;
    const { x, series, bands = [], names = String, range, marks } = this.shown;
    const bars = series.filter((one) => one.bars).length;
    this.plot = new uPlot({
      width: this.width, height: this.height, legend: { show: false }, cursor: { show: false },
      scales: { x: { time: false, range: range ?? ((_, low, high) => rangeAlong(low ?? 0, high ?? 0, bars > 0)) },
        y: { range: (_, low, high) => rangeUp(low, high) } },
      axes: this.axes(names),
      bands: bands.map(([upper, lower]) => ({ series: [upper + 1, lower + 1], fill: BAND })),
      series: [{}, ...series.map((one, place) => asDrawn(one, place, bars))],
      hooks: { draw: marks ? [marks] : [] },
    }, [x, ...series.map((one) => one.values)], this.host);
  }

  /** @param {(x: number) => string | number} names */
  axes(names) {
    const axis = { stroke: () => getComputedStyle(this.host).color, grid: { stroke: GRID, width: 1 },
      ticks: { show: false }, font: FONT };
    /** @type {(plot: uPlot, places: number[]) => (string | number)[]} */
    const values = (_, places) => places.map((place) => (Number.isInteger(place) ? names(place) : ""));
    return [{ ...axis, size: 20, values }, { ...axis, size: 46 }];
  }

  /**
   * Returns the chart with its title and legend, as a PNG on the widget's own background.
   * @param {string} background
   * @returns {Promise<Blob | null>}
   */
  async picture(background) {
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("2d");
    if (!this.plot || !context) return null;
    const drawn = this.plot.ctx.canvas;
    const ratio = devicePixelRatio;
    Object.assign(canvas, { width: drawn.width, height: drawn.height + TITLE * ratio });
    context.fillStyle = background;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(drawn, 0, TITLE * ratio);
    context.scale(ratio, ratio);
    this.caption(context);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  /** @param {CanvasRenderingContext2D} context */
  caption(context) {
    const { title = "", series = [] } = this.shown ?? {};
    const words = [[title, getComputedStyle(this.host).color],
      ...series.filter((one) => !one.hidden).map((one, place) => [one.label, COLOURS[place]])];
    context.font = "12px sans-serif";
    let left = 8;
    for (const [word, colour] of words) {
      context.fillStyle = colour;
      context.fillText(word, left, 15);
      left += context.measureText(word).width + 14;
    }
  }

  destroy() {
    this.endTheme();
    this.plot?.destroy();
  }
}

/**
 * @param {Series} series
 * @param {number} place
 * @param {number} allBars series that are bars
 */
function asDrawn({ label, bars, dots, hidden }, place, allBars) {
  const stroke = hidden ? "transparent" : COLOURS[place % COLOURS.length];
  const drawn = { label, stroke, width: 1.5, points: { show: Boolean(dots), size: 5 } };
  if (!bars) return drawn;
  const align = allBars > 1 ? (place ? 1 : -1) : 0;
  return { ...drawn, fill: stroke, paths: uPlot.paths.bars({ size: [allBars > 1 ? 0.35 : 0.6, 40], align }) };
}
