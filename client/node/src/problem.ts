// A problem: tensors and options, the messages that carry them, and the results that it asks for.
import type { Criterion, Outputs } from './gen/lossd/v1/criterion.js';
import type { EvaluateRequest, EvaluateStreamHeader } from './gen/lossd/v1/service.js';
import type { Tensor as WireTensor, TensorSpec } from './gen/lossd/v1/tensor.js';
import { KINDS, isInteger, lossDType, type DType } from './dtypes.js';
import { describe, invalid, shapeText } from './errors.js';
import { criterionOf, integer, outputsOf, type CrossEntropyOptions, type LossKind } from './options.js';
import { readTensor, scalar, type Operand, type Spec } from './tensor.js';

/** The results that are tensors, by the names of EvaluateResponse's fields. */
export type OutputName = 'loss' | 'logSumExp' | 'gradWeight' | 'gradTarget' | 'gradInput';

const INT32 = 2 ** 31;

/**
 * One problem. Checked so far as it takes to know the results' types and shapes, and to have the
 * bytes that the shapes announce. The rest is the server's to check: its messages name the field.
 */
export class Problem {
  readonly input: Operand;
  readonly target: Operand;
  readonly weight: Operand | undefined;
  readonly gradOutput: Operand | undefined;
  /** Sizes of the input without its class axis. */
  readonly positions: readonly number[];
  readonly outputs: Outputs;
  readonly #criterion: Criterion;

  constructor(
    readonly kind: LossKind,
    input: unknown,
    target: unknown,
    private readonly options: CrossEntropyOptions,
  ) {
    this.input = readTensor(input, 'input');
    this.target = readTensor(target, 'target');
    const { weight, gradOutput } = options;
    this.weight = weight === undefined ? undefined : readTensor(weight, 'weight');
    this.gradOutput =
      typeof gradOutput === 'number'
        ? scalar(gradOutput, lossDType(this.input.dtype))
        : gradOutput === undefined
          ? undefined
          : readTensor(gradOutput, 'gradOutput');
    this.positions = withoutClasses(this.input.shape, options.classAxis);
    this.outputs = outputsOf(options);
    this.#criterion = criterionOf(kind, options);
  }

  /** Whether the target is class indices. */
  get hasLabels(): boolean {
    return isInteger(this.target.dtype);
  }

  /** Bytes of all tensors. */
  get byteLength(): number {
    const { input, target, weight, gradOutput } = this;
    return [input, target, weight, gradOutput].reduce(
      (sum, operand) => sum + (operand?.bytes.length ?? 0),
      0,
    );
  }

  /** The problem as one message. */
  request(): EvaluateRequest {
    return {
      criterion: this.criterion(true),
      outputs: this.outputs,
      input: wireTensor(this.input),
      target: wireTensor(this.target),
      gradOutput: this.gradOutput && wireTensor(this.gradOutput),
    };
  }

  /** The header of a stream; the weight's bytes follow it unless they are inside. */
  header(weightInside: boolean): EvaluateStreamHeader {
    return {
      criterion: this.criterion(weightInside),
      outputs: this.outputs,
      input: wireSpec(this.input),
      target: wireSpec(this.target),
      gradOutput: this.gradOutput && wireSpec(this.gradOutput),
    };
  }

  /** The tensors that the answer has to bring. */
  wanted(): Map<OutputName, Spec> {
    const { input, target, weight, outputs } = this;
    const dtype = lossDType(input.dtype);
    const losses = { dtype, arrayType: dtype === 'float64' ? Float64Array : Float32Array };
    const shape = this.options.reduction === 'none' ? this.positions : [];
    const wanted = new Map<OutputName, Spec>([['loss', { ...losses, shape }]]);
    if (outputs.logSumExp) wanted.set('logSumExp', { ...losses, shape: this.positions });
    if (outputs.gradInput) wanted.set('gradInput', input);
    if (outputs.gradTarget) wanted.set('gradTarget', target);
    if (outputs.gradWeight && weight !== undefined) wanted.set('gradWeight', weight);
    return wanted;
  }

  private criterion(weightInside: boolean): Criterion {
    const { kind } = this.#criterion;
    if (this.weight === undefined || kind === undefined) return this.#criterion;
    const weight = weightInside ? wireTensor(this.weight) : { ...wireSpec(this.weight), data: undefined };
    // The two are told apart for TypeScript, which pairs each name with its own value.
    const weighted =
      kind.$case === 'crossEntropy'
        ? { $case: kind.$case, value: { ...kind.value, weight } }
        : { $case: kind.$case, value: { ...kind.value, weight } };
    return { ...this.#criterion, kind: weighted };
  }
}

function withoutClasses(shape: readonly number[], classAxis: number | undefined): readonly number[] {
  const rank = shape.length;
  if (rank === 0) {
    throw invalid(
      'input.shape',
      'RANK_MISMATCH',
      'expected [C], [N, C] or [N, C, d1, ..., dK], got a scalar',
    );
  }
  const wanted = classAxis === undefined ? 1 : integer(classAxis, 'classAxis', -INT32, INT32 - 1);
  const axis = rank === 1 && wanted === 1 ? 0 : wanted;
  if (axis < -rank || axis >= rank) {
    const range = `[${String(-rank)}, ${String(rank - 1)}]`;
    const words = `expected an axis in ${range} for an input of shape ${shapeText(shape)}, got ${describe(classAxis)}`;
    throw invalid('classAxis', 'CLASS_AXIS_RANGE', words);
  }
  const at = axis < 0 ? axis + rank : axis;
  if (shape[at] === 0) {
    const words = `expected at least 1 class at axis ${String(at)}, got ${shapeText(shape)}`;
    throw invalid('input.shape', 'CLASSES_EMPTY', words);
  }
  return [...shape.slice(0, at), ...shape.slice(at + 1)];
}

function wireTensor(operand: Operand): WireTensor {
  return { ...wireSpec(operand), data: { $case: 'raw', value: operand.bytes } };
}

function wireSpec({ dtype, shape }: { dtype: DType; shape: readonly number[] }): TensorSpec {
  return { dtype: KINDS[dtype].wire, shape: shape.map(BigInt) };
}
