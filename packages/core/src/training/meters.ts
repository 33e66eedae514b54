/** Sum and weight of each metric since the last line of the log; part of a checkpoint. */
export type MetersState = Record<string, [sum: number, weight: number]>;

/** Means of metrics over the updates between two lines of the log. */
export class Meters {
  private totals = new Map<string, [number, number]>();

  constructor(state: MetersState = {}) {
    for (const [name, [sum, weight]] of Object.entries(state)) this.totals.set(name, [sum, weight]);
  }

  add(values: Readonly<Record<string, number>>, weight = 1): void {
    for (const [name, value] of Object.entries(values)) {
      const total = this.totals.get(name) ?? [0, 0];
      total[0] += value * weight;
      total[1] += weight;
      this.totals.set(name, total);
    }
  }

  /** The means, and a fresh start. */
  flush(): Record<string, number> {
    const means = [...this.totals].map(([name, [sum, weight]]) => [name, sum / weight] as const);
    this.totals.clear();
    return Object.fromEntries(means);
  }

  get empty(): boolean {
    return this.totals.size === 0;
  }

  state(): MetersState {
    return Object.fromEntries(this.totals);
  }
}
