// @ts-check
// The grade of an inversion: by how much less of the picture comes back than the VAE alone gives back, or by what the
// latent has lost where there is no VAE to compare with.

/**
 * psnr: in dB, null for the picture itself
 * @typedef {{psnr: number | null, ssim: number}} Quality
 * @typedef {{latent_error: number, against_input: Quality | null, ceiling: Quality | null}} Picture
 * @typedef {"good" | "fair" | "poor"} Grade
 */

const WORST_DB = 6; // below the VAE's own PSNR
const CLEAR = [0.5, 3]; // dB: up to here good, up to here fair
const BEST_ERROR = 1e-4, WORST_ERROR = 1e-1; // relative error of the latent

/**
 * Judges one picture. share: 0 for nothing lost to 1 for the worst and beyond
 * @param {Picture} picture
 * @returns {{share: number, grade: Grade}}
 */
export function judged({ latent_error: error, against_input: found, ceiling }) {
  return found && ceiling ? judgedByPicture(found, ceiling) : judgedByLatent(error);
}

/**
 * @param {Quality} found
 * @param {Quality} ceiling
 * @returns {{share: number, grade: Grade}}
 */
function judgedByPicture(found, ceiling) {
  const lost = (ceiling.psnr ?? Infinity) - (found.psnr ?? Infinity);
  const below = Number.isNaN(lost) ? 0 : Math.max(0, lost); // both are the picture itself
  const grade = below <= CLEAR[0] ? "good" : below <= CLEAR[1] ? "fair" : "poor";
  return { share: Math.min(1, below / WORST_DB), grade };
}

/**
 * @param {number} error
 * @returns {{share: number, grade: Grade}}
 */
function judgedByLatent(error) {
  const span = Math.log10(WORST_ERROR / BEST_ERROR);
  const share = Math.min(1, Math.max(0, Math.log10(Math.max(error, BEST_ERROR) / BEST_ERROR) / span));
  return { share, grade: share <= 1 / 3 ? "good" : share < 1 ? "fair" : "poor" };
}

/**
 * Writes a PSNR.
 * @param {number | null} psnr
 */
export function decibels(psnr) {
  return psnr === null ? "∞" : psnr.toFixed(2);
}

/**
 * Returns a colour from green for nothing lost to red.
 * @param {number} share
 */
export function colourOf(share) {
  return `hsl(${Math.round(120 * (1 - share))} 65% 38%)`;
}
