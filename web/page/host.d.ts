// The parts of ComfyUI's page that the pack uses. What comes from the server or a workflow is unknown until it is read.

declare namespace Host {
  type Id = string | number;

  interface Widget {
    name: string;
    value: unknown;
    serialize?: boolean;
    callback?(value: unknown, ...rest: unknown[]): unknown;
  }

  interface DOMWidgetOptions {
    serialize: boolean;
    hideOnZoom: boolean;
    getMinHeight(): number;
    getValue(): string;
    setValue(value: string): void;
  }

  interface Link {
    origin_id: Id;
    target_id: Id;
  }

  interface Input {
    name: string;
    link?: number | null;
    widget?: { name: string };
  }

  interface Output {
    links?: number[] | null;
  }

  interface Graph {
    subgraphs?: Map<string, Graph>;
    links?: { get?(id: number): Link | undefined } & Record<number, Link>;
    getLink?(id: number): Link | undefined;
    getNodeById(id: Id): Node | null | undefined;
  }

  interface Node {
    constructor: Function & { comfyClass?: string };
    properties: Record<string, unknown>;
    widgets?: Widget[];
    inputs?: Input[];
    outputs?: Output[];
    graph?: Graph | null;
    subgraph?: Graph;
    onExecuted?(...given: unknown[]): void;
    onConfigure?(...given: unknown[]): void;
    onRemoved?(...given: unknown[]): void;
    setDirtyCanvas?(foreground: boolean, background: boolean): void;
    addDOMWidget(name: string, type: string, element: HTMLElement, options: DOMWidgetOptions): Widget;
  }

  type Outputs = Record<string, Record<string, unknown> | null | undefined>; // by the server's ids of nodes

  interface Extension {
    name: string;
    init(): Promise<void>;
    nodeCreated(node: Node): void;
    onNodeOutputsUpdated(outputs: Outputs): void;
  }

  interface App {
    graph: Graph;
    rootGraph?: Graph;
    canvas: unknown;
    extensionManager?: { setting?: { get(name: string): unknown } };
    registerExtension(extension: Extension): void;
  }

  interface Api {
    apiURL(path: string): string;
    fetchApi(path: string): Promise<Response>;
    addEventListener(event: string, listener: (message: CustomEvent<{ node: Id }>) => void): void;
  }
}

declare module "*/scripts/app.js" {
  export const app: Host.App;
}

declare module "*/scripts/api.js" {
  export const api: Host.Api;
}
