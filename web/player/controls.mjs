// @ts-check
// The controls of the walk player: buttons, the place among the frames, and the frame rate.

import { button, make } from "../page/dom.mjs";
import { DEFAULTS, FASTEST, SLOWEST, rateOf } from "./settings.mjs";

/** @typedef {import("./settings.mjs").Settings} Settings */

export class Controls {
  /**
   * @param {import("../page/texts.mjs").Say} say
   * @param {{toggle: () => void, go: (frame: number) => void, nextJump: () => void,
   *   set: (change: Partial<Settings>) => void}} deeds of the player
   */
  constructor(say, { toggle, go, nextJump, set }) {
    this.say = say;
    this.settings = DEFAULTS;
    this.play = button("▶", say("play"), toggle);
    this.slider = make("input", { type: "range", min: "0", max: "0", value: "0", ariaLabel: say("frame") });
    this.slider.addEventListener("input", () => go(Number(this.slider.value)));
    this.place = make("span", { className: "place" });
    this.jump = button("⚡", say("next_jump"), nextJump);
    this.loop = button("⟳", say("loop"), () => set({ loop: !this.settings.loop }));
    this.both = button("A|B", say("compare"), () => set({ both: !this.settings.both }));
    this.rate = make("input", { type: "number", min: String(SLOWEST), max: String(FASTEST), step: "1",
      title: say("fps"), ariaLabel: say("fps") });
    this.rate.addEventListener("change", () => set({ fps: rateOf(this.rate.value) }));
    this.element = make("div", { className: "controls" },
      this.play, this.slider, this.place, this.jump, this.loop, this.both, this.rate);
  }

  /**
   * Shows the settings.
   * @param {Settings} settings
   * @param {boolean} playing
   * @param {boolean} compared two walks are shown
   */
  settle(settings, playing, compared) {
    this.settings = settings;
    this.play.textContent = playing ? "⏸" : "▶";
    this.play.title = this.play.ariaLabel = this.say(playing ? "pause" : "play");
    this.loop.ariaPressed = String(settings.loop);
    this.both.ariaPressed = String(settings.both);
    this.both.hidden = !compared;
    this.rate.value = String(settings.fps);
  }

  /**
   * Shows how far the frames go.
   * @param {number} last
   * @param {boolean} jumps there are some
   */
  reach(last, jumps) {
    this.slider.max = String(last);
    this.jump.disabled = !jumps;
  }

  /**
   * Shows the place among the frames.
   * @param {number} frame
   * @param {number} last
   */
  mark(frame, last) {
    this.slider.value = String(frame);
    this.slider.ariaValueText = this.say("place", { frame, last });
    this.place.textContent = `${frame} / ${last}`;
  }
}
