// What the page says, in the user's language where the pack's locales have it, else in English.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const ENGLISH = "en";
const texts = {};

// Read the texts of locales/*/main.json. Once, before anything is shown: another language reloads the page.
export async function readTexts() {
  const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? ENGLISH;
  const all = await (await api.fetchApi("/i18n")).json();
  for (const known of [ENGLISH, language])
    for (const [part, own] of Object.entries(all[known]?.smoothDiffusion ?? {}))
      for (const [key, text] of Object.entries(own)) texts[`${part}.${key}`] = text;
}

// say(part)(key, values): a text of one part of the pack, its {names} filled in.
export function say(part) {
  return (key, values = {}) => (texts[`${part}.${key}`] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
