// @ts-check
// Tells what is drawn on canvases when the page's colours change; everything else follows by itself.

/** @type {Set<() => void>} */
const listeners = new Set();
const observer = new MutationObserver(() => listeners.forEach((listener) => listener()));
for (const element of [document.documentElement, document.body])
  observer.observe(element, { attributes: true, attributeFilter: ["class", "style"] });

/**
 * Calls back after every change; returns the function that ends it.
 * @param {() => void} listener
 */
export function onTheme(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
