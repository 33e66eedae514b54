import { LayerNorm, Linear, Module, type Tensor } from '@d2v/core';

/** Layer norm and linear layer from the convolutions' width to the model's. State: `1` (the norm), `2` (the layer). */
export class ProjectFeatures extends Module {
  private readonly norm: LayerNorm;
  private readonly proj: Linear;

  constructor(inputs: number, width: number) {
    super();
    this.norm = this.child('1', new LayerNorm(inputs));
    this.proj = this.child('2', new Linear(inputs, width, { init: 'default' }));
  }

  /** [B,T,inputs] to [B,T,width] */
  forward(x: Tensor): Tensor {
    const normed = this.norm.forward(x);
    const y = this.proj.forward(normed);
    normed.dispose();
    return y;
  }
}
