/** Values, adjoints and tangents of every node: computed here where the graph allows it, else as recorded. */
import { run, sizeOf } from "./evaluate.js";

/**
 * @param {import("./types").Recorded | null | undefined} record
 * @param {number[]} shape
 * @returns {import("./types").Value | null}
 */
function decoded(record, shape) {
  if (!record) return null;
  const { data, ...known } = record;
  return data ? { shape, data: data.map(Number) } : { ...known, shape };
}

function ones(shape) {
  return { shape, data: new Float64Array(sizeOf(shape)).fill(1) };
}

function added(left, right) {
  if (!left || !right) return left ?? right;
  return { shape: left.shape, data: Float64Array.from(left.data, (each, k) => each + right.data[k]) };
}

export class Numbers {
  /** @param {import("./types").Graph} graph */
  constructor(graph) {
    this.graph = graph;
    this.nodes = graph.nodes;
    this.live = graph.live;
    this.given = this.nodes.map((node) => decoded(node.value, node.shape));
    this.values = [...this.given];
    this.output = this.live ? graph.outputs.find((place) => this.nodes[place].smooth) : graph.records.reverse?.output;
    this.output ??= -1;
    const inputs = this.inputChoices();
    this.input = inputs.length ? inputs[0] : -1;
    this.masked = this.nodes.some((node) => node.op === "where");
    this.compute();
  }

  /** Inputs by which forward mode can differentiate. */
  inputChoices() {
    if (!this.live) return this.graph.records.forward.map((each) => each.input);
    return this.graph.inputs.filter((place) => this.nodes[place].smooth);
  }

  /** Outputs that reverse mode can start from. */
  outputChoices() {
    return this.live ? this.graph.outputs.filter((place) => this.nodes[place].smooth) : [this.output];
  }

  /** Whether the node's value can be changed. */
  isEditable(place) {
    return this.nodes[place].editable;
  }

  /** Give a leaf another value and compute everything anew. */
  edit(place, data) {
    this.given[place] = { shape: this.nodes[place].shape, data };
    this.compute();
  }

  /** Return to the values that the page came with. */
  restore() {
    this.given = this.nodes.map((node) => decoded(node.value, node.shape));
    this.compute();
  }

  compute() {
    if (this.live) {
      this.computeValues();
      this.computeAdjoints();
      this.computeTangents();
    } else {
      this.readAdjoints();
      this.readTangents();
    }
  }

  operands(place) {
    return this.nodes[place].inputs.map((operand) => this.values[operand]);
  }

  programs(place) {
    return this.graph.programs[this.nodes[place].program];
  }

  computeValues() {
    this.nodes.forEach((node, place) => {
      if (!node.inputs.length) {
        this.values[place] = this.given[place];
        return;
      }
      const operands = this.operands(place);
      this.values[place] = operands.every(Boolean) ? run(this.programs(place).value, operands) : null;
    });
  }

  computeAdjoints() {
    /** @type {Array<Array<import("./types").Push | null>>} */
    this.pushes = this.nodes.map(() => []);
    this.adjoints = this.nodes.map(() => null);
    this.reached = this.nodes.map(() => false);
    if (this.output < 0) return;
    this.reached[this.output] = true;
    const known = Boolean(this.values[this.output]);
    if (known) this.adjoints[this.output] = ones(this.nodes[this.output].shape);
    for (let place = this.output; place >= 0; place -= 1) {
      const node = this.nodes[place];
      if (this.reached[place] && node.inputs.length) this.push(place, node, known);
    }
  }

  /** Let a node add to its operands' adjoints. */
  push(place, node, known) {
    const { adjoint } = this.programs(place);
    const arrays = [...this.operands(place), this.values[place], this.adjoints[place]];
    this.pushes[place] = node.inputs.map((operand, position) => {
      if (!adjoint[position] || !this.nodes[operand].smooth) return null;
      this.reached[operand] = true;
      if (!known) return null;
      const amount = this.cleared(run(adjoint[position], arrays), this.adjoints[place]);
      const before = this.adjoints[operand];
      this.adjoints[operand] = added(before, amount);
      return { before, amount, after: this.adjoints[operand] };
    });
  }

  /** Below a branch that was not taken, zero stays zero even where a local derivative is infinite. */
  cleared(amount, adjoint) {
    if (!this.masked || amount.data.length !== adjoint.data.length) return amount;
    return { ...amount, data: Float64Array.from(amount.data, (each, k) => (adjoint.data[k] === 0 ? 0 : each)) };
  }

  computeTangents() {
    this.terms = this.nodes.map(() => []);
    this.tangents = this.nodes.map(() => null);
    this.moved = this.nodes.map(() => false);
    if (this.input < 0) return;
    this.moved[this.input] = true;
    this.tangents[this.input] = ones(this.nodes[this.input].shape);
    this.nodes.forEach((node, place) => {
      if (place <= this.input || !node.inputs.some((operand) => this.moved[operand])) return;
      const { tangent } = this.programs(place);
      this.terms[place] = node.inputs.map((operand, position) => {
        if (!tangent[position] || !this.moved[operand]) return null;
        this.moved[place] = true;
        if (!this.values[place]) return null;
        return run(tangent[position], [...this.operands(place), this.values[place], this.tangents[operand]]);
      });
      this.tangents[place] = this.terms[place].reduce(added, null);
    });
  }

  readAdjoints() {
    const found = this.graph.records.reverse;
    this.pushes = this.nodes.map(() => []);
    this.adjoints = this.nodes.map((node, place) => decoded(found?.adjoints[place], node.shape));
    this.reached = this.adjoints.map(Boolean);
    const earlier = new Map();
    for (let place = this.nodes.length - 1; place >= 0; place -= 1) {
      const moved = found?.steps[place];
      if (!moved) continue;
      this.pushes[place] = moved.map((each, position) => {
        if (!each) return null;
        const operand = this.nodes[place].inputs[position];
        const before = earlier.get(operand) ?? null;
        const after = decoded(each.after, this.nodes[operand].shape);
        earlier.set(operand, after);
        return { before, amount: decoded(each.amount, this.nodes[operand].shape), after };
      });
    }
  }

  readTangents() {
    const found = this.graph.records.forward.find((each) => each.input === this.input);
    this.terms = this.nodes.map(() => []);
    this.tangents = this.nodes.map((node, place) => decoded(found?.tangents[place], node.shape));
    this.moved = this.tangents.map(Boolean);
  }

  /** The derivative of each element of a node by the operand's element under it; null where there is no such number. */
  local(place, position) {
    const node = this.nodes[place];
    if (!this.live || !this.values[place]) return null;
    const operand = this.nodes[node.inputs[position]];
    const single = sizeOf(node.shape) === 1 && sizeOf(operand.shape) === 1;
    const program = this.programs(place).tangent[position];
    if (!program || (node.opKind !== "elementwise" && !single)) return null;
    return run(program, [...this.operands(place), this.values[place], ones(operand.shape)]);
  }
}
