// @ts-check
// The keyframe strip on Seed Walk. It changes ordinary inputs alone: the seeds of its node, and the easings of the Walk
// Schedule that drives the walk.

import { after, before, isWired, kept, kindOf, setWidget, widgetOf } from "../page/graph.mjs";
import { say } from "../page/texts.mjs";
import { NodeView, changes } from "../page/views.mjs";
import { WALK, frameAddress } from "../page/walks.mjs";
import { readEasings, writeEasings } from "./schedule.mjs";
import { readSeeds, writeSeeds } from "./seeds.mjs";
import { KeyframeStrip } from "./view.mjs";

const SAY = say("strip");
const SCHEDULE = "SmoothWalkSchedule";
const SAMPLER = "SmoothWalkSampler";
const TAKE_A_WALK = new Set([SAMPLER, "SmoothPaceWalk", "SmoothWalkToVideo"]);

/** @extends {NodeView<KeyframeStrip, object>} */
export class StripOnNode extends NodeView {
  static kinds = new Set(["SmoothSeedWalk"]);
  static widget = "smooth_diffusion.keyframes";
  static lowest = 190;

  /** @param {Host.Node} node */
  constructor(node) {
    super(node, new KeyframeStrip({ say: SAY, onSeeds: (seeds) => this.write(seeds),
      onEasings: (easings) => this.bend(easings) }));
    this.refresh = this.refresh.bind(this);
    this.listen(widgetOf(node, "seeds"));
    for (const kind of ["pointerenter", "focusin"]) this.element.addEventListener(kind, this.refresh);
    changes.addEventListener("shown", this.refresh);
    this.observer = new ResizeObserver(this.refresh); // once it is on the page, and its wires are there
    this.observer.observe(this.element);
  }

  /** @param {Host.Widget | undefined} seeds */
  listen(seeds) {
    if (!seeds) return;
    const { callback } = seeds;
    seeds.callback = (...given) => {
      const answer = callback?.apply(seeds, given);
      this.refresh();
      return answer;
    };
  }

  /** Reads the inputs anew, which may have been changed elsewhere, and shows them. */
  refresh() {
    const seeds = readSeeds(widgetOf(this.node, "seeds")?.value ?? "");
    const schedule = this.schedule();
    const loop = Boolean(widgetOf(schedule, "loop")?.value);
    const known = schedule && !isWired(schedule, "easings");
    this.shown.show({ seeds, pictures: this.pictures(), loop,
      easings: known ? readEasings(schedule, seeds.length - (loop ? 0 : 1)) : undefined,
      locked: isWired(this.node, "seeds") ? SAY("wired") : "" });
  }

  /** Returns the schedule of the walk: wired to this node, or to the node that takes its noise. */
  schedule() {
    const nodes = [this.node, ...after(this.node, TAKE_A_WALK)].map((node) => before(node, "walk"));
    return nodes.find((node) => node && kindOf(node) === SCHEDULE) ?? undefined;
  }

  /** Returns seed -> address of the frame that shows it in the last run of the nearest Walk Sampler that has it. */
  pictures() {
    /** @type {Map<string, string>} */
    const found = new Map();
    for (const node of after(this.node, new Set([SAMPLER]))) {
      const { walk } = /** @type {{walk?: import("../page/walks.mjs").Walk}} */ (kept(node, WALK));
      for (const { seed, frame } of walk?.keyframes ?? [])
        if (walk && !found.has(seed)) found.set(seed, frameAddress(walk, frame));
    }
    return found;
  }

  /** @param {string[]} seeds */
  write(seeds) {
    setWidget(this.node, "seeds", writeSeeds(seeds));
    this.refresh();
  }

  /** @param {string[]} easings */
  bend(easings) {
    const schedule = this.schedule();
    if (schedule) writeEasings(schedule, easings);
    this.refresh();
  }

  restore() {
    this.refresh();
  }

  destroy() {
    this.observer.disconnect();
    changes.removeEventListener("shown", this.refresh);
  }
}
