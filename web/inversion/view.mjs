// @ts-check
// The receipt of an inversion at a glance: how exact it is, from green to red.

import { keepFromGraph, make, widgetRoot } from "../page/dom.mjs";
import { colourOf, decibels, judged } from "./judged.mjs";

/** @typedef {import("./judged.mjs").Picture} Picture */
/** @typedef {{method: string, steps: number, cfg: number, pictures: Picture[], remarks: string[]}} Receipt */

const SIGNS = { good: "✓", fair: "~", poor: "✗" };

export class ReceiptBadge {
  /** @param {{say: import("../page/texts.mjs").Say}} given */
  constructor({ say }) {
    this.say = say;
    const { element, root } = widgetRoot("smooth-diffusion-receipt", "inversion/view.css");
    this.element = element;
    this.badge = make("div", { className: "badge", role: "status", textContent: say("nothing") });
    keepFromGraph(this.badge);
    root.append(this.badge);
  }

  /** @param {Receipt} receipt */
  show({ method, steps, cfg, pictures, remarks }) {
    this.badge.replaceChildren(
      make("div", { className: "head", textContent: this.say("head", { method, steps, cfg }) }),
      ...pictures.map((picture, place) => this.picture(picture, place + 1)),
      ...remarks.map((remark) => make("div", { className: "remark", textContent: remark })));
  }

  /**
   * @param {Picture} picture
   * @param {number} number from 1
   */
  picture(picture, number) {
    const { share, grade } = judged(picture);
    const sign = make("span", { className: "sign", textContent: SIGNS[grade] });
    sign.style.background = colourOf(share);
    const words = make("span", { textContent: this.words(picture, number) });
    const made = make("div", { className: "picture" }, sign, words);
    made.dataset.grade = grade;
    return made;
  }

  /**
   * @param {Picture} picture
   * @param {number} number from 1
   */
  words({ latent_error: error, against_input: found, ceiling }, number) {
    const lost = error.toExponential(1);
    if (!found || !ceiling) return this.say("latent", { number, lost });
    return this.say("picture", { number, found: decibels(found.psnr), ceiling: decibels(ceiling.psnr),
      ssim: found.ssim.toFixed(4), most: ceiling.ssim.toFixed(4), lost });
  }
}
