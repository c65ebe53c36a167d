// @ts-check
// The keyframes of a walk as cards that are added, doubled, moved, drawn anew and taken away, and between them the
// easing of each stretch.

import { button, image, keepFromGraph, make, widgetRoot } from "../page/dom.mjs";
import { easingPath, nextEasing } from "./easings.mjs";
import { FEWEST, MOST, inserted, isSeed, moved, randomSeed, removed, replaced } from "./seeds.mjs";

const CURVE = 22; // pixels
const DRAG_FROM = 5; // pixels: less is a click
const SVG = "http://www.w3.org/2000/svg";

/**
 * seeds: as typed; pictures: seed -> address of its frame in the last run; easings: of each stretch, undefined if
 * unknown; loop: true if the last stretch leads back; locked: the reason why nothing can be changed here, if any
 * @typedef {{seeds: string[], pictures: Map<string, string>, easings: string[] | undefined, loop: boolean,
 *   locked: string}} State
 */

export class KeyframeStrip {
  /**
   * onSeeds, onEasings: called when the user changes them
   * @param {{say: import("../page/texts.mjs").Say, onSeeds: (seeds: string[]) => void,
   *   onEasings: (easings: string[]) => void}} given
   */
  constructor({ say, onSeeds, onEasings }) {
    this.say = say;
    this.onSeeds = onSeeds;
    this.onEasings = onEasings;
    /** @type {State} */
    this.state = { seeds: [], pictures: new Map(), easings: undefined, loop: false, locked: "" };
    const { element, root } = widgetRoot("smooth-diffusion-keyframes", "keyframes/view.css");
    this.element = element;
    this.cards = make("ol", { ariaLabel: say("strip") });
    this.said = make("div", { className: "said", role: "status" });
    this.addButton = button("+", say("add"), () => this.add());
    this.strip = make("div", { className: "strip" }, this.cards,
      make("div", { className: "foot" }, this.addButton, this.said));
    keepFromGraph(this.strip, this.cards);
    root.append(this.strip);
  }

  /** @param {State} state */
  show(state) {
    const before = JSON.stringify([this.state, [...this.state.pictures]]);
    if (before === JSON.stringify([state, [...state.pictures]])) return;
    this.state = state;
    const focused = this.focused();
    this.cards.replaceChildren(...state.seeds.flatMap((seed, place) => this.keyframe(seed, place)));
    this.focus(focused);
    this.addButton.disabled = Boolean(state.locked) || state.seeds.length >= MOST;
    this.said.textContent = state.locked || this.wrong();
  }

  wrong() {
    const place = this.state.seeds.findIndex((seed) => !isSeed(seed));
    if (place >= 0) return this.say("no_seed", { place: place + 1, seed: this.state.seeds[place].slice(0, 40) });
    if (this.state.seeds.length < FEWEST) return this.say("too_few");
    return this.state.seeds.length > MOST ? this.say("too_many", { most: MOST }) : "";
  }

  /**
   * @param {string} seed
   * @param {number} place
   */
  keyframe(seed, place) {
    const last = place === this.state.seeds.length - 1;
    const card = this.card(seed, place);
    if (!this.state.easings || (last && !this.state.loop)) return [card];
    return [card, this.stretch(this.state.easings[place], place)];
  }

  /**
   * @param {string} seed
   * @param {number} place
   */
  card(seed, place) {
    const { seeds, locked } = this.state;
    const picture = this.picture(seed);
    const input = this.input(seed, place);
    const doubled = button("×2", this.say("double"), () => this.change(inserted(seeds, place + 1, seed), place + 1));
    const anew = button("⚄", this.say("anew"), () => this.change(replaced(seeds, place, randomSeed()), place));
    const away = button("✕", this.say("remove"), () => this.remove(place));
    doubled.disabled = Boolean(locked) || seeds.length >= MOST;
    anew.disabled = Boolean(locked);
    away.disabled = Boolean(locked) || seeds.length <= FEWEST;
    const card = make("li", { className: "card", tabIndex: 0, ariaLabel: this.say("card", { place: place + 1, seed }) },
      picture, input, make("div", { className: "deeds" }, doubled, anew, away));
    card.dataset.place = String(place);
    card.addEventListener("keydown", (event) => event.target === card && this.key(event, place));
    if (!locked) picture.addEventListener("pointerdown", (event) => this.drag(event, card, picture, place));
    return card;
  }

  /** @param {string} seed */
  picture(seed) {
    const address = this.state.pictures.get(seed);
    const picture = make("div", { className: "picture" });
    if (address) picture.append(image({ src: address, alt: "", draggable: false }));
    return picture;
  }

  /**
   * @param {string} seed
   * @param {number} place
   */
  input(seed, place) {
    const { seeds, locked } = this.state;
    const input = make("input", { className: "seed", value: seed, disabled: Boolean(locked), spellcheck: false,
      inputMode: "numeric", ariaLabel: this.say("seed", { place: place + 1 }) });
    input.classList.toggle("wrong", !isSeed(seed));
    input.addEventListener("change", () => this.change(replaced(seeds, place, input.value.trim() || seed)));
    return input;
  }

  /**
   * @param {string} easing
   * @param {number} place
   */
  stretch(easing, place) {
    const { seeds, locked } = this.state;
    const names = { from: place + 1, to: ((place + 1) % seeds.length) + 1, easing: this.say(easing) };
    const made = button("", this.say("stretch", names), (event) => this.bend(place, event.shiftKey ? -1 : 1));
    made.append(drawnEasing(easing));
    made.disabled = Boolean(locked);
    made.dataset.easing = easing;
    return make("li", { className: "stretch" }, made);
  }

  /**
   * @param {number} place
   * @param {number} step
   */
  bend(place, step) {
    const { easings = [] } = this.state;
    this.onEasings(easings.map((easing, own) => (own === place ? nextEasing(easing, step) : easing)));
  }

  add() {
    this.change([...this.state.seeds, randomSeed()], this.state.seeds.length);
  }

  /** @param {number} place */
  remove(place) {
    if (this.state.seeds.length > FEWEST) this.change(removed(this.state.seeds, place), Math.max(0, place - 1));
  }

  /**
   * @param {string[]} seeds
   * @param {number} [focus] place of the card that has the focus then
   */
  change(seeds, focus) {
    this.onSeeds(seeds);
    if (focus !== undefined) this.focusCard(focus);
  }

  /**
   * @param {KeyboardEvent} event
   * @param {number} place
   */
  key(event, place) {
    const { seeds, locked } = this.state;
    const step = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0;
    const to = place + step;
    if (step && event.altKey && !locked && to >= 0 && to < seeds.length) this.change(moved(seeds, place, to), to);
    else if (step) this.focusCard(to);
    else if (locked) return;
    else if (event.key === "Delete") this.remove(place);
    else if (event.key === "d" && seeds.length < MOST) this.change(inserted(seeds, place + 1, seeds[place]), place + 1);
    else if (event.key === "r") this.change(replaced(seeds, place, randomSeed()), place);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * Drags a card by its picture, with mouse, pen or finger, to another place.
   * @param {PointerEvent} down
   * @param {HTMLElement} card
   * @param {HTMLElement} picture
   * @param {number} from
   */
  drag(down, card, picture, from) {
    if (down.button !== 0) return;
    picture.setPointerCapture(down.pointerId);
    let to = from;
    const ended = new AbortController();
    /** @param {PointerEvent} event */
    const move = (event) => {
      if (Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) < DRAG_FROM) return;
      card.classList.add("dragged");
      to = this.placeAt(event.clientX, event.clientY);
      this.mark(to, from);
    };
    /** @param {PointerEvent} event */
    const end = (event) => {
      ended.abort();
      card.classList.remove("dragged");
      this.mark();
      if (event.type === "pointerup" && to !== from) this.change(moved(this.state.seeds, from, to), to);
      else card.focus();
    };
    picture.addEventListener("pointermove", move, { signal: ended.signal });
    picture.addEventListener("pointerup", end, { signal: ended.signal });
    picture.addEventListener("pointercancel", end, { signal: ended.signal });
  }

  /** @returns {NodeListOf<HTMLElement>} */
  allCards() {
    return this.cards.querySelectorAll(".card");
  }

  /** @param {number} place */
  focusCard(place) {
    [...this.allCards()].find((card) => card.dataset.place === String(place))?.focus();
  }

  /**
   * Returns the place of the card nearest to a point of the screen.
   * @param {number} x
   * @param {number} y
   */
  placeAt(x, y) {
    const away = [...this.allCards()].map((card) => {
      const box = card.getBoundingClientRect();
      return Math.hypot(x - (box.left + box.right) / 2, y - (box.top + box.bottom) / 2);
    });
    return away.indexOf(Math.min(...away));
  }

  /**
   * Marks the place to which a card is dragged; none without one.
   * @param {number} to
   * @param {number} from
   */
  mark(to = -1, from = -1) {
    for (const card of this.allCards()) {
      const own = Number(card.dataset.place) === to && to !== from;
      card.classList.toggle("before", own && to < from);
      card.classList.toggle("after", own && to > from);
    }
  }

  /** @returns {NodeListOf<HTMLElement>} */
  elements() {
    return this.cards.querySelectorAll("*");
  }

  /** Returns the number of the element that has the focus, so that it has it again when all are made anew; or -1. */
  focused() {
    return [...this.elements()].findIndex((element) => element === this.element.shadowRoot?.activeElement);
  }

  /** @param {number} number of an element, or -1 */
  focus(number) {
    if (number >= 0) this.elements()[number]?.focus();
  }
}

/** @param {string} easing */
function drawnEasing(easing) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `-2 -2 ${CURVE + 4} ${CURVE + 4}`);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", easingPath(easing, CURVE));
  svg.append(path);
  return svg;
}
