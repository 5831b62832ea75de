/** The drawing: zoom, pan, and as much detail as there is room for. */
import { makeSvg, byId } from "./dom.js";
import { brief, clip, fill } from "./format.js";
import { arrange } from "./geometry.js";
import { adjointAfter } from "./steps.js";

const MOST_DRAWN = 700;
const LEAST_READABLE = 0.2;
const ZOOM = [0.01, 4];
const LABELLED_EDGES = 60;
const PADDING = 36;
const LINE = 19;
const CHARACTER = 7.4;
const INSET = 6;

export class View {
  /** @param {import("./main.js").App} app */
  constructor(app) {
    this.app = app;
    this.stage = byId("stage");
    this.canvas = /** @type {HTMLCanvasElement} */ (byId("canvas"));
    this.svg = byId("drawing");
    this.layers = { frames: byId("frames"), edges: byId("edges"), items: byId("items") };
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    /** @type {Map<string, Element>} */
    this.drawn = new Map();
    this.pending = false;
    this.arrange();
    this.listen();
  }

  /** Place everything anew after a scope was opened or closed. */
  arrange() {
    const { items, itemOf, edges, frames } = arrange(this.app.graph, this.app.collapsed);
    this.items = items;
    this.itemOf = itemOf;
    this.edges = edges;
    this.frames = frames;
    this.labelled = this.edges.length <= LABELLED_EDGES;
    for (const layer of Object.values(this.layers)) layer.replaceChildren();
    this.drawn.clear();
  }

  bounds() {
    const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
    for (const { x, y, width, height } of this.items) {
      box.left = Math.min(box.left, x - width / 2);
      box.right = Math.max(box.right, x + width / 2);
      box.top = Math.min(box.top, y - height / 2);
      box.bottom = Math.max(box.bottom, y + height / 2);
    }
    for (const frame of this.frames) {
      box.left = Math.min(box.left, frame.left);
      box.right = Math.max(box.right, frame.right);
      box.top = Math.min(box.top, frame.top);
      box.bottom = Math.max(box.bottom, frame.bottom);
    }
    return box;
  }

  /** Show all of the graph. */
  fit() {
    const { left, top, right, bottom } = this.bounds();
    const { clientWidth: width, clientHeight: height } = this.stage;
    const scale = Math.min((width - 2 * PADDING) / (right - left), (height - 2 * PADDING) / (bottom - top), 1.4);
    this.scale = Math.min(ZOOM[1], Math.max(ZOOM[0], scale));
    this.left = width / 2 - (this.scale * (left + right)) / 2;
    this.top = height / 2 - (this.scale * (top + bottom)) / 2;
    this.refresh();
  }

  /** Zoom about a point of the stage, by default its middle. */
  zoom(factor, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const scale = Math.min(ZOOM[1], Math.max(ZOOM[0], this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.refresh();
  }

  pan(right, down) {
    this.left += right;
    this.top += down;
    this.refresh();
  }

  /** Bring a node into sight, unless it is. */
  reveal(place, always = false) {
    const item = this.itemOf.get(place);
    if (!item) return;
    const x = this.left + item.x * this.scale;
    const y = this.top + item.y * this.scale;
    const { clientWidth: width, clientHeight: height } = this.stage;
    const halfWidth = (item.width / 2) * this.scale;
    const inSight = x > halfWidth && x < width - halfWidth && y > 20 && y < height - 20;
    if (!inSight || always) this.pan(width / 2 - x, height / 2 - y);
  }

  /** Draw again, at the next frame. */
  refresh() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.draw();
    });
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const edge = 200;
    const inSight = (left, top, right, bottom) =>
      this.left + right * this.scale > -edge &&
      this.left + left * this.scale < width + edge &&
      this.top + bottom * this.scale > -edge &&
      this.top + top * this.scale < height + edge;
    const items = this.items.filter(({ x, y, width: w, height: h }) => inSight(x - w / 2, y - h / 2, x + w / 2, y + h / 2));
    const edges = this.edges.filter(({ from, to }) =>
      inSight(Math.min(from.x, to.x), Math.min(from.y, to.y), Math.max(from.x, to.x), Math.max(from.y, to.y)),
    );
    const coarse = items.length > MOST_DRAWN || edges.length > 3 * MOST_DRAWN || this.scale < LEAST_READABLE;
    this.stage.classList.toggle("coarse", coarse);
    if (coarse) this.paint(items, edges);
    else this.compose(items, edges);
  }

  // In detail, as elements --------------------------------------------------------------------------------------

  compose(items, edges) {
    byId("camera").setAttribute("transform", `translate(${this.left} ${this.top}) scale(${this.scale})`);
    const wanted = new Set();
    const show = (key, layer, create) => {
      wanted.add(key);
      if (!this.drawn.has(key)) {
        this.drawn.set(key, create());
        layer.append(this.drawn.get(key));
      }
      return this.drawn.get(key);
    };
    for (const frame of this.frames) show(`frame ${frame.scope}`, this.layers.frames, () => this.newFrame(frame));
    const active = this.activeEdges();
    for (const edge of edges) {
      const element = show(edge.key, this.layers.edges, () => newEdge(edge, this.app.graph.downwards));
      this.decorateEdge(element, edge, active);
    }
    for (const item of items) {
      const element = show(item.key, this.layers.items, () => this.newItem(item));
      this.decorateItem(element, item);
    }
    for (const [key, element] of this.drawn) {
      if (!wanted.has(key) && element !== document.activeElement) {
        element.remove();
        this.drawn.delete(key);
      }
    }
  }

  newFrame({ scope, left, top, right, bottom }) {
    const title = `− ${clip(scope.split("/").pop(), 40)}`;
    const close = makeSvg(
      "g",
      { class: "toggle", tabindex: 0, role: "button", "data-scope": scope, "aria-label": `Collapse ${clip(scope, 60)}` },
      makeSvg("text", { x: left + 8, y: top + 16 }, title),
    );
    const rect = makeSvg("rect", { x: left, y: top, width: right - left, height: bottom - top, rx: 8 });
    return makeSvg("g", { class: "frame" }, rect, close);
  }

  newItem(item) {
    const { x, y, width, height, node, scope } = item;
    const kind = node < 0 ? "scope" : this.app.graph.nodes[node].kind;
    const target = node < 0 ? { "data-scope": scope } : { "data-node": node };
    const top = -height / 2;
    const inputs = kind === "variable" || kind === "placeholder" || kind === "constant";
    return makeSvg(
      "g",
      { class: `item ${kind}`, transform: `translate(${x} ${y})`, tabindex: 0, role: "button", ...target },
      makeSvg("rect", { x: -width / 2, y: top, width, height, rx: inputs ? 3 : 14 }),
      makeSvg("text", { class: "name", y: top + LINE + 3 }),
      makeSvg("text", { class: "value", y: top + 2 * LINE + 3 }),
      makeSvg("text", { class: "derivative", y: top + 3 * LINE + 2 }),
    );
  }

  decorateItem(element, item) {
    const lines = item.node < 0 ? this.scopeLines(item) : this.nodeLines(item.node);
    const texts = element.querySelectorAll("text");
    [lines.name, lines.value, lines.derivative].forEach((text, row) => {
      if (texts[row].textContent !== text) texts[row].textContent = text;
    });
    const { step, selected, found } = this.app;
    const current = Boolean(step) && item.members.includes(step.node);
    const isTarget = step?.kind === "push" && item.members.some((place) => this.app.targets.has(place));
    const done = item.members.every((place) => this.isDone(place));
    const classes = { current, target: isTarget && !current, selected: selected >= 0 && item.node === selected, done };
    classes.found = item.members.some((place) => found.has(place));
    for (const [name, on] of Object.entries(classes)) element.classList.toggle(name, on);
    const spoken = [lines.name, lines.value, lines.derivative, current ? "current step" : ""];
    const label = spoken.filter(Boolean).join(", ");
    if (element.getAttribute("aria-label") !== label) element.setAttribute("aria-label", label);
  }

  scopeLines({ scope, members }) {
    const ops = members.filter((place) => this.app.graph.nodes[place].inputs.length).length;
    const done = members.filter((place) => this.isDone(place)).length;
    const counted = (count, one, several) => `${count} ${count === 1 ? one : several}`;
    const leaves = members.length - ops;
    const value = [counted(ops, "op", "ops"), leaves ? counted(leaves, "leaf", "leaves") : ""].filter(Boolean).join(", ");
    return { name: `+ ${clip(scope.split("/").pop(), 20)}`, value, derivative: `${done} of ${members.length} done` };
  }

  nodeLines(place) {
    const { app } = this;
    const node = app.graph.nodes[place];
    const expression = fill(node.expression, (position) => clip(app.nameOf(node.inputs[position]), 16), clip(node.name, 16));
    const room = Math.floor((node.box[2] - 2 * INSET) / CHARACTER);
    const name = clip(expression ? `${node.name} = ${expression}` : node.name, room);
    const value = this.isKnown(place) ? clip(brief(app.numbers.values[place]), room) : "";
    return { name, value, derivative: this.derivativeLine(place, room) };
  }

  /** Whether a node's value has been computed by the present step. */
  isKnown(place) {
    return this.app.mode !== "value" || this.isDone(place);
  }

  isDone(place) {
    return (this.app.history.done.get(place) ?? Infinity) < this.app.position;
  }

  derivativeLine(place, room) {
    const { app } = this;
    let [title, text] = ["", ""];
    if (app.mode === "reverse") {
      const adjoint = adjointAfter(app.history, place, app.position);
      [title, text] = [app.adjointName(place, [6, 8]), brief(adjoint ?? null)];
    } else if (app.mode === "forward" && this.isDone(place)) {
      const tangent = app.numbers.tangents[place];
      [title, text] = [app.followsOne() ? app.tangentName(place, [8, 6]) : "tangent", tangent ? brief(tangent) : "0"];
    }
    if (!text) return "";
    const whole = `${title} = ${text}`;
    return whole.length <= room ? whole : clip(`∂: ${text}`, room);
  }

  /** The edges that the current step works along. */
  activeEdges() {
    const { step } = this.app;
    if (!step || step.kind === "complete" || step.kind === "seed") return new Set();
    return new Set(this.app.edgesInto.get(step.node) ?? []);
  }

  decorateEdge(element, edge, active) {
    const on = edge.parts.some((part) => active.has(part));
    element.classList.toggle("active", on);
    const label = element.querySelector("text");
    const text = edge.whole && (this.labelled || on) ? this.edgeLabel(edge.parts[0]) : "";
    if (label.textContent !== text) label.textContent = text;
  }

  edgeLabel(part) {
    const { to, position } = this.app.graph.edges[part];
    const [symbol, figure] = this.app.localTexts(to, position);
    const value = this.isKnown(to) ? figure : "";
    if (!value) return symbol.length <= 8 ? symbol : "";
    return symbol === value || symbol.length > 6 ? value : `${symbol} = ${value}`;
  }

  // From afar, as a picture -------------------------------------------------------------------------------------

  paint(items, edges) {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const pen = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    pen.setTransform(ratio * this.scale, 0, 0, ratio * this.scale, ratio * this.left, ratio * this.top);
    pen.lineWidth = Math.max(1, 0.7 / this.scale);
    pen.strokeStyle = this.colour("edge");
    pen.beginPath();
    for (const { from, to } of edges) {
      pen.moveTo(from.x, from.y);
      pen.lineTo(to.x, to.y);
    }
    pen.stroke();
    const colours = {};
    for (const name of ["variable", "placeholder", "constant", "op", "output", "scope"]) colours[name] = this.colour(name);
    const { step } = this.app;
    for (const item of items) {
      const kind = item.node < 0 ? "scope" : this.app.graph.nodes[item.node].kind;
      const done = item.members.every((place) => this.isDone(place));
      pen.globalAlpha = done ? 1 : 0.45;
      pen.fillStyle = colours[kind];
      pen.fillRect(item.x - item.width / 2, item.y - item.height / 2, item.width, item.height);
    }
    pen.globalAlpha = 1;
    const lit = step ? this.itemOf.get(step.node) : null;
    if (lit) this.ring(pen, lit, this.colour("current"));
    for (const place of this.app.found) this.ring(pen, this.itemOf.get(place), this.colour("found"));
  }

  /** Mark an item so that it is seen from any distance. */
  ring(pen, { x, y, width, height }, colour) {
    const room = 5 / this.scale;
    pen.fillStyle = colour;
    pen.fillRect(x - width / 2 - room, y - height / 2 - room, width + 2 * room, height + 2 * room);
  }

  /** A colour of the style sheet, in the present theme. */
  colour(name) {
    const sample = byId("sample");
    sample.className = `sample-${name}`;
    return getComputedStyle(sample).color;
  }

  // Pointer -----------------------------------------------------------------------------------------------------

  listen() {
    let moved = false;
    /** @type {Map<number, {x: number, y: number}>} */
    const fingers = new Map();
    this.stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { left, top } = this.stage.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY / 500), event.clientX - left, event.clientY - top);
    });
    this.stage.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      moved = false;
    });
    window.addEventListener("pointermove", (event) => {
      const last = fingers.get(event.pointerId);
      if (!last) return;
      const right = event.clientX - last.x;
      const down = event.clientY - last.y;
      if (fingers.size === 2) {
        const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
        const before = Math.hypot(last.x - other.x, last.y - other.y);
        const after = Math.hypot(event.clientX - other.x, event.clientY - other.y);
        const { left, top } = this.stage.getBoundingClientRect();
        this.zoom(after / Math.max(before, 1), other.x - left, other.y - top);
      } else if (moved || Math.hypot(right, down) > 4) {
        moved = true;
        this.pan(right, down);
      } else {
        return;
      }
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    });
    const release = (event) => fingers.delete(event.pointerId);
    window.addEventListener("pointerup", release);
    window.addEventListener("pointercancel", release);
    this.stage.addEventListener("click", (event) => {
      if (!moved) this.choose(this.targetOf(event));
    });
    this.stage.addEventListener("focusin", (event) => {
      const { node } = /** @type {HTMLElement} */ (event.target).dataset;
      if (node !== undefined) this.reveal(Number(node));
    });
    window.addEventListener("resize", () => this.refresh());
  }

  /** What an event is about: an element's data, or in the coarse picture what lies there. */
  targetOf(event) {
    if (!this.stage.classList.contains("coarse")) return event.target.closest("[data-node], [data-scope]")?.dataset;
    const { left, top } = this.stage.getBoundingClientRect();
    const x = (event.clientX - left - this.left) / this.scale;
    const y = (event.clientY - top - this.top) / this.scale;
    const item = this.items.find((each) => Math.abs(x - each.x) < each.width / 2 && Math.abs(y - each.y) < each.height / 2);
    if (!item) return undefined;
    return item.node < 0 ? { scope: item.scope } : { node: String(item.node) };
  }

  /** Act on a node or scope that was clicked, or that has the focus when Enter is pressed. */
  choose(data) {
    if (data?.node !== undefined) this.app.select(Number(data.node));
    else if (data?.scope !== undefined) this.app.toggleScope(data.scope);
  }
}

function newEdge({ curve, key, twin, forked, from, to }, downwards) {
  const [x, y, ...rest] = curve;
  // The middle of the curve's middle piece; the last piece is the arrow's tip.
  const along = Math.floor(Math.max(0, rest.length / 6 - 2) / 2) * 6;
  const piece = [along ? rest[along - 2] : x, along ? rest[along - 1] : y, ...rest.slice(along, along + 6)];
  const middle = [0, 1].map((axis) => (piece[axis] + 3 * piece[2 + axis] + 3 * piece[4 + axis] + piece[6 + axis]) / 8);
  const steep = Math.abs(piece[7] - piece[1]) > Math.abs(piece[6] - piece[0]);
  // Of two edges between the same boxes, each has its label on its own side; of others it
  // stands outside, where other edges of a box with several and other operands are not.
  const leaning = forked ? from.x - to.x : to.x - from.x;
  const left = twin ? middle[0] < (from.x + to.x) / 2 : downwards && leaning > 10;
  const below = twin && middle[1] > (from.y + to.y) / 2;
  let beside = { x: middle[0], y: middle[1] + (below ? 14 : -5), class: "" };
  if (steep || downwards) beside = { x: middle[0] + (left ? -7 : 7), y: middle[1] + 6, class: left ? "before" : "beside" };
  return makeSvg(
    "g",
    { class: "edge", "data-edge": key },
    makeSvg("path", { d: `M${x} ${y}C${rest.join(" ")}`, "marker-end": "url(#arrow)" }),
    makeSvg("text", beside),
  );
}

