// The parts of uPlot that the pack uses.

type Range = (plot: uPlot, low: number | null, high: number | null) => [number, number];

interface Axis {
  stroke: () => string;
  grid: { stroke: string; width: number };
  ticks: { show: boolean };
  font: string;
  size: number;
  values?: (plot: uPlot, places: number[]) => (string | number)[];
}

interface Series {
  label?: string;
  stroke?: string;
  fill?: string;
  width?: number;
  points?: { show: boolean; size: number };
  paths?: object;
}

interface Options {
  width: number;
  height: number;
  legend: { show: boolean };
  cursor: { show: boolean };
  scales: { x: { time: boolean; range: Range | [number, number] }; y: { range: Range } };
  axes: Axis[];
  bands: { series: [number, number]; fill: string }[];
  series: Series[];
  hooks: { draw: ((plot: uPlot) => void)[] };
}

export default class uPlot {
  static readonly paths: { bars(options: { size: [number, number]; align: number }): object };
  readonly ctx: CanvasRenderingContext2D;
  readonly bbox: { left: number; top: number; width: number; height: number };
  readonly over: HTMLDivElement;
  constructor(options: Options, data: (number | null | undefined)[][], host: HTMLElement);
  destroy(): void;
  redraw(rebuildPaths: boolean, recalcAxes: boolean): void;
  valToPos(value: number, scale: "x" | "y", canvasPixels?: boolean): number;
}
