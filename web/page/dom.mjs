// @ts-check
// Elements of the pack's widgets. Each widget lives in a shadow root: neither its styles nor the page's cross it.

/** Colours of curves, told apart by everyone, on dark and light. */
export const COLOURS = ["#3b8fd4", "#e0812f"];

/**
 * Makes an element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Partial<HTMLElementTagNameMap[Tag]>} [fields]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, fields = {}, ...children) {
  const made = Object.assign(document.createElement(tag), fields);
  made.append(...children);
  return made;
}

/**
 * Makes a picture; where it cannot be loaded, a text stands for it.
 * @param {Partial<HTMLImageElement>} fields
 * @param {string} gone
 */
export function image(fields, gone = "") {
  const made = make("img", fields);
  made.addEventListener("error", () => (gone ? made.replaceWith(gone) : made.remove()));
  return made;
}

/**
 * Makes a button.
 * @param {string} sign
 * @param {string} name
 * @param {(event: MouseEvent) => void} act
 */
export function button(sign, name, act) {
  const made = make("button", { type: "button", textContent: sign, title: name, ariaLabel: name });
  made.addEventListener("click", act);
  return made;
}

/**
 * Makes the element of a widget and the root that its content goes into.
 * @param {string} className
 * @param {...string} sheets names of style sheets, relative to the pack's web folder
 */
export function widgetRoot(className, ...sheets) {
  const element = make("div", { className });
  const root = element.attachShadow({ mode: "open" });
  for (const sheet of ["page/widget.css", ...sheets])
    root.append(make("link", { rel: "stylesheet", href: new URL(`../${sheet}`, import.meta.url).href }));
  return { element, root };
}

/**
 * Keeps the pointer from the graph below an element, and the wheel over what it scrolls.
 * @param {HTMLElement} element
 * @param {HTMLElement} scrolled
 */
export function keepFromGraph(element, scrolled = element) {
  for (const kind of ["pointerdown", "dblclick", "contextmenu"])
    element.addEventListener(kind, (event) => event.stopPropagation());
  element.addEventListener("wheel", (event) => {
    const scrolls = scrolled.scrollHeight > scrolled.clientHeight;
    if (scrolls && !event.ctrlKey && event.composedPath().includes(scrolled)) event.stopPropagation();
  });
}

/**
 * Makes a word in the colour of a curve.
 * @param {string} text
 * @param {number} place of the curve
 */
export function coloured(text, place) {
  const word = make("span", { textContent: text });
  word.style.color = COLOURS[place];
  return word;
}
