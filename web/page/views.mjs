// Puts the pack's views on its nodes.

import { keep, kept, nodeOf } from "./graph.mjs";

// A view of one node. Those that show what comes out of it also have:
//   static output   name of the ui output
//   finished(data)  that output, of a run that has ended
//   isShown(data)   whether it is shown already
// and those that show a run that goes on:
//   static event    name of the server's message
//   arrived(detail) a message
export class NodeView {
  static kinds = new Set(); // node classes that have it
  static widget = ""; // name of its widget, namespaced; what it keeps with the workflow has the same name
  static lowest = 0; // pixels

  // shown: what has the element, and perhaps a destroy()
  constructor(node, shown) {
    this.node = node;
    this.shown = shown;
    this.element = shown.element;
  }

  get kept() {
    return kept(this.node, this.constructor.widget);
  }

  keep(change) {
    keep(this.node, this.constructor.widget, change);
  }

  restore() {} // after the node was loaded

  destroy() {
    this.shown.destroy?.();
  }
}

const views = new WeakMap(); // node -> its views
export const changes = new EventTarget(); // "shown": a node, in detail, shows another run

export function addViews(node, kinds) {
  for (const View of kinds) if (View.kinds.has(node.constructor.comfyClass)) addView(node, View);
}

function addView(node, View) {
  const view = new View(node);
  views.set(node, [...viewsOf(node), view]);
  const widget = node.addDOMWidget(View.widget, View.widget, view.element, {
    serialize: false, hideOnZoom: false, getMinHeight: () => View.lowest, getValue: () => "", setValue: () => {} });
  widget.serialize = false; // the option keeps it out of prompts, this out of saved workflows
  const { onExecuted, onConfigure, onRemoved } = node;
  node.onExecuted = function (output) {
    onExecuted?.apply(this, arguments);
    finish(this, view, output);
  };
  node.onConfigure = function () {
    onConfigure?.apply(this, arguments);
    view.restore();
  };
  node.onRemoved = function () {
    onRemoved?.apply(this, arguments);
    view.destroy();
  };
}

function viewsOf(node) {
  return views.get(node) ?? [];
}

function finish(node, view, output) {
  const data = output?.[view.constructor.output];
  if (!data?.length) return;
  view.finished(data);
  changes.dispatchEvent(new CustomEvent("shown", { detail: node }));
}

// A message of the server.
export function tell(View, { detail }) {
  const node = nodeOf(detail.node);
  for (const view of node ? viewsOf(node) : []) if (view instanceof View) view.arrived(detail);
}

// After a switch of tabs, or when a run is taken from the history. outputs: by the server's ids of nodes
export function takeOutputs(outputs) {
  for (const [id, output] of Object.entries(outputs)) {
    const node = nodeOf(id);
    for (const view of node ? viewsOf(node) : []) {
      const data = output?.[view.constructor.output];
      if (data?.length && !view.isShown(data)) finish(node, view, output);
    }
  }
}
