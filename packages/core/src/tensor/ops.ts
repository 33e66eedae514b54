/** Every differentiable operation, as one namespace: `ops.linear(x, w, b)`. */
export * from './ops-basic.js';
export * from './ops-composite.js';
export * from './ops-fused.js';
export * from './ops-loss.js';
