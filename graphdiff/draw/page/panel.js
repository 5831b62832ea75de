/** The two cards beside the drawing: what the current step does, and all that is known of one node. */
import { enteredIn, make, makeSvg } from "./dom.js";
import { sizeOf } from "./evaluate.js";
import { brief, clip, fill, inside, number, shapeText } from "./format.js";

const EDITABLE = 64;
const SHOWN = 100;
const BINS = 20;

function row(...cells) {
  return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
}

function table(titles, rows) {
  if (!rows.length) return null;
  const head = make("tr", {}, ...titles.map((title) => make("th", { scope: "col" }, title)));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

function line(text, name = "formula") {
  return text ? make("p", { class: name }, text) : null;
}

/** The card of the current step. */
export function stepCard(app) {
  const { step, steps, position } = app;
  if (!steps.length) return [make("h2", {}, "Nothing to step through"), line(app.whyNothing(), "")];
  if (!step) return [make("h2", {}, "Before the first step"), line(app.introduction(), "")];
  const describe = { value, seed, push, complete: gathered, tangent, zero: tangent }[step.kind];
  return [
    make("h2", {}, `Step ${position} of ${steps.length}: `, make("span", { class: "subject" }, clip(app.nameOf(step.node), 40))),
    ...describe(app, step.node),
  ];
}

function formulas(app, place) {
  const node = app.graph.nodes[place];
  const shown = brief(app.numbers.values[place]);
  const own = clip(app.nameOf(place), 40);
  if (!node.expression) return [line(shown ? `${own} = ${shown}` : own)];
  const symbols = fill(node.expression, (position) => clip(app.nameOf(node.inputs[position]), 40), own);
  const lines = [line(`${own} = ${symbols}`)];
  if (!shown) return lines;
  const numbers = fill(node.expression, (position) => app.figure(node.inputs[position]), own);
  const inserted = numbers !== symbols && numbers !== shown ? ` = ${numbers}` : "";
  return [...lines, line(`${own}${inserted} = ${shown}`)];
}

function operandRows(app, place, extra) {
  const node = app.graph.nodes[place];
  return node.inputs.flatMap((operand, position) => {
    if (app.graph.nodes[operand].folded) return [];
    return [row(app.link(operand), app.figure(operand), localText(app, place, position), ...extra(operand, position))];
  });
}

function localText(app, place, position) {
  const node = app.graph.nodes[place];
  const operand = node.inputs[position];
  if (!app.graph.nodes[operand].smooth || !node.smooth) return "none";
  const [symbol, figure] = app.localTexts(place, position);
  const by = `∂${clip(app.nameOf(place), 16)}/∂${clip(app.nameOf(operand), 16)}`;
  return [by, symbol === by ? "" : symbol, figure === symbol ? "" : figure].filter(Boolean).join(" = ");
}

function value(app, place) {
  const node = app.graph.nodes[place];
  const rows = operandRows(app, place, () => []);
  const kinds = { variable: "a variable", placeholder: "a placeholder", constant: "a constant" };
  const kind = node.inputs.length ? "" : `${kinds[node.kind] ?? "an input"} of the graph`;
  return [...formulas(app, place), line(kind, "note"), table(["operand", "value", "local derivative"], rows), storedLine(app, place)];
}

/** What the reverse pass will need of this node, and what is kept for it so far. */
function storedLine(app, place) {
  const node = app.graph.nodes[place];
  if (app.numbers.output < 0 || !node.inputs.length) return null;
  const names = node.stored.map((each) => clip(app.nameOf(each), 16)).join(", ");
  const bytes = [...app.storedSoFar()].reduce((sum, each) => sum + app.graph.nodes[each].bytes, 0);
  const own = names ? `Stored for the reverse pass: ${names}` : "Nothing need be stored for the reverse pass";
  return line(`${own}. Stored so far: ${bytes.toLocaleString("en")} bytes.`, "note");
}

function seed(app, place) {
  const single = sizeOf(app.graph.nodes[place].shape) === 1;
  if (app.mode === "forward") {
    const text = single ? "Its derivative by itself is 1." : "Its tangent is one in every element.";
    return [line(`${app.tangentName(place)} = ${brief(app.numbers.tangents[place])}`), line(`The pass starts here. ${text}`, "note")];
  }
  const text = single ? "The derivative of the output by itself is 1." : "The adjoint is one in every element: the sum is differentiated.";
  return [line(`${app.adjointName(place)} = ${brief(app.numbers.adjoints[place])}`), line(`The pass starts here. ${text}`, "note")];
}

function contribution(app, place, position, push) {
  const [, figure] = app.localTexts(place, position);
  const scalar = push.amount.shape.length === 0 && app.graph.nodes[place].shape.length === 0;
  const product = scalar && figure ? `${inside(brief(app.numbers.adjoints[place]))}·${inside(figure)}` : brief(push.amount);
  return `${push.before ? brief(push.before) : "0"} + ${inside(product)} = ${brief(push.after)}`;
}

function push(app, place) {
  const node = app.graph.nodes[place];
  const moved = app.numbers.pushes[place];
  const rows = node.inputs.flatMap((operand, position) => {
    const each = moved[position];
    if (app.graph.nodes[operand].folded || !each) return [];
    return [row(app.link(operand), localText(app, place, position), contribution(app, place, position, each))];
  });
  return [
    ...gathered(app, place),
    rows.length ? line("It adds adjoint × local derivative to the adjoints of its operands:", "note") : null,
    table(["operand", "local derivative", `${app.outputChange(8)}/∂operand: old + new`], rows),
    usedLine(app, place),
  ];
}

function usedLine(app, place) {
  const kept = app.graph.nodes[place].stored.map((each) => clip(app.nameOf(each), 16));
  return kept.length ? line(`Read from what was stored: ${kept.join(", ")}.`, "note") : null;
}

/** A node's complete adjoint, and where its parts came from. */
function gathered(app, place) {
  const { numbers } = app;
  const adjoint = numbers.adjoints[place];
  if (!adjoint) return [line("no value yet", "note")];
  const total = app.adjointName(place);
  const parts = app.usersOf(place).flatMap(({ node, position }) => {
    const each = numbers.pushes[node]?.[position];
    return each ? [{ node, amount: each.amount }] : [];
  });
  if (!parts.length) return [line(`${total} = ${brief(adjoint)}`)];
  const scalar = adjoint.shape.length === 0;
  const sum = scalar && parts.length > 1 ? `${parts.map(({ amount }) => inside(brief(amount))).join(" + ")} = ` : "";
  const from = parts.map(({ node }) => clip(app.nameOf(node), 16)).join(", ");
  const complete = numbers.nodes[place].inputs.length ? "Complete" : "The gradient by this input";
  return [line(`${total} = ${sum}${brief(adjoint)}`), line(`${complete}: with contributions from ${from}.`, "note")];
}

function tangent(app, place) {
  const { numbers } = app;
  const node = app.graph.nodes[place];
  const by = clip(app.nameOf(numbers.input), 16);
  const own = app.tangentName(place);
  if (!numbers.tangents[place]) {
    const known = numbers.moved[place] ? "" : " = 0";
    return [line(`${own}${known}`), line(`${clip(app.nameOf(place), 24)} does not depend on ${by}.`, "note")];
  }
  const terms = [];
  const rows = operandRows(app, place, (operand, position) => {
    if (!app.graph.nodes[operand].smooth) return [""];
    const below = brief(numbers.tangents[operand]) || "0";
    const [, figure] = app.localTexts(place, position);
    if (figure && node.shape.length === 0) terms.push(`${inside(figure)}·${inside(below)}`);
    return [below];
  });
  const sum = terms.length ? `${terms.join(" + ")} = ` : "";
  return [
    ...formulas(app, place),
    line(`${own} = ${sum}${brief(numbers.tangents[place])}`),
    table(["operand", "value", "local derivative", app.followsOne() ? `d·/d${by}` : "tangent"], rows),
  ];
}

// The node card ---------------------------------------------------------------------------------------------------

/** All that is known of a node. */
export function nodeCard(app, place) {
  const { numbers } = app;
  const node = app.graph.nodes[place];
  const facts = [
    ["op", node.op ? `${node.op}${node.symbol !== node.op ? `  ${node.symbol}` : ""}` : node.kind],
    ["shape", `${shapeText(node.shape)}, ${node.dtype}`],
    ["scope", node.scope],
    ["made at", node.source],
  ];
  const list = make("dl", {}, ...facts.filter(([, fact]) => fact).flatMap(([term, fact]) => [make("dt", {}, term), make("dd", {}, fact)]));
  const users = [...new Set(app.usersOf(place).map((each) => each.node))];
  return [
    make("h2", {}, "Node ", make("span", { class: "subject" }, app.nameOf(place) || "constant")),
    list,
    node.line ? make("pre", { tabindex: 0, "aria-label": "source line" }, node.line) : null,
    numbers.isEditable(place) ? editor(app, place) : arrayBlock("value", numbers.values[place]),
    arrayBlock(`adjoint ${app.adjointName(place, [12, 12])}`, numbers.adjoints[place]),
    arrayBlock(app.followsOne() ? `tangent ${app.tangentName(place, [12, 12])}` : "tangent", numbers.tangents[place]),
    links(app, "operands", node.inputs.filter((each) => !app.graph.nodes[each].folded)),
    links(app, "used by", users),
  ];
}

function links(app, title, places) {
  if (!places.length) return null;
  const shown = places.slice(0, 24).flatMap((place, count) => [count ? " " : "", app.link(place)]);
  if (places.length > 24) shown.push(` and ${places.length - 24} more`);
  return make("p", { class: "note" }, `${title}: `, ...shown);
}

/** A value: in full where it is small, with statistics and a histogram where it is not. */
function arrayBlock(title, found) {
  if (!found) return null;
  const block = make("section", {}, make("h3", {}, title));
  if (found.data && found.data.length === 1) block.append(make("p", { class: "formula" }, number(found.data[0])));
  else if (found.data && found.data.length <= SHOWN) block.append(grid(found));
  const spread = found.data && found.data.length > 8 ? statistics(found) : found.data ? null : found;
  if (spread) block.append(...described(spread));
  return block;
}

/** Rows and columns: the last axis runs across. */
function grid({ shape, data }) {
  const columns = shape[shape.length - 1];
  const rows = [];
  for (let start = 0; start < data.length; start += columns) {
    rows.push(row(...Array.from({ length: columns }, (_, k) => number(Number(data[start + k].toPrecision(4))))));
  }
  return make("div", { class: "grid", tabindex: 0, role: "group", "aria-label": "elements" }, make("table", {}, ...rows));
}

function statistics({ data }) {
  const finite = Array.from(data).filter(Number.isFinite);
  const made = { size: data.length, finite: finite.length };
  if (!finite.length) return made;
  const mean = finite.reduce((sum, each) => sum + each, 0) / finite.length;
  const min = Math.min(...finite);
  const max = Math.max(...finite);
  const counts = Array(max > min ? BINS : 1).fill(0);
  for (const each of finite) counts[Math.min(counts.length - 1, Math.floor(((each - min) / (max - min || 1)) * counts.length))] += 1;
  const std = Math.sqrt(finite.reduce((sum, each) => sum + (each - mean) ** 2, 0) / finite.length);
  return { ...made, mean, std, min, max, counts };
}

function described({ size, finite, mean, std, min, max, counts }) {
  const lost = finite < size ? `, ${(size - finite).toLocaleString("en")} not finite` : "";
  if (!finite) return [line(`${size.toLocaleString("en")} elements, none of them finite`, "note")];
  const text = `${size.toLocaleString("en")} elements${lost}: mean ${number(mean)}, standard deviation ${number(std)}`;
  return [line(text, "note"), histogram(counts, min, max)];
}

function histogram(counts, min, max) {
  const [width, height] = [280, 64];
  const highest = Math.max(...counts);
  const bars = counts.map((count, k) => {
    const tall = (count / highest) * height;
    return makeSvg("rect", { x: (k * width) / counts.length, y: height - tall, width: width / counts.length - 1, height: tall });
  });
  const label = `histogram from ${number(min)} to ${number(max)}, ${counts.length} bins, at most ${highest} in one`;
  const picture = makeSvg("svg", { class: "histogram", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...bars);
  return make("figure", {}, picture, make("figcaption", {}, make("span", {}, number(min)), make("span", {}, number(max))));
}

// Editing ---------------------------------------------------------------------------------------------------------

function editor(app, place) {
  const node = app.graph.nodes[place];
  const found = app.numbers.values[place];
  const size = sizeOf(node.shape);
  if (size > EDITABLE) return arrayBlock("value", found);
  const data = found ? Array.from(found.data) : Array(size).fill(NaN);
  const missing = new Set(found ? [] : data.keys());
  const change = (position, text) => {
    const given = Number(text.replace("−", "-"));
    if (text.trim() === "" || Number.isNaN(given)) return;
    data[position] = /^(u?int|bool)/.test(node.dtype) ? Math.round(given) : given;
    missing.delete(position);
    if (!missing.size) app.edit(place, [...data]);
  };
  const field = (position) =>
    make("input", {
      type: "text",
      inputmode: "decimal",
      autocomplete: "off",
      class: "field",
      "data-position": position,
      "aria-label": size === 1 ? `value of ${clip(app.nameOf(place), 40)}` : `element ${position + 1}`,
      input: (event) => change(position, enteredIn(event)),
    });
  const fields = data.map((each, position) => {
    const made = field(position);
    made.value = missing.has(position) ? "" : String(Number(each.toPrecision(size === 1 ? 8 : 4)));
    return made;
  });
  const block = make("section", {}, make("h3", {}, "value (edit it)"));
  const columns = node.shape[node.shape.length - 1] ?? 1;
  const wrap = make("div", { class: "fields" });
  wrap.style.gridTemplateColumns = `repeat(${Math.min(columns, 6)}, minmax(0, 1fr))`;
  wrap.append(...fields);
  block.append(wrap);
  if (size === 1) block.append(slider(app, place, data[0], fields[0], change));
  return block;
}

/** A slider about the value that the page came with. */
function slider(app, place, present, field, change) {
  const first = app.numbers.nodes[place].value;
  const about = first ? Number(first.data[0]) : 0;
  const reach = Math.max(2 * Math.abs(about), 5);
  return make("input", {
    type: "range",
    min: about - reach,
    max: about + reach,
    step: reach / 100,
    value: Number.isNaN(present) ? about : present,
    "aria-label": `slide the value of ${clip(app.nameOf(place), 40)}`,
    input: (event) => {
      field.value = String(Number(Number(enteredIn(event)).toPrecision(6)));
      change(0, field.value);
    },
  });
}
