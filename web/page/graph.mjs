// What the pack asks of ComfyUI's graph, in one place.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

// A node by the id that the server knows it by: "5", or "3:5" for the node 5 in the subgraph node 3; or by the page's
// own, which has the subgraph's id in place of its nodes'.
export function nodeOf(id) {
  const root = app.rootGraph ?? app.graph;
  const path = String(id).split(":");
  let graph = root;
  for (const outer of path.slice(0, -1)) graph = root.subgraphs?.get(outer) ?? graph?.getNodeById(Number(outer))?.subgraph;
  return graph?.getNodeById(Number(path.at(-1)));
}

// Where a file of the host's folders is found. place: {filename, subfolder, type}
export function addressOf(place) {
  return api.apiURL(`/view?${new URLSearchParams(place)}`);
}

export function widgetOf(node, name) {
  return node?.widgets?.find((widget) => widget.name === name);
}

// Whether a widget's value comes over a wire.
export function isWired(node, name) {
  return node.inputs?.some((input) => input.widget?.name === name && input.link != null) ?? false;
}

// Change a widget as a user would.
export function setWidget(node, name, value) {
  const widget = widgetOf(node, name);
  if (!widget || widget.value === value) return;
  widget.value = value;
  widget.callback?.(value, app.canvas, node);
  node.setDirtyCanvas?.(true, true);
}

// The node behind an input of this name.
export function before(node, name) {
  const input = node.inputs?.find((one) => one.name === name);
  return input?.link == null ? undefined : node.graph?.getNodeById(linkOf(node.graph, input.link)?.origin_id);
}

// Nodes of a kind that something of this node reaches, nearest first.
export function after(node, kinds) {
  const found = [];
  const seen = new Set([node]);
  for (const one of seen) {
    if (one !== node && kinds.has(one.constructor.comfyClass)) found.push(one);
    for (const output of one.outputs ?? [])
      for (const link of output.links ?? []) {
        const next = one.graph?.getNodeById(linkOf(one.graph, link)?.target_id);
        if (next) seen.add(next);
      }
  }
  return found;
}

function linkOf(graph, id) {
  return graph.getLink?.(id) ?? graph.links?.get?.(id) ?? graph.links?.[id];
}

// What the pack keeps of a node with the workflow, beside its widgets; never what decides a result.
export function kept(node, name) {
  return node.properties[name] ?? {};
}

export function keep(node, name, change) {
  node.properties[name] = { ...kept(node, name), ...change };
}
