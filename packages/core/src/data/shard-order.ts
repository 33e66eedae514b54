import { D2vError } from '../errors.js';
import { orderStream } from './streams.js';

/**
 * The order of an epoch for disks that are slow at random reads. The shards come in an order drawn from (seed, epoch); some are
 * open at once, each of them is read from its beginning to its end, and which of them gives the next sample is drawn, too. When
 * one is at its end, the next shard is opened.
 * @param starts index of the first sample of each shard, ascending from 0
 * @param length samples in all of them
 * @param open most shards that are read at once: the more, the better the samples are mixed
 * @returns every number from 0 to length - 1 once
 */
export function shardOrder(
  starts: ArrayLike<number>,
  length: number,
  open: number,
  seed: number,
  epoch: number,
): Int32Array {
  const random = orderStream(seed, epoch);
  const shards = random.permutation(starts.length);
  const choice = random.fork('shards');
  const reading: { at: number; end: number }[] = [];
  const order = new Int32Array(length);
  let opened = 0;
  for (let place = 0; place < length; place++) {
    while (reading.length < open && opened < shards.length) {
      const shard = shards[opened++]!;
      const [at, end] = [starts[shard]!, shard + 1 < starts.length ? starts[shard + 1]! : length];
      if (at < end) reading.push({ at, end });
    }
    const chosen = choice.int(reading.length);
    const shard = reading[chosen]!;
    order[place] = shard.at++;
    if (shard.at === shard.end) reading.splice(chosen, 1);
  }
  return order;
}

/** @throws D2vError unless they ascend from 0 and stay below the number of samples */
export function checkShards(starts: ArrayLike<number>, length: number, name: string): void {
  for (let i = 0; i < starts.length; i++) {
    const least = i === 0 ? 0 : starts[i - 1]!;
    if (starts[i]! < least || starts[i]! > length || (i === 0 && starts[0] !== 0))
      throw new D2vError(`${name}: its shards begin at ${starts[i]} (shard ${i}), of ${length} samples`);
  }
}
