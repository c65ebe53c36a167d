// How far each frame is from the one before: a curve per walk, its mean dashed, its jumps ringed, the current frame marked.

import { Chart } from "../page/chart.mjs";
import { COLOURS, make } from "../page/dom.mjs";

const HEIGHT = 110;
const DASH = [4, 4];
const DOTTED = 60; // steps: fewer are drawn as dots too

export class SpeedCurve {
  // host: the element it is drawn in; onPick(frame): called when a place of the curve is chosen
  constructor(host, onPick) {
    this.host = host;
    this.onPick = onPick;
    this.walks = [];
    this.frame = 0;
    this.chart = new Chart(host, HEIGHT);
    this.marker = make("div", { className: "marker" });
    host.addEventListener("pointerdown", (event) => this.pick(event));
    host.addEventListener("pointermove", (event) => event.buttons === 1 && this.pick(event));
  }

  // walks: [{name, distances, jumps, mean, total}], one or two
  show(walks) {
    this.walks = walks;
    const steps = Math.max(0, ...walks.map((walk) => walk.distances.length));
    const x = Array.from({ length: steps }, (_, step) => step + 1);
    this.chart.show({ x, range: [0, this.total() - 1], marks: (plot) => this.marks(plot),
      series: walks.map((walk) => ({ label: walk.name, dots: steps < DOTTED,
        values: x.map((_, step) => walk.distances[step] ?? null) })) });
    this.mark(this.frame);
  }

  resize(width) {
    this.chart.resize(width);
    this.mark(this.frame);
  }

  // Moved on every frame that is shown, so it is no part of the chart, which would have to be drawn anew.
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

  marks(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    for (const [place, walk] of this.walks.entries()) {
      ctx.strokeStyle = COLOURS[place];
      if (walk.mean) {
        const y = plot.valToPos(walk.mean, "y", true);
        ctx.setLineDash(DASH);
        line(ctx, bbox.left, y, bbox.left + bbox.width, y);
        ctx.setLineDash([]);
      }
      for (const jump of walk.jumps ?? []) {
        ctx.beginPath();
        ctx.arc(plot.valToPos(jump + 1, "x", true), plot.valToPos(walk.distances[jump], "y", true),
          5 * devicePixelRatio, 0, 2 * Math.PI);
        ctx.stroke();
      }
    }
    ctx.restore();
  }

  // The page may be zoomed, so places are shares of what is seen. A place on a jump leads to the frame before it.
  pick(event) {
    const { plot } = this.chart;
    if (!plot) return;
    const area = plot.over.getBoundingClientRect();
    const total = this.total();
    const place = ((event.clientX - area.left) / area.width) * (total - 1);
    const reach = (8 / area.width) * (total - 1);
    const jumps = this.walks.flatMap((walk) => walk.jumps ?? []);
    const near = jumps.filter((jump) => Math.abs(jump + 1 - place) <= reach)
      .sort((one, other) => Math.abs(one + 1 - place) - Math.abs(other + 1 - place));
    this.onPick(near.length && event.type === "pointerdown" ? near[0] : Math.round(place));
  }

  destroy() {
    this.chart.destroy();
  }
}

function line(ctx, x1, y1, x2, y2) {
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
}
