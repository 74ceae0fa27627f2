// One copy of the code serves both kinds of modules, so that `instanceof LossdError` holds between them.
export * from './index.js';
