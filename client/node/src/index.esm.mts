// One copy of the code serves both kinds of modules, so that `instanceof LossdError` holds between them.
export {
  Combined,
  LossdClient,
  LossdError,
  LossdMany,
  LossResult,
  Sums,
  tensor,
  toFloat32,
} from './index.js';
export type * from './index.js';
