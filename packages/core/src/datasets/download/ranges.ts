/** Which bytes of a file are there: half-open ranges, sorted, none touching another. */
export class ByteRanges {
  private ranges: [start: number, end: number][] = [];

  constructor(ranges: readonly (readonly [number, number])[] = []) {
    for (const [start, end] of ranges) this.add(start, end);
  }

  get list(): readonly (readonly [number, number])[] {
    return this.ranges;
  }

  /** Length of the part at the beginning that has no hole. */
  get prefix(): number {
    const [first] = this.ranges;
    return first?.[0] === 0 ? first[1] : 0;
  }

  get total(): number {
    return this.ranges.reduce((sum, [start, end]) => sum + end - start, 0);
  }

  add(start: number, end: number): void {
    if (end <= start) return;
    const before = this.ranges.filter((range) => range[1] < start);
    const after = this.ranges.filter((range) => range[0] > end);
    const touched = this.ranges.slice(before.length, this.ranges.length - after.length);
    const merged: [number, number] = [
      Math.min(start, touched[0]?.[0] ?? start),
      Math.max(end, touched.at(-1)?.[1] ?? end),
    ];
    this.ranges = [...before, merged, ...after];
  }

  /** What is missing of a file of that size, in order. */
  missing(size: number): [start: number, end: number][] {
    const gaps: [number, number][] = [];
    let at = 0;
    for (const [start, end] of this.ranges) {
      if (start > at) gaps.push([at, Math.min(start, size)]);
      at = end;
    }
    if (at < size) gaps.push([at, size]);
    return gaps.filter(([start, end]) => end > start);
  }
}
