/** The page's state, its controls and its keys. */
import { byId, enteredIn, fieldOf, make } from "./dom.js";
import { brief, clip, fill, number } from "./format.js";
import { sizeOf } from "./evaluate.js";
import { Numbers } from "./numbers.js";
import { scopesOf } from "./geometry.js";
import { historyOf, stepsOf } from "./steps.js";
import { View } from "./view.js";
import { nodeCard, stepCard } from "./panel.js";

const MODES = ["value", "reverse", "forward"];
const OPEN_AT_FIRST = 60;
const LEAST_AT_FIRST = 0.15;
const THEMES = ["light dark", "light", "dark"];

export class App {
  /** @param {import("./types").Graph} graph */
  constructor(graph) {
    this.graph = graph;
    this.numbers = new Numbers(graph);
    /** @type {import("./types").Mode} */
    this.mode = "value";
    this.position = 0;
    this.selected = -1;
    this.playing = 0;
    this.found = new Set();
    const drawn = graph.nodes.filter((node) => !node.folded).length;
    this.collapsed = new Set(drawn > OPEN_AT_FIRST ? scopesOf(graph) : []);
    this.indexEdges();
    this.plan();
    this.view = new View(this);
  }

  indexEdges() {
    /** @type {Map<number, number[]>} */
    this.edgesInto = new Map();
    /** @type {Map<number, Array<{node: number, position: number}>>} */
    this.users = new Map();
    this.graph.edges.forEach(({ from, to, position }, number) => {
      if (!this.edgesInto.has(to)) this.edgesInto.set(to, []);
      this.edgesInto.get(to).push(number);
      if (!this.users.has(from)) this.users.set(from, []);
      this.users.get(from).unshift({ node: to, position });
    });
  }

  /** Lay out the steps of the present pass. */
  plan() {
    this.steps = stepsOf(this.numbers, this.mode);
    this.history = historyOf(this.numbers, this.mode, this.steps);
    this.position = Math.min(this.position, this.steps.length);
    this.settle();
  }

  settle() {
    this.step = this.position ? this.steps[this.position - 1] : null;
    this.targets = new Set();
    if (this.step?.kind === "push") {
      this.numbers.pushes[this.step.node].forEach((push, position) => {
        if (push) this.targets.add(this.graph.nodes[this.step.node].inputs[position]);
      });
    }
  }

  // What things are called --------------------------------------------------------------------------------------

  nameOf(place) {
    const node = this.graph.nodes[place];
    return node ? node.name || brief(this.numbers.values[place]) : "";
  }

  outputName() {
    return this.nameOf(this.numbers.output);
  }

  /** "∂e/∂c"; of an output of several elements it is their sum that is differentiated. */
  adjointName(place, [outer, inner] = [16, 16]) {
    return `${this.outputChange(outer)}/∂${clip(this.nameOf(place), inner)}`;
  }

  outputChange(limit) {
    const sum = sizeOf(this.graph.nodes[this.numbers.output]?.shape ?? []) === 1 ? "" : "Σ";
    return `∂${sum}${clip(this.outputName(), limit)}`;
  }

  /** "dc/db"; by an input of several elements there is no such number, but a tangent. */
  tangentName(place, [outer, inner] = [16, 16]) {
    if (!this.followsOne()) return `tangent of ${clip(this.nameOf(place), outer)}`;
    return `d${clip(this.nameOf(place), outer)}/d${clip(this.nameOf(this.numbers.input), inner)}`;
  }

  /** Whether forward mode follows a single number. */
  followsOne() {
    return sizeOf(this.graph.nodes[this.numbers.input]?.shape ?? []) === 1;
  }

  /** A node's number, or its name where it is no scalar. */
  figure(place) {
    const value = this.numbers.values[place];
    if (!value) return clip(this.nameOf(place), 16);
    return value.shape.length === 0 ? brief(value) : clip(brief(value), 32);
  }

  /** A local derivative in symbols and as a number, the latter empty where there is none. */
  localTexts(place, position) {
    const node = this.graph.nodes[place];
    const short = (other) => clip(this.nameOf(other), 16);
    const symbol = fill(node.locals[position] ?? "", (operand) => short(node.inputs[operand]), short(place));
    const figures = this.numbers.local(place, position);
    const same = figures && Array.from(figures.data).every((each) => number(each) === symbol);
    return [symbol, same ? symbol : brief(figures)];
  }

  usersOf(place) {
    return this.users.get(place) ?? [];
  }

  link(place) {
    const follow = () => {
      this.select(place, true);
      byId("node").focus(); // the button is gone with the card it was on
    };
    return make("button", { class: "link", click: follow }, clip(this.nameOf(place), 24));
  }

  introduction() {
    return {
      value: "The forward pass computes every node from its operands, inputs first.",
      reverse: `The reverse pass starts at ${clip(this.outputName(), 24)} and adds adjoint × local derivative to the adjoints of each node's operands, outputs first.`,
      forward: this.followsOne()
        ? `Forward mode carries the derivative by ${clip(this.nameOf(this.numbers.input), 24)} along with the values, inputs first.`
        : `Forward mode carries tangents along with the values, inputs first: how much each changes as all elements of ${clip(this.nameOf(this.numbers.input), 24)} grow alike.`,
    }[this.mode];
  }

  whyNothing() {
    return "No output of this graph carries derivatives that are known here.";
  }

  /** Nodes whose values are kept for the reverse pass, by the present step of the forward pass. */
  storedSoFar() {
    const kept = new Set();
    for (const { node } of this.steps.slice(0, this.position)) {
      if (this.numbers.reached[node]) for (const each of this.graph.nodes[node].stored) kept.add(each);
    }
    return kept;
  }

  // What can be done --------------------------------------------------------------------------------------------

  go(position) {
    this.position = Math.max(0, Math.min(this.steps.length, position));
    this.settle();
    if (this.step) this.view.reveal(this.step.node);
    this.show();
  }

  setMode(mode) {
    this.stop();
    this.mode = mode;
    this.position = 0;
    this.plan();
    this.show();
  }

  select(place, reveal = false) {
    this.selected = place;
    if (reveal) this.view.reveal(place);
    this.show();
  }

  edit(place, data) {
    this.numbers.edit(place, data);
    this.plan();
    this.show(true);
  }

  toggleScope(scope) {
    if (this.collapsed.has(scope)) this.collapsed.delete(scope);
    else this.collapsed.add(scope);
    this.rearrange(scope);
  }

  /** Open or close every scope. */
  toggleAll() {
    this.collapsed = new Set(this.collapsed.size ? [] : scopesOf(this.graph));
    this.rearrange();
  }

  rearrange(scope) {
    this.view.arrange();
    this.view.fit();
    this.show();
    if (scope !== undefined) {
      // The element that was activated is gone; its successor takes the focus.
      requestAnimationFrame(() => {
        const elements = /** @type {NodeListOf<SVGElement>} */ (document.querySelectorAll("[data-scope]"));
        [...elements].find((each) => each.dataset.scope === scope)?.focus({ preventScroll: true });
      });
    }
  }

  play() {
    if (this.playing) {
      this.stop();
      return;
    }
    if (this.position >= this.steps.length) this.position = 0;
    const tick = () => {
      this.go(this.position + 1);
      if (this.position >= this.steps.length) this.stop();
      else this.playing = window.setTimeout(tick, 1000 / Number(fieldOf("speed").value));
    };
    this.playing = window.setTimeout(tick, 0);
    this.show();
  }

  stop() {
    window.clearTimeout(this.playing);
    this.playing = 0;
    this.show();
  }

  search(text) {
    const wanted = text.trim().toLowerCase();
    const matches = (node) => [node.name, node.op, node.scope].some((field) => field.toLowerCase().includes(wanted));
    const places = wanted ? this.graph.nodes.flatMap((node, place) => (!node.folded && matches(node) ? [place] : [])) : [];
    this.found = new Set(places);
    byId("matches").textContent = wanted ? `${places.length.toLocaleString("en")} found` : "";
    this.view.refresh();
    return places;
  }

  /** Go to the next match of the search. */
  nextFound() {
    const places = [...this.found];
    if (!places.length) return;
    const after = places.find((place) => place > this.selected) ?? places[0];
    if (this.view.scale < 0.5) this.view.zoom(0.8 / this.view.scale);
    this.select(after, true);
    this.view.reveal(after, true);
  }

  // Showing it --------------------------------------------------------------------------------------------------

  show(editing = false) {
    for (const mode of MODES) byId(`mode-${mode}`).setAttribute("aria-pressed", String(mode === this.mode));
    const scrub = fieldOf("scrub");
    scrub.max = String(this.steps.length);
    scrub.value = String(this.position);
    scrub.setAttribute("aria-valuetext", `step ${this.position} of ${this.steps.length}`);
    byId("count").textContent = `${this.position} / ${this.steps.length}`;
    byId("play").textContent = this.playing ? "Pause" : "Play";
    byId("play").setAttribute("aria-label", this.playing ? "Pause (space)" : "Play (space)");
    byId("step").replaceChildren(...stepCard(this).filter(Boolean));
    byId("by").hidden = this.mode !== "forward";
    byId("of").hidden = this.mode !== "reverse" || this.numbers.outputChoices().length < 2;
    this.showNode(editing);
    byId("restore").hidden = !this.changed();
    this.view.refresh();
  }

  showNode(editing) {
    const place = this.selected >= 0 ? this.selected : this.step?.node;
    const card = byId("node");
    if (place === undefined) {
      card.replaceChildren(make("p", { class: "note" }, "Choose a node to see all that is known of it."));
      return;
    }
    if (editing && card.contains(document.activeElement)) {
      // Fields in use stay; all below them is replaced.
      const kept = document.activeElement.closest("section");
      const fresh = nodeCard(this, place).filter(Boolean);
      const own = fresh.findIndex((each) => each.querySelector?.(".field"));
      while (kept.nextSibling) kept.nextSibling.remove();
      kept.after(...fresh.slice(own + 1));
      return;
    }
    card.replaceChildren(...nodeCard(this, place).filter(Boolean));
  }

  changed() {
    return this.numbers.given.some((value, place) => {
      const first = this.graph.nodes[place].value?.data;
      return value?.data && this.numbers.isEditable(place) && !value.data.every((each, k) => Object.is(each, Number(first?.[k])));
    });
  }

  // Controls ----------------------------------------------------------------------------------------------------

  listen() {
    for (const mode of MODES) byId(`mode-${mode}`).addEventListener("click", () => this.setMode(mode));
    const actions = {
      first: () => this.go(0),
      previous: () => this.go(this.position - 1),
      play: () => this.play(),
      next: () => this.go(this.position + 1),
      last: () => this.go(this.steps.length),
      fit: () => this.view.fit(),
      closer: () => this.view.zoom(1.25),
      farther: () => this.view.zoom(0.8),
      scopes: () => this.toggleAll(),
      theme: () => this.nextTheme(),
      help: () => this.toggleHelp(),
      "close-help": () => this.toggleHelp(false),
      restore: () => {
        this.numbers.restore();
        this.plan();
        this.show();
      },
    };
    for (const [id, act] of Object.entries(actions)) byId(id).addEventListener("click", act);
    byId("scrub").addEventListener("input", (event) => this.go(Number(enteredIn(event))));
    const search = byId("search");
    search.addEventListener("input", (event) => this.search(enteredIn(event)));
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.nextFound();
    });
    this.choices("input", this.numbers.inputChoices());
    this.choices("output", this.numbers.outputChoices());
    document.addEventListener("keydown", (event) => this.key(event));
    byId("scopes").hidden = scopesOf(this.graph).length === 0;
    byId("notes").append(...this.graph.notes.map((note) => make("p", { class: "note" }, note)));
  }

  /** Fill the choice of the input to differentiate by, or of the output to differentiate. */
  choices(which, places) {
    const select = byId(which);
    select.append(...places.filter((place) => place >= 0).map((place) => make("option", { value: place }, clip(this.nameOf(place), 24))));
    select.addEventListener("change", (event) => {
      this.numbers[which] = Number(enteredIn(event));
      this.numbers.compute();
      this.position = 0;
      this.plan();
      this.show();
    });
  }

  nextTheme() {
    const root = document.documentElement;
    const next = THEMES[(THEMES.indexOf(root.style.colorScheme || THEMES[0]) + 1) % THEMES.length];
    root.style.colorScheme = next;
    const names = { "light dark": "as the system", light: "light", dark: "dark" };
    byId("theme").setAttribute("aria-label", `Theme: ${names[next]} (t)`);
    byId("theme").title = byId("theme").getAttribute("aria-label");
    this.view.refresh();
  }

  toggleHelp(open = byId("keys").hidden) {
    byId("keys").hidden = !open;
    byId(open ? "close-help" : "help").focus();
  }

  escape() {
    if (!byId("keys").hidden) {
      this.toggleHelp(false);
      return;
    }
    const search = fieldOf("search");
    search.value = "";
    this.search("");
    if (this.playing) this.stop();
    this.select(-1);
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Escape") {
      this.escape();
      return;
    }
    const target = /** @type {HTMLElement} */ (event.target);
    const typing = target.matches("input[type=text], input[type=search]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const acting = target.matches("button, select, [role=button]");
    if (acting && (event.key === "Enter" || event.key === " ")) {
      if (target.dataset.node === undefined && target.dataset.scope === undefined) return;
      event.preventDefault();
      this.view.choose(target.dataset);
      return;
    }
    if (target.matches("select, input[type=range]") && /^(Arrow|Page|Home|End)/.test(event.key)) return;
    const keys = {
      ArrowRight: () => this.go(this.position + 1),
      ArrowDown: () => this.go(this.position + 1),
      ArrowLeft: () => this.go(this.position - 1),
      ArrowUp: () => this.go(this.position - 1),
      Home: () => this.go(0),
      End: () => this.go(this.steps.length),
      " ": () => this.play(),
      1: () => this.setMode("value"),
      2: () => this.setMode("reverse"),
      3: () => this.setMode("forward"),
      "/": () => byId("search").focus(),
      "+": () => this.view.zoom(1.25),
      "=": () => this.view.zoom(1.25),
      "-": () => this.view.zoom(0.8),
      0: () => this.view.fit(),
      c: () => this.toggleAll(),
      t: () => this.nextTheme(),
      w: () => this.view.pan(0, 80),
      s: () => this.view.pan(0, -80),
      a: () => this.view.pan(80, 0),
      d: () => this.view.pan(-80, 0),
      "?": () => this.toggleHelp(),
    };
    if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  }

  start() {
    this.listen();
    this.view.fit();
    // Whoever opens the page sees all values; the pass begins with Home, or by playing it.
    this.go(this.steps.length);
    if (this.view.scale < LEAST_AT_FIRST && this.step) {
      this.view.zoom(0.7 / this.view.scale);
      this.view.reveal(this.step.node, true);
    }
  }
}

new App(JSON.parse(byId("data").textContent)).start();
