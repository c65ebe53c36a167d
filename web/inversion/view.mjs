// How exact an inversion is, at a glance: from green to red by how much less of the picture comes back than the VAE
// alone gives back, or by what the latent has lost where there is no VAE to compare with.

import { keepFromGraph, make, widgetRoot } from "../page/dom.mjs";

const WORST_DB = 6; // below the VAE's own PSNR
const CLEAR = [0.5, 3]; // dB: up to here good, up to here fair
const BEST_ERROR = 1e-4, WORST_ERROR = 1e-1; // relative error of the latent

export class ReceiptBadge {
  constructor({ say }) {
    this.say = say;
    const { element, root } = widgetRoot("smooth-diffusion-receipt", "inversion/view.css");
    this.element = element;
    this.badge = make("div", { className: "badge", role: "status", textContent: say("nothing") });
    keepFromGraph(this.badge);
    root.append(this.badge);
  }

  // receipt: {method, steps, cfg, pictures: [{latent_error, against_input, ceiling}], remarks}
  show(receipt) {
    const { method, steps, cfg, pictures, remarks } = receipt;
    this.badge.replaceChildren(
      make("div", { className: "head", textContent: this.say("head", { method, steps, cfg }) }),
      ...pictures.map((picture, place) => this.picture(picture, place + 1)),
      ...remarks.map((remark) => make("div", { className: "remark", textContent: remark })));
  }

  picture(picture, number) {
    const { share, grade } = judged(picture);
    const sign = make("span", { className: "sign", textContent: { good: "✓", fair: "~", poor: "✗" }[grade] });
    sign.style.background = `hsl(${Math.round(120 * (1 - share))} 65% 38%)`;
    const made = make("div", { className: "picture" }, sign, make("span", { textContent: this.words(picture, number) }));
    made.dataset.grade = grade;
    return made;
  }

  words({ latent_error: error, against_input: found, ceiling }, number) {
    const lost = error.toExponential(1);
    if (!found || !ceiling) return this.say("latent", { number, lost });
    const db = (psnr) => (psnr === null ? "∞" : psnr.toFixed(2));
    return this.say("picture", { number, found: db(found.psnr), ceiling: db(ceiling.psnr), ssim: found.ssim.toFixed(4),
      most: ceiling.ssim.toFixed(4), lost });
  }
}

// share: 0 for nothing lost to 1 for WORST and beyond; grade: good, fair or poor
export function judged({ latent_error: error, against_input: found, ceiling }) {
  if (found && ceiling) {
    const lost = (ceiling.psnr ?? Infinity) - (found.psnr ?? Infinity);
    const below = Number.isNaN(lost) ? 0 : Math.max(0, lost); // both are the picture itself
    return { share: Math.min(1, below / WORST_DB), grade: below <= CLEAR[0] ? "good" : below <= CLEAR[1] ? "fair" : "poor" };
  }
  const span = Math.log10(WORST_ERROR / BEST_ERROR);
  const share = Math.min(1, Math.max(0, Math.log10(Math.max(error, BEST_ERROR) / BEST_ERROR) / span));
  return { share, grade: share <= 1 / 3 ? "good" : share < 1 ? "fair" : "poor" };
}
