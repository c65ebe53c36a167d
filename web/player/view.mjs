// @ts-check
// Plays and scrubs the frames of one walk, or of two on one time line, above the curve of their speed.

import { keepFromGraph, make, widgetRoot } from "../page/dom.mjs";
import { Clock } from "./clock.mjs";
import { Controls } from "./controls.mjs";
import { SpeedCurve } from "./speed_curve.mjs";
import { WalkFigure } from "./figure.mjs";
import { jumpsOf, nextJump } from "./jumps.mjs";
import { frameOfKey } from "./keys.mjs";
import { DEFAULTS } from "./settings.mjs";
import { wordsOf } from "./words.mjs";

/** @typedef {import("../page/walks.mjs").Walk} Walk */
/** @typedef {import("./settings.mjs").Settings} Settings */

export class WalkPlayer {
  /**
   * addressOf(walk, number): address of a frame; onSettings(settings): called when the user changes them
   * @param {{addressOf: (walk: Walk, number: number) => string, say: import("../page/texts.mjs").Say,
   *   onSettings: (settings: Settings) => void}} given
   */
  constructor({ addressOf, say, onSettings }) {
    this.addressOf = addressOf;
    this.say = say;
    this.onSettings = onSettings;
    this.settings = DEFAULTS;
    /** @type {WalkFigure[]} */
    this.figures = [];
    this.waiting = 0; // for the page's next frame, to draw
    this.clock = new Clock(() => Math.max(0, ...this.shown().map(({ frames }) => frames.available)));
    this.pictures = make("div", { className: "pictures" });
    const curve = make("div", { className: "curve", ariaHidden: "true" }); // the same is said in words below
    this.curve = new SpeedCurve(curve, (frame) => this.go(frame));
    this.controls = new Controls(say, { toggle: () => this.toggle(), go: (frame) => this.go(frame),
      nextJump: () => this.nextJump(), set: (change) => this.set(change) });
    this.said = make("div", { className: "said" });
    this.player = make("div", { className: "player", tabIndex: 0, role: "group", ariaLabel: say("player") },
      this.pictures, curve, this.controls.element, this.said);
    this.player.addEventListener("keydown", (event) => this.key(event));
    keepFromGraph(this.player);
    const { element, root } = widgetRoot("smooth-diffusion-player", "player/view.css", "vendor/uPlot.min.css");
    this.element = element;
    root.append(this.player);
    this.observer = new ResizeObserver(() => this.curve.resize(this.player.clientWidth));
    this.observer.observe(this.player);
    this.settled();
  }

  /**
   * Shows one walk, or two on one time line.
   * @param {Walk[]} walks
   */
  show(walks) {
    for (const { frames } of this.figures) frames.clear();
    this.figures = walks.map((walk) =>
      new WalkFigure(walk, (number) => this.addressOf(walk, number), () => this.draw()));
    this.pictures.replaceChildren(...this.figures.map((figure) => figure.element));
    this.clock.move(this.clock.frame);
    this.settled();
    this.changed();
  }

  /** Follows the frames that arrive, until the user moves. */
  follow() {
    this.clock.touched = false;
  }

  /**
   * Takes more frames of the walk in a folder.
   * @param {string} subfolder
   * @param {number} count
   * @param {number[]} lengths of the steps to them
   */
  grow(subfolder, count, lengths) {
    const figure = this.figures.find(({ walk }) => walk.subfolder === subfolder);
    if (!figure) return;
    figure.grow(count, lengths);
    this.clock.follow();
    this.changed();
  }

  /** Lists the figures that are seen. */
  shown() {
    return this.settings.both ? this.figures : this.figures.slice(0, 1);
  }

  walks() {
    return this.shown().map(({ walk }) => walk);
  }

  /** @param {number} frame */
  go(frame) {
    this.clock.go(frame);
    this.drawSoon();
  }

  nextJump() {
    const jump = nextJump(jumpsOf(this.walks()), this.clock.frame);
    if (jump !== undefined) this.go(jump);
  }

  toggle() {
    this.clock.toggle();
    if (this.clock.playing) requestAnimationFrame((now) => this.play(now));
    this.settled();
  }

  /** @param {number} now */
  play(now) {
    if (!this.clock.playing) return;
    if (!this.element.isConnected) return this.toggle();
    const before = this.clock.frame;
    this.clock.tick(now);
    if (this.clock.frame !== before) this.draw();
    if (this.clock.playing) requestAnimationFrame((later) => this.play(later));
    else this.settled();
  }

  /** @param {Partial<Settings>} change by the user */
  set(change) {
    this.clock.restart();
    this.restore({ ...this.settings, ...change });
    this.changed();
    this.onSettings(this.settings);
  }

  /** @param {Partial<Settings>} settings */
  restore(settings) {
    this.settings = { ...DEFAULTS, ...settings };
    this.clock.fps = this.settings.fps;
    this.clock.loop = this.settings.loop;
    this.settled();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.target instanceof HTMLInputElement && event.target.type === "number") return event.stopPropagation();
    const frame = frameOfKey(event.key, this.clock.frame, this.clock.last);
    const pressed = event.key === " " && event.target instanceof HTMLButtonElement; // the browser does the rest
    if (frame !== undefined) this.go(frame);
    else if (event.key === "j" || event.key === "J") this.nextJump();
    else if (event.key !== " ") return;
    else if (!pressed) this.toggle();
    if (!pressed) event.preventDefault();
    event.stopPropagation();
  }

  /** Shows the settings. */
  settled() {
    const several = this.figures.length > 1;
    this.controls.settle(this.settings, this.clock.playing, several);
    this.figures.forEach((figure, place) => figure.settle(place, several, place > 0 && !this.settings.both));
  }

  /** Shows everything that is known of the walks. */
  changed() {
    const walks = this.walks();
    this.controls.reach(this.clock.last, jumpsOf(walks).length > 0);
    this.curve.show(walks);
    this.curve.resize(this.player.clientWidth);
    const named = this.figures.length > 1;
    this.said.textContent = this.shown().map(({ walk, frames }) =>
      (named ? `${walk.name}: ` : "") + wordsOf(walk, frames.available, this.say)).join("\n");
    this.draw();
  }

  drawSoon() {
    this.waiting ||= requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  draw() {
    const { frame, last, loop, playing } = this.clock;
    const stride = this.clock.step();
    for (const figure of this.shown())
      if (!figure.draw(frame, stride, loop && playing)) this.said.textContent = this.say("gone");
    this.controls.mark(frame, last);
    this.curve.mark(frame);
  }

  destroy() {
    this.clock.playing = false;
    this.observer.disconnect();
    this.curve.destroy();
    for (const { frames } of this.figures) frames.clear();
  }
}
