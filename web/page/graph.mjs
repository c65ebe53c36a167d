// @ts-check
// Everything that the pack asks of ComfyUI's graph.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

/** @typedef {{filename: string, subfolder: string, type: string}} Place of a file in the host's folders */

/**
 * Finds a node by the id that the server knows it by: "5", or "3:5" for the node 5 in the subgraph node 3; or by the
 * page's own, which has the subgraph's id in place of its nodes'.
 * @param {Host.Id} id
 */
export function nodeOf(id) {
  const path = String(id).split(":");
  const root = app.rootGraph ?? app.graph;
  /** @type {Host.Graph | undefined} */
  let graph = root;
  for (const outer of path.slice(0, -1))
    graph = root.subgraphs?.get(outer) ?? graph?.getNodeById(Number(outer))?.subgraph;
  return graph?.getNodeById(Number(path.at(-1)));
}

/**
 * Returns the address of a file.
 * @param {Place} place
 */
export function addressOf(place) {
  return api.apiURL(`/view?${new URLSearchParams(place)}`);
}

/**
 * Finds a widget by its name.
 * @param {Host.Node | undefined} node
 * @param {string} name
 */
export function widgetOf(node, name) {
  return node?.widgets?.find((widget) => widget.name === name);
}

/**
 * Returns true if a widget's value comes over a wire.
 * @param {Host.Node} node
 * @param {string} name
 */
export function isWired(node, name) {
  return node.inputs?.some((input) => input.widget?.name === name && input.link != null) ?? false;
}

/**
 * Changes a widget as a user would.
 * @param {Host.Node | undefined} node
 * @param {string} name
 * @param {unknown} value
 */
export function setWidget(node, name, value) {
  const widget = widgetOf(node, name);
  if (!widget || widget.value === value) return;
  widget.value = value;
  widget.callback?.(value, app.canvas, node);
  node?.setDirtyCanvas?.(true, true);
}

/**
 * Returns the node behind an input.
 * @param {Host.Node} node
 * @param {string} name of the input
 */
export function before(node, name) {
  const input = node.inputs?.find((one) => one.name === name);
  const link = node.graph && input?.link != null ? linkOf(node.graph, input.link) : undefined;
  return link && node.graph?.getNodeById(link.origin_id);
}

/**
 * Lists the nodes of some kinds that something of this node reaches, nearest first.
 * @param {Host.Node} node
 * @param {Set<string>} kinds
 */
export function after(node, kinds) {
  const found = [];
  const seen = new Set([node]);
  for (const one of seen) {
    if (one !== node && kinds.has(kindOf(one))) found.push(one);
    for (const next of nextOf(one)) seen.add(next);
  }
  return found;
}

/**
 * Returns the class of a node, as the server names it.
 * @param {Host.Node} node
 */
export function kindOf(node) {
  return node.constructor.comfyClass ?? "";
}

/**
 * @param {Host.Node} node
 * @returns {Host.Node[]}
 */
function nextOf({ outputs, graph }) {
  const links = graph ? (outputs ?? []).flatMap((output) => output.links ?? []).map((id) => linkOf(graph, id)) : [];
  return links.flatMap((link) => (link && graph?.getNodeById(link.target_id)) ?? []);
}

/**
 * @param {Host.Graph} graph
 * @param {number} id
 * @returns {Host.Link | undefined}
 */
function linkOf(graph, id) {
  return graph.getLink?.(id) ?? graph.links?.get?.(id) ?? graph.links?.[id];
}

/**
 * Returns everything that the pack keeps of a node with the workflow, beside its widgets; never what decides a result.
 * @param {Host.Node} node
 * @param {string} name
 */
export function kept(node, name) {
  return node.properties[name] ?? {};
}

/**
 * Changes a part of what is kept.
 * @param {Host.Node} node
 * @param {string} name
 * @param {object} change
 */
export function keep(node, name, change) {
  node.properties[name] = { ...kept(node, name), ...change };
}
