// The keyframes of a walk as cards that are added, doubled, moved, drawn anew and taken away, and between them the
// easing of each stretch.

import { button, keepFromGraph, make, widgetRoot } from "../page/dom.mjs";
import { easingPath, nextEasing } from "./easings.mjs";
import { FEWEST, MOST, inserted, isSeed, moved, randomSeed, removed, replaced } from "./seeds.mjs";

const CURVE = 22; // pixels
const DRAG_FROM = 5; // pixels: less is a click
const SVG = "http://www.w3.org/2000/svg";

export class KeyframeStrip {
  // say(key, values): a text; onSeeds(seeds), onEasings(easings): called when the user changes them
  constructor({ say, onSeeds, onEasings }) {
    Object.assign(this, { say, onSeeds, onEasings });
    this.state = { seeds: [], pictures: new Map(), easings: undefined, loop: false, locked: "" };
    const { element, root } = widgetRoot("smooth-diffusion-keyframes", "keyframes/view.css");
    this.element = element;
    this.cards = make("ol", { ariaLabel: say("strip") });
    this.said = make("div", { className: "said", role: "status" });
    this.addButton = button("+", say("add"), () => this.add());
    this.strip = make("div", { className: "strip" }, this.cards, make("div", { className: "foot" }, this.addButton, this.said));
    keepFromGraph(this.strip, this.cards);
    root.append(this.strip);
  }

  // seeds: as typed; pictures: seed -> address of its frame in the last run; easings: of each stretch, undefined if
  // unknown; loop: whether the last stretch leads back; locked: why nothing can be changed here, if so
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

  keyframe(seed, place) {
    const last = place === this.state.seeds.length - 1;
    const card = this.card(seed, place);
    if (!this.state.easings || (last && !this.state.loop)) return [card];
    return [card, this.stretch(place)];
  }

  card(seed, place) {
    const { seeds, pictures, locked } = this.state;
    const address = pictures.get(seed);
    const picture = make("div", { className: "picture" });
    if (address) picture.append(make("img", { src: address, alt: "", draggable: false,
      onerror: (event) => event.target.remove() }));
    const input = make("input", { className: "seed", value: seed, disabled: Boolean(locked), spellcheck: false,
      inputMode: "numeric", ariaLabel: this.say("seed", { place: place + 1 }) });
    input.classList.toggle("wrong", !isSeed(seed));
    input.addEventListener("change", () => this.change(replaced(seeds, place, input.value.trim() || seed)));
    const doubled = button("×2", this.say("double"), () => this.change(inserted(seeds, place + 1, seed), place + 1));
    const anew = button("⚄", this.say("anew"), () => this.change(replaced(seeds, place, randomSeed()), place));
    const away = button("✕", this.say("remove"), () => this.remove(place));
    doubled.disabled = Boolean(locked) || seeds.length >= MOST;
    anew.disabled = Boolean(locked);
    away.disabled = Boolean(locked) || seeds.length <= FEWEST;
    const card = make("li", { className: "card", tabIndex: 0, ariaLabel: this.say("card", { place: place + 1, seed }) },
      picture, input, make("div", { className: "deeds" }, doubled, anew, away));
    card.dataset.place = place;
    card.addEventListener("keydown", (event) => event.target === card && this.key(event, place));
    if (!locked) picture.addEventListener("pointerdown", (event) => this.drag(event, card, place));
    return card;
  }

  stretch(place) {
    const { easings, seeds, locked } = this.state;
    const easing = easings[place];
    const names = { from: place + 1, to: ((place + 1) % seeds.length) + 1, easing: this.say(easing) };
    const made = button("", this.say("stretch", names), (event) => this.bend(place, event.shiftKey ? -1 : 1));
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `-2 -2 ${CURVE + 4} ${CURVE + 4}`);
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", easingPath(easing, CURVE));
    svg.append(path);
    made.append(svg);
    made.disabled = Boolean(locked);
    made.dataset.easing = easing;
    return make("li", { className: "stretch" }, made);
  }

  bend(place, step) {
    const easings = this.state.easings.map((easing, own) => (own === place ? nextEasing(easing, step) : easing));
    this.onEasings(easings);
  }

  add() {
    this.change([...this.state.seeds, randomSeed()], this.state.seeds.length);
  }

  remove(place) {
    if (this.state.seeds.length > FEWEST) this.change(removed(this.state.seeds, place), Math.max(0, place - 1));
  }

  change(seeds, focus) {
    this.onSeeds(seeds);
    if (focus !== undefined) this.cards.querySelector(`[data-place="${focus}"]`)?.focus();
  }

  key(event, place) {
    const { seeds, locked } = this.state;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const to = place + (step ?? 0);
    if (step && event.altKey && !locked && to >= 0 && to < seeds.length) this.change(moved(seeds, place, to), to);
    else if (step) this.cards.querySelector(`[data-place="${to}"]`)?.focus();
    else if (locked) return;
    else if (event.key === "Delete") this.remove(place);
    else if (event.key === "d" && seeds.length < MOST) this.change(inserted(seeds, place + 1, seeds[place]), place + 1);
    else if (event.key === "r") this.change(replaced(seeds, place, randomSeed()), place);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // Drag a card by its picture, with mouse, pen or finger, to another place.
  drag(down, card, from) {
    if (down.button !== 0) return;
    const picture = down.currentTarget;
    picture.setPointerCapture(down.pointerId);
    let to = from;
    const move = (event) => {
      if (Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) < DRAG_FROM) return;
      card.classList.add("dragged");
      to = this.placeAt(event.clientX, event.clientY);
      this.mark(to, from);
    };
    const end = (event) => {
      for (const [kind, act] of acts) picture.removeEventListener(kind, act);
      card.classList.remove("dragged");
      this.mark();
      if (event.type === "pointerup" && to !== from) this.change(moved(this.state.seeds, from, to), to);
      else card.focus();
    };
    const acts = [["pointermove", move], ["pointerup", end], ["pointercancel", end]];
    for (const [kind, act] of acts) picture.addEventListener(kind, act);
  }

  // The place of the card nearest to a point of the screen.
  placeAt(x, y) {
    const away = [...this.cards.querySelectorAll(".card")].map((card) => {
      const box = card.getBoundingClientRect();
      return Math.hypot(x - (box.left + box.right) / 2, y - (box.top + box.bottom) / 2);
    });
    return away.indexOf(Math.min(...away));
  }

  mark(to, from) {
    for (const card of this.cards.querySelectorAll(".card")) {
      const own = Number(card.dataset.place) === to && to !== from;
      card.classList.toggle("before", own && to < from);
      card.classList.toggle("after", own && to > from);
    }
  }

  // Which of the strip's elements has the focus, so that it has it again when they are made anew.
  focused() {
    const active = this.element.shadowRoot.activeElement;
    return active && this.cards.contains(active) ? [...this.cards.querySelectorAll("*")].indexOf(active) : -1;
  }

  focus(place) {
    if (place >= 0) this.cards.querySelectorAll("*")[place]?.focus();
  }
}
