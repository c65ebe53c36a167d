// @ts-check
// The picture of one walk, under its name.

import { COLOURS, make } from "../page/dom.mjs";
import { Frames } from "./frames.mjs";

/** @typedef {import("../page/walks.mjs").Walk} Walk */

export class WalkFigure {
  /**
   * @param {Walk} walk
   * @param {(number: number) => string} addressOf a frame
   * @param {() => void} onReady called when a frame can be drawn, or is gone
   */
  constructor(walk, addressOf, onReady) {
    this.walk = { ...walk };
    this.canvas = make("canvas", { width: 1, height: 1 });
    this.caption = make("figcaption", { textContent: walk.name });
    this.element = make("figure", {}, this.canvas, this.caption);
    this.frames = new Frames(addressOf, onReady);
    this.frames.available = walk.count ?? walk.distances.length + 1;
  }

  /**
   * Takes more frames, and the lengths of the steps to them.
   * @param {number} count
   * @param {number[]} lengths
   */
  grow(count, lengths) {
    this.frames.available += count;
    this.walk.distances = [...this.walk.distances, ...lengths];
  }

  /**
   * Shows or hides it as one of several.
   * @param {number} place
   * @param {boolean} named
   * @param {boolean} hidden
   */
  settle(place, named, hidden) {
    this.element.hidden = hidden;
    this.caption.hidden = !named;
    this.caption.style.color = COLOURS[place];
  }

  /**
   * Draws a frame, or the nearest one that is there; returns false when it is gone and there is none.
   * @param {number} frame
   * @param {number} stride
   * @param {boolean} loop
   */
  draw(frame, stride, loop) {
    this.frames.want(frame, stride, loop);
    const bitmap = this.frames.at(frame);
    if (!bitmap) return !this.frames.failed.has(frame);
    const { canvas } = this;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height)
      Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
    canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
    canvas.dataset.frame = this.frames.has(frame) ? String(frame) : "";
    return true;
  }
}
