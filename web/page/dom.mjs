// Elements of the pack's widgets. Each widget lives in a shadow root: neither its styles nor the page's cross it.

export const COLOURS = ["#3b8fd4", "#e0812f"]; // told apart by everyone, on dark and light

export function make(tag, fields = {}, ...children) {
  const made = Object.assign(document.createElement(tag), fields);
  made.append(...children);
  return made;
}

export function button(sign, name, act) {
  const made = make("button", { type: "button", textContent: sign, title: name, ariaLabel: name });
  made.addEventListener("click", act);
  return made;
}

// The element of a widget and the root that its content goes into.
// sheets: names of style sheets, relative to the pack's web folder
export function widgetRoot(className, ...sheets) {
  const element = make("div", { className });
  const root = element.attachShadow({ mode: "open" });
  for (const sheet of ["page/widget.css", ...sheets])
    root.append(make("link", { rel: "stylesheet", href: new URL(`../${sheet}`, import.meta.url).href }));
  return { element, root };
}

// What is done inside an element is not meant for the graph below it; nor is the wheel over what it scrolls.
export function keepFromGraph(element, scrolled = element) {
  for (const kind of ["pointerdown", "dblclick", "contextmenu"])
    element.addEventListener(kind, (event) => event.stopPropagation());
  element.addEventListener("wheel", (event) => {
    const scrolls = scrolled.scrollHeight > scrolled.clientHeight;
    if (scrolls && !event.ctrlKey && event.composedPath().includes(scrolled)) event.stopPropagation();
  });
}

// A word in the colour of a curve.
export function coloured(text, place) {
  const word = make("span", { textContent: text });
  word.style.color = COLOURS[place];
  return word;
}
