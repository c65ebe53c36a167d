// What the page says, in the user's language where the pack's locales have it, else in English.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const ENGLISH = "en";
const texts = {};

// Read the texts of locales/*/main.json. Once, before anything is shown: another language reloads the page.
export async function readTexts() {
  const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? ENGLISH;
  const all = await (await api.fetchApi("/i18n")).json();
  Object.assign(texts, all[ENGLISH]?.smoothDiffusion?.player, all[language]?.smoothDiffusion?.player);
}

export function say(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
