// @ts-check
// The words of the page, in the user's language where the pack's locales have it, else in English.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

/**
 * Returns a text by its key, its {names} filled in.
 * @typedef {(key: string, values?: Record<string, unknown>) => string} Say
 */

const ENGLISH = "en";
/** @type {Record<string, string>} */
const texts = {};

/** Reads the texts of the locales. Once, before anything is shown: another language reloads the page. */
export async function readTexts() {
  const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? ENGLISH;
  /** @type {Record<string, {smoothDiffusion?: Record<string, Record<string, string>>}>} */
  const all = await (await api.fetchApi("/i18n")).json();
  for (const known of [ENGLISH, String(language)])
    for (const [part, own] of Object.entries(all[known]?.smoothDiffusion ?? {}))
      for (const [key, text] of Object.entries(own)) texts[`${part}.${key}`] = text;
}

/**
 * Returns what says the texts of one part of the pack.
 * @param {string} part
 * @returns {Say}
 */
export function say(part) {
  return (key, values = {}) =>
    (texts[`${part}.${key}`] ?? key).replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
