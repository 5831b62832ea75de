/** What the page's data holds, and its parts' types; `graphdiff/draw/page/content.py` writes the data. */

export type Mode = "value" | "reverse" | "forward";

/** Numbers; those that JSON lacks are text. */
export interface Recorded {
  data?: Array<number | string>;
  size?: number;
  finite?: number;
  mean?: number;
  std?: number;
  min?: number;
  max?: number;
  /** A histogram of equal bins from min to max. */
  counts?: number[];
}

/** A node's value, adjoint or tangent: every element, or else what is known of them. */
export interface Value extends Omit<Recorded, "data"> {
  shape: number[];
  data?: number[] | Float64Array;
}

/** Registers 0, 1, … hold the operands, each instruction fills the next: function, operands, shape, cast, extra. */
export interface Program {
  result: number;
  code: Array<[string, number[], number[], string, any?]>;
}

export interface Programs {
  value: Program;
  adjoint: Array<Program | null>;
  tangent: Array<Program | null>;
}

export interface GraphNode {
  name: string;
  kind: string;
  op: string;
  symbol: string;
  opKind: string;
  inputs: number[];
  shape: number[];
  dtype: string;
  bytes: number;
  scope: string;
  /** Whether derivatives flow through it. */
  smooth: boolean;
  /** A literal, written within its users and not drawn. */
  folded: boolean;
  program: number;
  editable: boolean;
  /** The nodes whose values the reverse pass reads here. */
  stored: number[];
  value: Recorded | null;
  expression: string;
  locals: string[];
  source: string;
  line: string;
  /** Centre, width, height. */
  box: [number, number, number, number];
}

export interface GraphEdge {
  from: number;
  to: number;
  position: number;
  curve: number[];
}

export interface RecordedPush {
  amount: Recorded;
  after: Recorded;
}

export interface Graph {
  nodes: GraphNode[];
  edges: GraphEdge[];
  layout: string;
  downwards: boolean;
  inputs: number[];
  outputs: number[];
  live: boolean;
  programs: Programs[];
  records: {
    reverse: {
      output: number;
      adjoints: Record<string, Recorded>;
      steps: Record<string, Array<RecordedPush | null>>;
    } | null;
    forward: Array<{ input: number; tangents: Record<string, Recorded> }>;
  } | null;
  notes: string[];
}

/** What a node adds to an operand's adjoint. */
export interface Push {
  before: Value | null;
  amount: Value;
  after: Value;
}

export interface Step {
  node: number;
  kind: "value" | "seed" | "push" | "complete" | "tangent" | "zero";
}

/** A node, or a collapsed scope, with its centre. */
export interface Item {
  key: string;
  /** -1 for a scope. */
  node: number;
  scope: string;
  /** The nodes that it stands for. */
  members: number[];
  x: number;
  y: number;
  width: number;
  height: number;
}

/** An edge as it is drawn, for one or several of the graph's. */
export interface Line {
  key: string;
  from: Item;
  to: Item;
  curve: number[];
  parts: number[];
  whole: boolean;
  /** Whether another edge leads from the same box to the same box. */
  twin: boolean;
  /** Whether other edges leave the same box. */
  forked: boolean;
}

export interface Frame {
  scope: string;
  left: number;
  top: number;
  right: number;
  bottom: number;
}
