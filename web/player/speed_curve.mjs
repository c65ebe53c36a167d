// How far each frame is from the one before: a curve per walk, its mean dashed, its jumps ringed, the current frame marked.

import { COLOURS, make } from "../page/dom.mjs";
import { onTheme } from "../page/theme.mjs";
import uPlot from "../vendor/uPlot.mjs";

const HEIGHT = 110;
const DASH = [4, 4];

export class SpeedCurve {
  // host: the element it is drawn in; onPick(frame): called when a place of the curve is chosen
  constructor(host, onPick) {
    this.host = host;
    this.onPick = onPick;
    this.walks = [];
    this.frame = 0;
    this.width = 0;
    this.marker = make("div", { className: "marker" });
    this.endTheme = onTheme(() => this.plot?.redraw(false, true));
    host.addEventListener("pointerdown", (event) => this.pick(event));
    host.addEventListener("pointermove", (event) => event.buttons === 1 && this.pick(event));
  }

  // walks: [{name, distances, jumps, mean, total}], one or two
  show(walks) {
    this.walks = walks;
    this.draw();
  }

  // Moved on every frame that is shown, so it is no part of the chart, which would have to be drawn anew.
  mark(frame) {
    this.frame = frame;
    if (this.plot) this.marker.style.transform = `translateX(${this.plot.valToPos(frame, "x")}px)`;
  }

  resize(width) {
    if (Math.abs(width - this.width) < 1) return;
    this.width = width;
    this.draw();
  }

  draw() {
    this.plot?.destroy();
    this.plot = undefined;
    const steps = Math.max(0, ...this.walks.map((walk) => walk.distances.length));
    const total = Math.max(2, ...this.walks.map((walk) => walk.total));
    if (!steps || this.width < 60) return;
    const numbers = Array.from({ length: steps }, (_, step) => step + 1);
    const axis = { stroke: () => getComputedStyle(this.host).color, grid: { stroke: "rgba(128,128,128,0.25)", width: 1 }, ticks: { show: false },
      font: "10px sans-serif", size: 28 };
    this.plot = new uPlot({
      width: this.width, height: HEIGHT, legend: { show: false }, cursor: { show: false },
      scales: { x: { time: false, range: [0, total - 1] }, y: { range: (_, low, high) => [0, (high || 1) * 1.15] } },
      axes: [{ ...axis, size: 20 }, { ...axis, size: 40 }],
      series: [{}, ...this.walks.map((walk, place) => ({
        label: walk.name, stroke: COLOURS[place], width: 1.5, points: { show: steps < 60, size: 4 } }))],
      hooks: { draw: [(plot) => this.marks(plot)] },
    }, [numbers, ...this.walks.map((walk) => numbers.map((_, step) => walk.distances[step] ?? null))], this.host);
    this.plot.over.append(this.marker);
    this.mark(this.frame);
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
    if (!this.plot) return;
    const area = this.plot.over.getBoundingClientRect();
    const total = Math.max(2, ...this.walks.map((walk) => walk.total));
    const place = ((event.clientX - area.left) / area.width) * (total - 1);
    const reach = (8 / area.width) * (total - 1);
    const jumps = this.walks.flatMap((walk) => walk.jumps ?? []);
    const near = jumps.filter((jump) => Math.abs(jump + 1 - place) <= reach)
      .sort((one, other) => Math.abs(one + 1 - place) - Math.abs(other + 1 - place));
    this.onPick(near.length && event.type === "pointerdown" ? near[0] : Math.round(place));
  }

  destroy() {
    this.endTheme();
    this.plot?.destroy();
  }
}

function line(ctx, x1, y1, x2, y2) {
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
}
