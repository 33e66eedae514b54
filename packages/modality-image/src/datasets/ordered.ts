/**
 * Maps a stream with at most `limit` calls in flight; results keep the order of the items, and at most `limit` items are
 * in memory. The first error ends it, after the calls under way are done.
 */
export async function* mapOrdered<T, R>(
  items: AsyncIterable<T>,
  limit: number,
  fn: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const running: Promise<R>[] = [];
  try {
    for await (const item of items) {
      const result = fn(item);
      // Whoever reads the queue sees the error; until then it is no unhandled one.
      result.catch(() => undefined);
      running.push(result);
      if (running.length >= limit) yield await running.shift()!;
    }
    while (running.length > 0) yield await running.shift()!;
  } finally {
    await Promise.allSettled(running);
  }
}
