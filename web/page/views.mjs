// @ts-check
// Puts the pack's views on its nodes.

import { keep, kept, kindOf, nodeOf } from "./graph.mjs";

/** @typedef {{element: HTMLElement, destroy?: () => void}} Drawn view */
/** @typedef {NodeView<Drawn, object>} AnyView */
/**
 * A class of views, with the static fields of `NodeView`.
 * @typedef {{new (node: Host.Node): AnyView, kinds: Set<string>, widget: string, lowest: number, output: string,
 *   event: string}} Kind
 */

/**
 * A view of one node.
 * @template {Drawn} Shown draws it
 * @template {object} Kept is kept of it with the workflow
 */
export class NodeView {
  /** Node classes that have it. @type {Set<string>} */
  static kinds = new Set();
  /** Name of its widget, namespaced; what it keeps with the workflow has the same name. */
  static widget = "";
  /** Height in pixels that it needs. */
  static lowest = 0;
  /** Name of the ui output that it shows, if any. */
  static output = "";
  /** Name of the server's message about a run that goes on, if it shows one. */
  static event = "";

  /**
   * @param {Host.Node} node
   * @param {Shown} shown
   */
  constructor(node, shown) {
    this.node = node;
    this.shown = shown;
    this.element = shown.element;
  }

  get kind() {
    return /** @type {Kind} */ (this.constructor);
  }

  /** @returns {Partial<Kept>} */
  get kept() {
    return kept(this.node, this.kind.widget);
  }

  /** @param {Partial<Kept>} change */
  keep(change) {
    keep(this.node, this.kind.widget, change);
  }

  /**
   * Shows the output of a run that has ended.
   * @param {object[]} _data
   */
  finished(_data) {}

  /**
   * Returns true if that output is shown already.
   * @param {object[]} _data
   */
  isShown(_data) {
    return false;
  }

  /**
   * Shows a message of a run that goes on.
   * @param {object} _detail
   */
  arrived(_detail) {}

  /** Shows what was kept, after the node was loaded. */
  restore() {}

  destroy() {
    this.shown.destroy?.();
  }
}

/** @type {WeakMap<Host.Node, AnyView[]>} */
const views = new WeakMap();
/** Dispatches "shown" when a node, in detail, shows another run. */
export const changes = new EventTarget();

/**
 * Adds the views that a node's class has.
 * @param {Host.Node} node
 * @param {Kind[]} kinds
 */
export function addViews(node, kinds) {
  for (const View of kinds) if (View.kinds.has(kindOf(node))) addView(node, View);
}

/**
 * @param {Host.Node} node
 * @param {Kind} View
 */
function addView(node, View) {
  const view = new View(node);
  views.set(node, [...viewsOf(node), view]);
  const widget = node.addDOMWidget(View.widget, View.widget, view.element, {
    serialize: false, hideOnZoom: false, getMinHeight: () => View.lowest, getValue: () => "", setValue: () => {} });
  widget.serialize = false; // the option keeps it out of prompts, this out of saved workflows
  const { onExecuted, onConfigure, onRemoved } = node;
  node.onExecuted = function (...given) {
    onExecuted?.apply(this, given);
    finish(this, view, given[0]);
  };
  node.onConfigure = function (...given) {
    onConfigure?.apply(this, given);
    view.restore();
  };
  node.onRemoved = function (...given) {
    onRemoved?.apply(this, given);
    view.destroy();
  };
}

/** @param {Host.Node | null | undefined} node */
function viewsOf(node) {
  return (node && views.get(node)) ?? [];
}

/**
 * @param {AnyView} view
 * @param {unknown} output
 * @returns {object[]}
 */
function dataOf(view, output) {
  const data = /** @type {Record<string, unknown> | null | undefined} */ (output)?.[view.kind.output];
  return Array.isArray(data) ? data : [];
}

/**
 * @param {Host.Node} node
 * @param {AnyView} view
 * @param {unknown} output
 */
function finish(node, view, output) {
  const data = dataOf(view, output);
  if (!data.length) return;
  view.finished(data);
  changes.dispatchEvent(new CustomEvent("shown", { detail: node }));
}

/**
 * Gives a message of the server to the views of its node.
 * @param {Kind} View
 * @param {CustomEvent<{node: Host.Id}>} message
 */
export function tell(View, { detail }) {
  for (const view of viewsOf(nodeOf(detail.node))) if (view instanceof View) view.arrived(detail);
}

/**
 * Shows the outputs after a switch of tabs, or of a run that is taken from the history.
 * @param {Host.Outputs} outputs
 */
export function takeOutputs(outputs) {
  for (const [id, output] of Object.entries(outputs)) {
    const node = nodeOf(id);
    for (const view of viewsOf(node)) {
      const data = dataOf(view, output);
      if (node && data.length && !view.isShown(data)) finish(node, view, output);
    }
  }
}
