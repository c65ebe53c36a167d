// The pack's part of ComfyUI's page: a walk player on the nodes that render and score walks.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { readTexts, say } from "./player/texts.mjs";
import { WalkPlayer } from "./player/walk_player.mjs";

const PLAYED = new Set(["SmoothWalkSampler", "SmoothISTD"]);
const EVENT = "smooth_diffusion.frames";
const OUTPUT = "smooth_walk";
const WIDGET = "smooth_diffusion.player";
const PROPERTY = "smooth_diffusion.player"; // what a node keeps with the workflow: the folders of its walks, settings
const LOWEST = 300; // pixels
const players = new WeakMap(); // node -> WalkPlayer

function addressOf(walk, number) {
  const place = new URLSearchParams({ filename: `${String(number).padStart(5, "0")}.jpg`, type: "temp",
    subfolder: walk.subfolder });
  return api.apiURL(`/view?${place}`);
}

function addPlayer(node) {
  const player = new WalkPlayer({ addressOf, say, onSettings: (settings) => keep(node, { settings }) });
  players.set(node, player);
  const widget = node.addDOMWidget(WIDGET, WIDGET, player.element, {
    serialize: false, hideOnZoom: false, getMinHeight: () => LOWEST, getValue: () => "", setValue: () => {} });
  widget.serialize = false; // the option keeps it out of prompts, this out of saved workflows
  const { onExecuted, onConfigure, onRemoved } = node;
  node.onExecuted = function (output) {
    onExecuted?.apply(this, arguments);
    finished(this, output?.[OUTPUT]);
  };
  node.onConfigure = function () {
    onConfigure?.apply(this, arguments);
    restore(this);
  };
  node.onRemoved = function () {
    onRemoved?.apply(this, arguments);
    player.destroy();
  };
}

function kept(node) {
  return node.properties[PROPERTY] ?? {};
}

function keep(node, change) {
  node.properties[PROPERTY] = { ...kept(node), ...change };
}

// A run has ended: its scores are known. Of a node that shows one walk the run before it stays beside it.
function finished(node, walks) {
  if (!walks?.length) return;
  if (walks.length > 1) {
    const [walk, before] = walks.map((one) => asShown(one, one.name));
    keep(node, { walk, before });
    return showKept(node);
  }
  const before = kept(node).walk;
  const walk = asShown(walks[0], say("now"));
  if (before && before.subfolder !== walk.subfolder) keep(node, { before: { ...before, name: say("before") } });
  keep(node, { walk });
  showKept(node);
}

function asShown(data, name) {
  const { subfolder, total, jumps, cv, istd, mean_distance: mean } = data;
  const distances = data.distances.map((length) => Number(length.toPrecision(6))); // they go into the workflow
  return { name, subfolder, total, distances, jumps: jumps ?? [], cv, istd, mean };
}

function showKept(node) {
  const { walk, before } = kept(node);
  players.get(node).show([walk, before].filter((one) => one));
}

function restore(node) {
  const { settings, walk } = kept(node);
  if (settings) players.get(node).restore(settings);
  if (walk) showKept(node);
}

// Frames of a run that goes on.
function arrived({ detail }) {
  const node = nodeOf(detail.node);
  const player = node && players.get(node);
  if (!player) return;
  if (detail.first === 0) {
    const { walk } = kept(node);
    player.touched = false;
    player.show([{ name: say("now"), subfolder: detail.subfolder, total: detail.total, distances: [], jumps: [], count: 0 },
      ...(walk ? [{ ...walk, name: say("before") }] : [])]);
  }
  player.grow(detail.subfolder, detail.count, detail.lengths);
}

// A node by the id that the server knows it by: "5", or "3:5" for the node 5 in the subgraph node 3.
function nodeOf(id) {
  let graph = app.rootGraph ?? app.graph;
  const path = String(id).split(":");
  for (const outer of path.slice(0, -1)) graph = graph?.getNodeById(Number(outer))?.subgraph;
  return graph?.getNodeById(Number(path.at(-1)));
}

app.registerExtension({
  name: "smoothdiffusion.player",
  async init() {
    api.addEventListener(EVENT, arrived);
    await readTexts();
  },
  nodeCreated(node) {
    if (PLAYED.has(node.constructor.comfyClass)) addPlayer(node);
  },
  // After a switch of tabs, or when a run is taken from the history.
  onNodeOutputsUpdated(outputs) {
    for (const [id, output] of Object.entries(outputs)) {
      const node = nodeOf(id);
      if (node && players.has(node) && output?.[OUTPUT]?.[0]?.subfolder !== kept(node).walk?.subfolder)
        finished(node, output?.[OUTPUT]);
    }
  },
});
