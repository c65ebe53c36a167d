// @ts-check
// The pack's part of ComfyUI's page: what its nodes show beside their widgets.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { ReceiptOnNode } from "./inversion/node.mjs";
import { StripOnNode } from "./keyframes/node.mjs";
import { readTexts } from "./page/texts.mjs";
import { addViews, takeOutputs, tell } from "./page/views.mjs";
import { PlayerOnNode } from "./player/node.mjs";
import { BenchmarkOnNode } from "./scores/node.mjs";
import { TrainingOnNode } from "./training/node.mjs";

const VIEWS = [PlayerOnNode, StripOnNode, BenchmarkOnNode, ReceiptOnNode, TrainingOnNode];

app.registerExtension({
  name: "smoothdiffusion.views",
  async init() {
    for (const View of VIEWS) if (View.event) api.addEventListener(View.event, (message) => tell(View, message));
    await readTexts();
  },
  nodeCreated(node) {
    addViews(node, VIEWS);
  },
  onNodeOutputsUpdated(outputs) {
    takeOutputs(outputs);
  },
});
