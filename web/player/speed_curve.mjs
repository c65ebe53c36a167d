// @ts-check
// Distances of the frames from the ones before: a curve per walk, its mean dashed, its jumps ringed, the current frame
// marked.

import { Chart } from "../page/chart.mjs";
import { COLOURS, make } from "../page/dom.mjs";
import { counted } from "../page/scale.mjs";
import { jumpNear } from "./jumps.mjs";

/** @typedef {import("../page/walks.mjs").Walk} Walk */
/** @typedef {NonNullable<Chart["plot"]>} Plot */

const HEIGHT = 110;
const DASH = [4, 4];
const DOTTED = 60; // steps: fewer are drawn as dots too
const REACH = 8; // pixels around a jump

export class SpeedCurve {
  /**
   * @param {HTMLElement} host
   * @param {(frame: number) => void} onPick called when a place of the curve is chosen
   */
  constructor(host, onPick) {
    this.host = host;
    this.onPick = onPick;
    /** @type {Walk[]} */
    this.walks = [];
    this.frame = 0;
    this.chart = new Chart(host, HEIGHT);
    this.marker = make("div", { className: "marker" });
    host.addEventListener("pointerdown", (event) => this.pick(event));
    host.addEventListener("pointermove", (event) => event.buttons === 1 && this.pick(event));
  }

  /** @param {Walk[]} walks one or two */
  show(walks) {
    this.walks = walks;
    const steps = Math.max(0, ...walks.map((walk) => walk.distances.length));
    this.chart.show({ x: counted(steps, 1), range: [0, this.total() - 1], marks: (plot) => this.marks(plot),
      series: walks.map((walk) => ({ label: walk.name, dots: steps < DOTTED,
        values: counted(steps).map((step) => walk.distances[step] ?? null) })) });
    this.mark(this.frame);
  }

  /** @param {number} width in pixels */
  resize(width) {
    this.chart.resize(width);
    this.mark(this.frame);
  }

  /**
   * Marks a frame. The marker moves with every one, so it is no part of the chart, which would have to be drawn anew.
   * @param {number} frame
   */
  mark(frame) {
    this.frame = frame;
    const { plot } = this.chart;
    if (!plot) return;
    if (this.marker.parentNode !== plot.over) plot.over.append(this.marker);
    this.marker.style.transform = `translateX(${plot.valToPos(frame, "x")}px)`;
  }

  total() {
    return Math.max(2, ...this.walks.map((walk) => walk.total));
  }

  /** @param {Plot} plot */
  marks(plot) {
    const { ctx } = plot;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    for (const [place, walk] of this.walks.entries()) {
      ctx.strokeStyle = COLOURS[place];
      if (walk.mean) drawMean(plot, walk.mean);
      for (const jump of walk.jumps ?? []) drawRing(plot, jump + 1, walk.distances[jump]);
    }
    ctx.restore();
  }

  /**
   * Picks a frame. The page may be zoomed, so places are shares of the area that is seen. A place on a jump leads to
   * the frame before it.
   * @param {PointerEvent} event
   */
  pick(event) {
    const { plot } = this.chart;
    if (!plot) return;
    const area = plot.over.getBoundingClientRect();
    const perPixel = (this.total() - 1) / area.width;
    const place = (event.clientX - area.left) * perPixel;
    const jumps = event.type === "pointerdown" ? this.walks.flatMap((walk) => walk.jumps ?? []) : [];
    this.onPick(jumpNear(jumps, place, REACH * perPixel) ?? Math.round(place));
  }

  destroy() {
    this.chart.destroy();
  }
}

/**
 * @param {Plot} plot
 * @param {number} mean
 */
function drawMean(plot, mean) {
  const { ctx, bbox } = plot;
  const y = plot.valToPos(mean, "y", true);
  ctx.setLineDash(DASH);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.setLineDash([]);
}

/**
 * @param {Plot} plot
 * @param {number} x
 * @param {number} y
 */
function drawRing(plot, x, y) {
  plot.ctx.beginPath();
  plot.ctx.arc(plot.valToPos(x, "x", true), plot.valToPos(y, "y", true), 5 * devicePixelRatio, 0, 2 * Math.PI);
  plot.ctx.stroke();
}
