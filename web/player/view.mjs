// Plays and scrubs the frames of one walk, or of two on one time line, above the curve of their speed.

import { COLOURS, button, keepFromGraph, make, widgetRoot } from "../page/dom.mjs";
import { Frames } from "./frames.mjs";
import { SpeedCurve } from "./speed_curve.mjs";

const DEFAULTS = { fps: 12, loop: true, both: true };
const JUMP_KEYS = new Set(["j", "J"]);

export class WalkPlayer {
  // addressOf(walk, number): where a picture is; say(key, values): a text in the user's language;
  // onSettings(settings): called when the user changes frame rate, loop or comparison
  constructor({ addressOf, say, onSettings }) {
    this.addressOf = addressOf;
    this.say = say;
    this.onSettings = onSettings;
    this.settings = { ...DEFAULTS };
    this.walks = []; // {name, subfolder, total, distances, mean, cv, jumps, frames: Frames, canvas, figure}
    this.frame = 0;
    this.drawn = undefined; // the frame that was drawn last
    this.stride = 1; // frames from one drawn to the next
    this.playing = false;
    const { element, root } = widgetRoot("smooth-diffusion-player", "player/view.css", "vendor/uPlot.min.css");
    this.element = element;
    this.build(root);
  }

  build(root) {
    this.player = make("div", { className: "player", tabIndex: 0, role: "group", ariaLabel: this.say("player") });
    this.pictures = make("div", { className: "pictures" });
    const curve = make("div", { className: "curve" });
    curve.setAttribute("aria-hidden", "true"); // the same is said in words below
    this.curve = new SpeedCurve(curve, (frame) => this.go(frame));
    this.playButton = button("▶", this.say("play"), () => this.toggle());
    this.slider = make("input", { type: "range", min: 0, max: 0, value: 0, ariaLabel: this.say("frame") });
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    this.place = make("span", { className: "place" });
    this.jumpButton = button("⚡", this.say("next_jump"), () => this.nextJump());
    this.loopButton = button("⟳", this.say("loop"), () => this.set({ loop: !this.settings.loop }));
    this.bothButton = button("A|B", this.say("compare"), () => this.set({ both: !this.settings.both }));
    this.rate = make("input", { type: "number", min: 1, max: 60, step: 1, title: this.say("fps"),
      ariaLabel: this.say("fps") });
    this.rate.addEventListener("change", () => this.set({ fps: Math.min(60, Math.max(1, Number(this.rate.value) || 12)) }));
    this.said = make("div", { className: "said" });
    const controls = make("div", { className: "controls" });
    controls.append(this.playButton, this.slider, this.place, this.jumpButton, this.loopButton, this.bothButton, this.rate);
    this.player.append(this.pictures, curve, controls, this.said);
    root.append(this.player);
    this.player.addEventListener("keydown", (event) => this.key(event));
    keepFromGraph(this.player);
    this.observer = new ResizeObserver(() => this.curve.resize(this.player.clientWidth));
    this.observer.observe(this.player);
    this.settled();
  }

  // Show one walk, or two on one time line. count: of its frames that are there; all of them, if it is not said.
  show(walks) {
    for (const walk of this.walks) walk.frames.clear();
    this.pictures.replaceChildren();
    this.walks = walks.map((walk) => this.opened(walk));
    this.frame = Math.min(this.frame, Math.max(0, this.known() - 1));
    this.settled();
    this.changed();
  }

  opened(walk) {
    const canvas = make("canvas", { width: 1, height: 1 });
    const figure = make("figure", {});
    const caption = make("figcaption", { textContent: walk.name });
    figure.append(canvas, caption);
    this.pictures.append(figure);
    const frames = new Frames((number) => this.addressOf(walk, number), () => this.draw());
    frames.available = walk.count ?? walk.distances.length + 1;
    return { ...walk, frames, canvas, figure, caption };
  }

  // More frames of the walk in a folder are there.
  grow(subfolder, count, lengths) {
    const walk = this.walks.find((one) => one.subfolder === subfolder);
    if (!walk) return;
    walk.frames.available += count;
    walk.distances = [...walk.distances, ...lengths];
    if (!this.playing && !this.touched) this.frame = this.known() - 1; // follow what arrives
    this.changed();
  }

  known() {
    return Math.max(0, ...this.shown().map((walk) => walk.frames.available));
  }

  shown() {
    return this.settings.both ? this.walks : this.walks.slice(0, 1);
  }

  jumps() {
    return [...new Set(this.shown().flatMap((walk) => walk.jumps ?? []))].sort((one, other) => one - other);
  }

  go(frame) {
    this.touched = true;
    this.began = undefined; // playing goes on from here
    this.move(frame);
  }

  move(frame) {
    this.frame = Math.min(Math.max(0, frame), Math.max(0, this.known() - 1));
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  nextJump() {
    const jumps = this.jumps();
    if (jumps.length) this.go(jumps.find((jump) => jump > this.frame) ?? jumps[0]);
  }

  toggle() {
    this.playing = !this.playing;
    this.touched = true;
    if (this.playing) {
      if (!this.settings.loop && this.frame >= this.known() - 1) this.frame = 0;
      this.began = undefined;
      requestAnimationFrame((now) => this.play(now));
    }
    this.settled();
  }

  play(now) {
    if (!this.playing) return;
    if (!this.element.isConnected) return this.toggle();
    this.began ??= now - (this.frame * 1000) / this.settings.fps;
    const next = Math.floor(((now - this.began) * this.settings.fps) / 1000);
    const last = this.known() - 1;
    if (next > last && !this.settings.loop) {
      this.move(last);
      return this.toggle();
    }
    const frame = last > 0 ? next % (last + 1) : 0;
    if (frame !== this.frame) {
      this.frame = frame;
      this.draw();
    }
    requestAnimationFrame((later) => this.play(later));
  }

  set(change) {
    Object.assign(this.settings, change);
    this.began = undefined;
    this.settled();
    this.changed();
    this.onSettings?.(this.settings);
  }

  restore(settings) {
    this.settings = { ...DEFAULTS, ...settings };
    this.settled();
  }

  key(event) {
    if (event.target instanceof HTMLInputElement && event.target.type === "number") return event.stopPropagation();
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
    if (event.key === " " && !(event.target instanceof HTMLButtonElement)) this.toggle();
    else if (event.key in moves) this.go(this.frame + moves[event.key]);
    else if (event.key === "Home") this.go(0);
    else if (event.key === "End") this.go(this.known() - 1);
    else if (JUMP_KEYS.has(event.key)) this.nextJump();
    else {
      if (event.key === " ") event.stopPropagation();
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  // After a change of settings: what the controls say.
  settled() {
    const { loop, both, fps } = this.settings;
    this.playButton.textContent = this.playing ? "⏸" : "▶";
    this.playButton.title = this.playButton.ariaLabel = this.say(this.playing ? "pause" : "play");
    this.loopButton.ariaPressed = String(loop);
    this.bothButton.ariaPressed = String(both);
    this.bothButton.hidden = this.walks.length < 2;
    this.rate.value = fps;
    for (const [place, walk] of this.walks.entries()) {
      walk.figure.hidden = place > 0 && !both;
      walk.caption.hidden = this.walks.length < 2;
      walk.caption.style.color = COLOURS[place];
    }
  }

  // After a change of what is known of the walks.
  changed() {
    this.slider.max = Math.max(0, this.known() - 1);
    this.jumpButton.disabled = !this.jumps().length;
    this.curve.show(this.shown());
    this.curve.resize(this.player.clientWidth);
    this.said.textContent = this.shown().map((walk) => this.words(walk)).join("\n");
    this.draw();
  }

  words(walk) {
    const named = this.walks.length > 1 ? `${walk.name}: ` : "";
    if (walk.cv === undefined) return named + this.say("rendered", { count: walk.frames.available, total: walk.total });
    const numbers = { cv: walk.cv.toFixed(3), istd: walk.istd.toPrecision(3), mean: walk.mean.toPrecision(3) };
    const jumps = walk.jumps.length ? this.say("jumps", { at: walk.jumps.map((jump) => `${jump}-${jump + 1}`).join(", ") })
      : this.say("no_jumps");
    return `${named}${this.say("scores", numbers)} ${jumps}`;
  }

  draw() {
    const last = Math.max(0, this.known() - 1);
    if (this.frame !== this.drawn) this.stride = this.playing ? 1 : this.frame - (this.drawn ?? this.frame) || 1;
    this.drawn = this.frame;
    for (const walk of this.shown()) {
      walk.frames.want(this.frame, this.stride, this.settings.loop && this.playing);
      const bitmap = walk.frames.at(this.frame);
      if (walk.frames.failed.has(this.frame) && !bitmap) this.said.textContent = this.say("gone");
      if (!bitmap) continue;
      if (walk.canvas.width !== bitmap.width || walk.canvas.height !== bitmap.height)
        Object.assign(walk.canvas, { width: bitmap.width, height: bitmap.height });
      walk.canvas.getContext("2d").drawImage(bitmap, 0, 0);
      walk.canvas.dataset.frame = walk.frames.has(this.frame) ? this.frame : "";
    }
    this.slider.value = this.frame;
    this.slider.ariaValueText = this.say("place", { frame: this.frame, last });
    this.place.textContent = `${this.frame} / ${last}`;
    this.curve.mark(this.frame);
  }

  destroy() {
    this.playing = false;
    this.observer.disconnect();
    this.curve.destroy();
    for (const walk of this.walks) walk.frames.clear();
  }
}
