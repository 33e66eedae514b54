import type { DataSource } from '../modality/contract.js';

/**
 * Sources one after the other as one, for inputs of several kinds. Classes are those of all, by name. Closing it closes all.
 * @param sources at least one
 */
export function joinSources(name: string, sources: readonly DataSource[]): DataSource {
  const [first] = sources as [DataSource];
  if (sources.length === 1) return first;
  let length = 0;
  const starts = sources.map((source) => {
    length += source.length;
    return length - source.length;
  });
  const placeOf = (index: number) => {
    const part = starts.findLastIndex((start, i) => start <= index && sources[i]!.length > 0);
    return { part, source: sources[part]!, at: index - starts[part]! };
  };
  const classes = [...new Set(sources.flatMap((source) => source.classes ?? []))].sort();
  const numbers = new Map(classes.map((className, number) => [className, number]));
  /** A label of a part among the classes of all; -1: none. */
  const joined = (part: number, label: number) => numbers.get(sources[part]!.classes?.[label] ?? '') ?? -1;
  return {
    length,
    name,
    ...(classes.length > 0 && {
      classes,
      label(index: number) {
        const { part, source, at } = placeOf(index);
        return joined(part, source.label?.(at) ?? -1);
      },
    }),
    describe(index) {
      const { source, at } = placeOf(index);
      return source.describe(at);
    },
    key(index) {
      const { source, at } = placeOf(index);
      return source.key?.(at) ?? source.describe(at);
    },
    async get(index, rng, mode) {
      const { part, source, at } = placeOf(index);
      const sample = await source.get(at, rng, mode);
      const label = joined(part, sample.label ?? -1);
      return { ...sample, label: label < 0 ? undefined : label, id: index };
    },
    ...(sources.every(({ sizes }) => sizes) && {
      sizes: () => Float64Array.from(sources.flatMap((source) => [...source.sizes!()])),
    }),
    ...(first.assets && { assets: () => first.assets!() }),
    async close() {
      for (const source of sources) await source.close?.();
    },
  };
}
